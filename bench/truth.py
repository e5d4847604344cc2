"""Whether reads show what was written: bookings come in, readers compare; writes only to a stack of its own."""

import asyncio
import itertools
import json
import re
import time

import redis.asyncio

from lastseat.rehearsal.lines import Clock, answers, ask, hang_up, open_lines, request
from lastseat.rehearsal.tokens import student_token

AVAILABLE = "/api/mock-exams/available"
LATE_S = 0.1
PER_S = 50
READERS = 12
READ_PAUSE_S = 0.008
WRITERS = 6
COLD_READERS = 500
LISTS = "lastseat_database_lists_total"
COUNTED = re.compile(r"^(lastseat_\w+)\{([^}]*)\} ([0-9.e+-]+)$", re.MULTILINE)


class People:
    """Who books what: every student every exam once, in an order that spreads over the exams."""

    def __init__(self, stack, exams, students, *, first=0):
        self.stack = stack
        self.port = stack.site.port
        self.exams = exams
        self.tokens = {s.contact_id: student_token(stack.secret, s.contact_id) for s in students}
        people = students[first:]
        self._wishes = (
            (people[(n + turn) % len(people)].contact_id, exams[n % len(exams)].exam_id)
            for turn in itertools.count()
            for n in range(turn * 7919, turn * 7919 + len(people))
        )
        self.clock = Clock()

    def wish(self):
        return next(self._wishes)

    async def put(self, line, method, path, token="", body=b""):
        """One request over a connection that is kept."""
        text = request(method, path, port=self.port, token=token, body=body)
        return (await answers([line], [line.put(text)], 10.0))[0]

    async def book(self, line, contact_id, exam_id):
        body = json.dumps({"examId": exam_id, "attending_location": "Calgary", "dominant_hand": "right"}).encode()
        return await self.put(line, "POST", "/api/bookings/create", self.tokens[contact_id], body)

    async def book_next(self, line):
        return await self.book(line, *self.wish())

    async def figures(self, name, labels="", processes=1):
        """A counter's sum over all processes; each connection meets one of them by chance."""
        found = {}
        async with asyncio.timeout(10):
            while len(found) < processes:
                text = (await ask(self.port, "GET", "/metrics")).body.decode()
                for metric, said, value in COUNTED.findall(text):
                    if metric == name and labels in said:
                        found[re.search(r'process="(\d+)"', said)[1]] = float(value)
        return sum(found.values())


async def reads_in_a_rush(people, *, seconds):
    """50 bookings a second come in while readers read: how often the list is read from the database, and how
    many answers were at hand in the process."""
    names = {
        "lists": (LISTS, ""),
        "process": ("lastseat_exam_answers_total", 'from="process"'),
        "stores": ("lastseat_exam_answers_total", 'from="stores"'),
    }
    before = {key: await people.figures(*of) for key, of in names.items()}
    began = time.perf_counter()
    wanted = int(seconds * PER_S)
    booked, read = await asyncio.gather(
        book_steadily(people.port, people.book_next, lambda count: count >= wanted), _read_steadily(people, seconds)
    )
    took_s = time.perf_counter() - began
    spent = {key: await people.figures(*of) - before[key] for key, of in names.items()}
    return {
        "db_list_queries_per_s": round(spent["lists"] / took_s, 2),
        "process_hit_share": round(spent["process"] / (spent["process"] + spent["stores"]), 4),
        "in_the_rush": {"bookings_per_s": round(booked / took_s, 1), "reads_per_s": round(read / took_s)},
    }


async def book_steadily(port, book, over):
    """Book PER_S times a second until `over(count)`; each booking is one call of `book` with a kept connection."""
    lines = await open_lines(port, PER_S, Clock())
    began, asked = time.perf_counter(), []
    while not over(len(asked)):
        await asyncio.sleep(max(0.0, began + len(asked) / PER_S - time.perf_counter()))
        asked.append(asyncio.create_task(book(lines[len(asked) % PER_S])))
    replies = await asyncio.gather(*asked)
    hang_up(lines)
    assert all(reply.status in (201, 202) for reply in replies), {reply.status for reply in replies}
    return len(replies)


async def _read_steadily(people, seconds):
    lines = await open_lines(people.port, READERS, people.clock)
    until, paths = time.perf_counter() + seconds, itertools.cycle([AVAILABLE] * 3 + _capacities(people)[:1])

    async def one(line):
        count = 0
        while time.perf_counter() < until:
            assert (await people.put(line, "GET", next(paths))).status == 200
            count += 1
            await asyncio.sleep(0.01)
        return count

    counts = await asyncio.gather(*map(one, lines))
    hang_up(lines)
    return sum(counts)


def _capacities(people):
    return [f"/api/mock-exams/{exam.exam_id}/capacity" for exam in people.exams]


class Answered:
    """When each booking was answered; what a read must show that starts so much later."""

    def __init__(self):
        self._at = {}

    def note(self, exam_id):
        self._at.setdefault(exam_id, []).append(time.perf_counter())

    def count(self, exam_id, before):
        return sum(at < before for at in self._at.get(exam_id, ()))


async def stale_reads(people, *, reads):
    """Reads that started more than 100 ms after an answered write and miss it; own writes missed at once."""
    truth, taken_before, seen = Answered(), {}, {"reads": 0, "stale": 0, "own": 0, "own_missed": 0}
    first = json.loads((await ask(people.port, "GET", AVAILABLE)).body)
    taken_before = {exam["id"]: exam["total_bookings"] for exam in first["exams"]}
    lines = await open_lines(people.port, READERS + WRITERS, people.clock)
    await asyncio.gather(
        *(_write(people, line, truth, taken_before, seen, reads) for line in lines[:WRITERS]),
        *(_read(people, line, truth, taken_before, seen, reads) for line in lines[WRITERS:]),
    )
    hang_up(lines)
    return {
        "stale_reads": seen["stale"],
        "own_writes_missed": seen["own_missed"],
        "compared": {"reads": seen["reads"], "own_writes": seen["own"], "processes": 2, "later_than_s": LATE_S},
    }


async def _write(people, line, truth, before, seen, reads):
    while seen["reads"] < reads:
        contact_id, exam_id = people.wish()
        reply = await people.book(line, contact_id, exam_id)
        if reply.status not in (201, 202):
            continue
        truth.note(exam_id)
        # Others' bookings of just now may be on their way to this process; older ones and the own one are not.
        due = before[exam_id] + truth.count(exam_id, time.perf_counter() - LATE_S) + 1
        booking_id = json.loads(reply.body)["booking"]["booking_id"]
        mine = await people.put(line, "GET", "/api/bookings/list?limit=100", people.tokens[contact_id])
        seats = await people.put(line, "GET", f"/api/mock-exams/{exam_id}/capacity")
        seen["own"] += 1
        shown = json.loads(seats.body)["total_bookings"]
        if booking_id.encode() not in mine.body or shown < due:
            seen["own_missed"] += 1
        await asyncio.sleep(WRITERS / PER_S)


async def _read(people, line, truth, before, seen, reads):
    paths = itertools.cycle([*_capacities(people), AVAILABLE])
    while seen["reads"] < reads:
        path = next(paths)
        began = time.perf_counter()
        body = json.loads((await people.put(line, "GET", path)).body)
        exams = body["exams"] if path == AVAILABLE else [{**body, "id": body["exam_id"]}]
        missed = [
            exam
            for exam in exams
            if exam["total_bookings"] < before[exam["id"]] + truth.count(exam["id"], began - LATE_S)
        ]
        seen["stale"] += bool(missed)
        seen["reads"] += 1
        await asyncio.sleep(READ_PAUSE_S)


async def cold_view(people):
    """500 readers find no view: how often the list is read from the database."""
    lines = await open_lines(people.port, COLD_READERS, people.clock)
    async with redis.asyncio.Redis.from_url(people.stack.embedded.redis_url) as client:
        before = await _left_cold(people, client)
    asked = [line.put(request("GET", AVAILABLE, port=people.port)) for line in lines]
    replies = await answers(lines, asked, 10.0)
    hang_up(lines)
    assert all(reply.status == 200 for reply in replies)
    queries = await people.figures(LISTS, processes=2) - before
    return {"cold_view_database_queries": int(queries), "cold_view_readers": COLD_READERS}


async def _left_cold(people, client):
    """Drop the view until nobody fills it again: after a write the consistency checker reads too, once."""
    async with asyncio.timeout(10):
        while True:
            before = await people.figures(LISTS, processes=2)
            await client.delete("user:exams:available")
            await asyncio.sleep(2 * LATE_S)
            now = await people.figures(LISTS, processes=2)
            if now == before and not await client.exists("user:exams:available"):
                return now
