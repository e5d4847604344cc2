"""How fast a change of seats reaches thousands of open streams: `uv run python bench/events.py --json`; never polls.

A booking is made on a real stack; the time runs from the sending of its request until a stream has the new count.
Meanwhile a process of its own asks for the list every 10 ms.
"""

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
import time
from pathlib import Path

import bars
import load
import machine
import truth
import uvloop

import reads
from lastseat.rehearsal.lines import hang_up, open_lines, raise_file_limit
from lastseat.rehearsal.seed import rush_school
from lastseat.rehearsal.stack import LocalStack, Plan

REQUEST = b"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n"
AT_ONCE = 100
EXAMS = 20
STREAMS_LEAST = 5_000  # with fewer, results are shown and neither kept nor judged
BARS = {"p99_ms": ("<=", 250), "lost": ("<=", 0), "gets_most_ms": ("<", 50), "sending_share": ("<=", 0.26)}
STEADY_S, STEADY_PER_S = 8.0, 20
SETTLE_S = 2.0
BETWEEN_S = 1.0


class Stream(asyncio.Protocol):
    """One reader: notes when it got what."""

    def __init__(self):
        self.opened = asyncio.get_running_loop().create_future()
        self.got = []

    def connection_made(self, transport):
        self.transport = transport
        transport.write(REQUEST)

    def data_received(self, data):
        self.got.append((time.perf_counter(), data))
        if not self.opened.done() and b"event: seats" in data:
            self.opened.set_result(None)


async def open_streams(port, count):
    """So many streams, each with its first frame."""
    loop, streams = asyncio.get_running_loop(), []
    while len(streams) < count:
        made = [loop.create_connection(Stream, "127.0.0.1", port) for _ in range(min(AT_ONCE, count - len(streams)))]
        some = [stream for _, stream in await asyncio.gather(*made)]
        async with asyncio.timeout(30):
            await asyncio.gather(*(stream.opened for stream in some))
        streams += some
    return streams


async def reach(people, streams, line):
    """Book once; milliseconds until each stream has the new count. A stream without it counts as lost."""
    for stream in streams:
        stream.got.clear()
    contact_id, exam_id = people.wish()
    began = time.perf_counter()
    reply = await people.book(line, contact_id, exam_id)
    answered_ms = (time.perf_counter() - began) * 1000
    assert reply.status in (201, 202), reply
    await asyncio.sleep(BETWEEN_S)
    wanted = f'"exam_id":"{exam_id}"'.encode()
    arrived = [next((at for at, data in stream.got if wanted in data), None) for stream in streams]
    return [(at - began) * 1000 for at in arrived if at is not None], arrived.count(None), answered_ms


async def all_the_time(people, line):
    """Bookings come in all the time: how much of the process the frames take, and how far apart they then are."""
    names = ("lastseat_event_sending_seconds_total", "lastseat_event_frames_total")
    before = [await people.figures(name) for name in names]
    began, booked = time.perf_counter(), 0
    while (ago := time.perf_counter() - began) < STEADY_S:
        if ago * STEADY_PER_S > booked:
            await people.book_next(line)
            booked += 1
        await asyncio.sleep(0.005)
    sending_s, frames = [await people.figures(name) - had for name, had in zip(names, before, strict=True)]
    took_s = time.perf_counter() - began
    return {
        "sending_share": round(sending_s / took_s, 3),
        "steady_frames_per_s": round(frames / took_s, 2),
        "steady_bookings_per_s": round(booked / took_s, 1),
    }


@contextlib.asynccontextmanager
async def prober(port, took_ms):
    """GETs in the background; their times are in `took_ms` at the end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, Path(__file__).with_name("prober.py"), str(port), truth.AVAILABLE),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield
    finally:
        output, _ = await process.communicate(b"")
        took_ms += json.loads(output)


async def measure(folder, options, say):
    raise_file_limit()
    environment = {**reads.ENVIRONMENT, "LASTSEAT_EVENTS_MOST": str(options.streams + 100)}
    plan = Plan(hubspot_limit=100_000, hubspot_latency_ms=20, seed=1, environment=environment)
    async with LocalStack(folder, plan, say=say) as stack:
        zone = stack.settings.timezone
        school = rush_school(students=200, seats=EXAMS * 100, exams=EXAMS, seed=1, timezone=zone)
        exams, students = await stack.fill(school)
        site = await stack.open_site()
        pids, people = load.family(site.pid), truth.People(stack, exams, students)
        lines = await open_lines(site.port, 1, people.clock)
        await people.book(lines[0], *people.wish())
        await asyncio.sleep(SETTLE_S)
        before = load.resident_bytes(pids)
        say(f"Opening {options.streams} streams …")
        began = time.perf_counter()
        streams = await open_streams(site.port, options.streams)
        opening_s = time.perf_counter() - began
        await asyncio.sleep(SETTLE_S)
        held = load.resident_bytes(pids) - before
        say(f"{options.changes} bookings …")
        gets, times, lost, answered, cpu = [], [], 0, [], load.cpu_s(pids)
        frames = await people.figures("lastseat_event_frames_total")
        async with prober(site.port, gets):
            for _ in range(options.changes):
                some, missing, answered_ms = await reach(people, streams, lines[0])
                times, lost, answered = times + some, lost + missing, [*answered, answered_ms]
        cpu = load.cpu_s(pids) - cpu
        frames = await people.figures("lastseat_event_frames_total") - frames
        steady = await all_the_time(people, lines[0])
        hang_up(lines)
        for stream in streams:
            stream.transport.close()
    return {
        "streams": len(streams),
        **_shares("", times),
        "bytes_per_stream": round(held / len(streams)),
        "lost": lost,
        "changes": options.changes,
        "booking_answered_ms": round(sum(answered) / len(answered), 1),
        "opening_s": round(opening_s, 2),
        "frames_per_change": round(frames / options.changes, 2),
        "server_cpu_ms_per_change": round(cpu / options.changes * 1000, 1),
        "gets": len(gets),
        **_shares("gets_", gets),
        **steady,
    }


def _shares(name, values):
    found = sorted(values)
    at = {"p50": 0.5, "p99": 0.99}
    shares = {f"{name}{label}_ms": round(found[int(len(found) * share)], 1) for label, share in at.items()}
    return {**shares, f"{name}most_ms": round(found[-1], 1)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--json", action="store_true", help="nothing but JSON on standard output")
    parser.add_argument("--streams", type=int, default=5_000)
    parser.add_argument("--changes", type=int, default=15)
    options = parser.parse_args()
    here = machine.described()
    with tempfile.TemporaryDirectory(prefix="lastseat-bench-") as folder:
        Path(folder).chmod(0o755)
        results = uvloop.run(measure(Path(folder), options, lambda text: print(text, file=sys.stderr)))
    whole = options.streams >= STREAMS_LEAST
    if whole:
        machine.keep("events", results, here, options)
    print(json.dumps(results, indent=None if options.json else 2))
    if whole and (lines := list(bars.missed(results, BARS, whole=True))):
        sys.exit("\n".join(lines))


if __name__ == "__main__":
    main()
