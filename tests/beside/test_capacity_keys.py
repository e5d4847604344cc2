"""`capacity:{examId}` is written for others and never read by us: what they do to it changes no answer of ours."""

import asyncio
from collections import Counter

import pytest

from tests.beside.school import School, open_school, until


class Stranger:
    """An app of the PRD at the same Redis, with everything it might do to our keys."""

    def __init__(self, school: School, exam_id: str) -> None:
        self._redis = school.redis
        self._name = f"capacity:{exam_id}"

    async def set_999(self) -> None:
        await self._redis.set(self._name, 999)

    async def set_0(self) -> None:
        await self._redis.set(self._name, 0)

    async def decr(self) -> None:
        await self._redis.decr(self._name)

    async def incr(self) -> None:
        await self._redis.incr(self._name)

    async def delete(self) -> None:
        await self._redis.delete(self._name, "user:exams:available")

    async def flush(self) -> None:
        await self._redis.flushall()

    async def rubbish(self) -> None:
        await self._redis.set("user:exams:available", '[{"id": "666", "remaining": 999}]')

    async def tamper(self) -> None:
        """Not an accident any more: our own gate, spoiled."""
        for name in [key async for key in self._redis.scan_iter("lastseat:gate:*")]:
            await self._redis.set(name, "full")


ACCIDENTS = ["set_999", "set_0", "decr", "incr", "delete", "flush", "rubbish", "tamper"]


async def test_no_answer_changes(school):
    for accident in ACCIDENTS:
        exam_id = await school.exam(2)
        await school.listed()
        stranger = Stranger(school, exam_id)
        statuses = []
        for n in range(4):
            await getattr(stranger, accident)()
            statuses.append((await school.book(501 + n, exam_id)).status)
            await getattr(stranger, accident)()
            assert await school.remaining(exam_id) == max(1 - n, 0), accident
        assert statuses == [201, 201, 409, 409], accident


async def test_the_key_says_what_is_left_after_every_booking_and_cancel(school):
    exam_id = await school.exam(3)

    def shows(left: str):
        async def true() -> bool:
            return await school.redis.get(f"capacity:{exam_id}") == left

        return true

    first = await school.book("501", exam_id)
    await until(shows("2"))
    await school.book("502", exam_id)
    await until(shows("1"))
    await school.cancel("501", first.json["booking"]["booking_id"])
    await until(shows("2"))


@pytest.mark.parametrize("accident", ["all", "flush", "set_0", "decr"])
async def test_accidents_in_the_middle_of_a_rush_oversell_strand_and_misinform_nobody(
    schema_database_url, redis_url, accident
):
    async with open_school(schema_database_url, redis_url, portal={"latency_ms": 30}) as school:
        exam_id, flushes = await school.exam(20), accident in {"flush", "all"}
        stranger = Stranger(school, exam_id)
        stop = asyncio.Event()

        async def meddle() -> None:
            done = 0
            while not stop.is_set():
                name = ACCIDENTS[done % len(ACCIDENTS)] if accident == "all" else accident
                await getattr(stranger, name)()
                done += 1
                await asyncio.sleep(0.1 if name == "flush" else 0.002)

        async def look(heard: list[tuple[int, set[str]]]) -> None:
            while not stop.is_set():
                heard.append((await school.remaining(exam_id), set(await school.listed())))
                await asyncio.sleep(0.005)

        heard: list[tuple[int, set[str]]] = []
        background = [asyncio.create_task(meddle()), asyncio.create_task(look(heard))]
        await asyncio.sleep(0.01)
        first = await asyncio.gather(*(school.book(n, exam_id) for n in range(1, 16)))
        # Five seats are free, nobody holds one back: whoever hears "full" now hears a lie.
        second = await asyncio.gather(*(school.book(n, exam_id) for n in range(100, 105)))
        late = await asyncio.gather(*(school.book(n, exam_id) for n in range(200, 230)))
        stop.set()
        await asyncio.gather(*background)

        # Without a Redis that remembers the calls made, HubSpot is asked with care, and some may be told 202.
        assert {reply.status for reply in [*first, *second]} <= ({201, 202} if flushes else {201})
        assert Counter((reply.status, reply.code) for reply in late) == {(409, "SESSION_FULL"): 30}
        await school.drained()
        held = await school.rows("select from hubspot_sync.hubspot_bookings where holds")
        assert len(held) == len(school.portal.bookings()) == 20
        assert {frozenset(ids) for _, ids in heard} == {frozenset({exam_id})}
        assert {remaining for remaining, _ in heard} <= set(range(21))
        assert school.portal.refused_by_limit == []
