"""What an answer costs while bookings come in, ours beside the PRD's Node; books only at stacks of its own.

In the PRD each booking deletes the list that everybody is reading, so this is where its readers pay. Counted is the
CPU of all that works for an answer: the server, Redis and Postgres, with what the bookings cost; not HubSpot.
"""

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import load
import peer
import truth

from lastseat.rehearsal.lines import Reply, answers, request

SETTLE_S = 0.3


@dataclass(frozen=True)
class Side:
    """One of the two: where it listens, the processes that work for it, and how a booking is made there."""

    port: int
    pids: Sequence[int]
    book: Callable[[object], Awaitable[Reply]]


def ours(stack, people):
    """Our site; each wish of `people` is booked once."""
    return Side(stack.site.port, pids(stack, stack.site.pid), people.book_next)


def the_prds(stack, place, exams, students):
    """The PRD's Node at `place`: (port, pid)."""
    port, pid = place
    wishes = itertools.cycle((student, exam) for exam in exams for student in students)

    async def book(line):
        body = json.dumps(peer.wish(*next(wishes))).encode()
        text = request("POST", "/api/bookings/create", port=port, body=body)
        return (await answers([line], [line.put(text)], 10.0))[0]

    return Side(port, pids(stack, pid), book)


def pids(stack, server):
    """Everything that works for this server's answers."""
    return [server, stack.embedded.valkey.pid, stack.embedded.postgres.pid]


async def cost_of_an_answer(side, *, connections, seconds):
    """Microseconds of CPU, with what the bookings cost, and answers per second."""
    stop = asyncio.Event()
    booking = asyncio.create_task(truth.book_steadily(side.port, side.book, lambda _: stop.is_set()))
    try:
        await asyncio.sleep(SETTLE_S)
        requests = [load.get(peer.AVAILABLE)] * connections
        found = await load.cpu_per_answer(side.port, requests, side.pids, seconds=seconds)
    finally:
        stop.set()
    await booking
    return found
