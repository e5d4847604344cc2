"""What an answer costs while bookings come in, ours beside the PRD's Node; books only at stacks of its own.

In the PRD each booking deletes the list that everybody is reading, so this is where its readers pay. Counted is the
CPU of all that works for an answer: the server, Redis and Postgres, with what the bookings cost; not HubSpot.
"""

import asyncio
import itertools
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import load
import peer
import truth

from lastseat.rehearsal.lines import Clock, Reply, answers, hang_up, open_lines, request

SETTLE_S = 0.3


@dataclass(frozen=True)
class Side:
    """One of the two: where it listens, the processes that work for it, and how a booking is made there."""

    port: int
    pids: Sequence[int]
    book: Callable[[object], Awaitable[Reply]]


def ours(stack, people):
    """Our site; each wish of `people` is booked once."""
    return Side(stack.site.port, _pids(stack, stack.site.pid), lambda line: people.book(line, *people.wish()))


def the_prds(stack, place, exams, students):
    """The PRD's Node at `place`: (port, pid)."""
    port, pid = place
    wishes = itertools.cycle((student, exam) for exam in exams for student in students)

    async def book(line):
        body = json.dumps(peer.wish(*next(wishes))).encode()
        text = request("POST", "/api/bookings/create", port=port, body=body)
        return (await answers([line], [line.put(text)], 10.0))[0]

    return Side(port, _pids(stack, pid), book)


def _pids(stack, server):
    return [server, stack.embedded.valkey.pid, stack.embedded.postgres.pid]


async def cost_of_an_answer(side, *, connections, seconds):
    """Microseconds of CPU, with what the bookings cost; answers and bookings per second."""
    stop = asyncio.Event()
    booking = asyncio.create_task(_book_steadily(side, stop))
    try:
        await asyncio.sleep(SETTLE_S)
        requests = [load.get(peer.AVAILABLE)] * connections
        found = await load.cpu_per_answer(side.port, requests, side.pids, seconds=seconds)
    finally:
        stop.set()
    return found | {"bookings_per_s": await booking}


async def _book_steadily(side, stop):
    lines = await open_lines(side.port, truth.PER_S, Clock())
    began, asked = time.perf_counter(), []
    while not stop.is_set():
        due = began + len(asked) / truth.PER_S
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        asked.append(asyncio.create_task(side.book(lines[len(asked) % truth.PER_S])))
    took_s = time.perf_counter() - began
    replies = await asyncio.gather(*asked)
    hang_up(lines)
    assert all(reply.status in (201, 202) for reply in replies), {reply.status for reply in replies}
    return len(replies) / took_s
