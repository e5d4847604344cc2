"""Cached bodies under the PRD's names, in a Redis that older apps read, write and delete."""

import asyncio
import json

import pytest

from tests.beside.school import until

EXAMS_AVAILABLE = "user:exams:available"
RUBBISH = [
    "rubbish",
    "[]",
    '[{"id": "666", "mock_exam_name": "Rubbish", "capacity": 9999, "remaining": 9999}]',
    '{"success": true, "exams": [{"id": "666"}]}',
    "LS1",
    "LS1" + "0" * 200,
    "",
    "null",
    "\ufeff\u0000",
]


def bookings_of(contact_id: str) -> str:
    return f"user:bookings:{contact_id}"


async def fill(redis, name: str, value: str) -> None:
    """What an app of the PRD does: SET with the PRD's own life."""
    await redis.set(name, value, ex=300)


async def test_a_foreign_list_of_exams_is_never_served(school):
    exam_id = await school.exam(7)
    for value in RUBBISH:
        await fill(school.redis, EXAMS_AVAILABLE, value)
        await fill(school.redis, "exams:list", value)
        await asyncio.sleep(0.11)  # what the process keeps is a tenth of a second old at most
        assert {key: exam["remaining"] for key, exam in (await school.listed()).items()} == {exam_id: 7}, value


async def test_a_foreign_list_of_bookings_is_never_served(school):
    exam_id = await school.exam(7)
    booked = await school.book("501", exam_id)
    for value in RUBBISH:
        for contact_id in ("501", "502"):
            await fill(school.redis, bookings_of(contact_id), value)
        mine = [b["booking_id"] for b in await school.mine("501")]
        assert mine == [booked.json["booking"]["booking_id"]], value
        assert await school.mine("502") == [], value


async def test_a_key_of_another_type_under_our_name_is_no_obstacle(school):
    shared = school.redis
    makers = {
        "list": lambda name: shared.rpush(name, "x"),
        "hash": lambda name: shared.hset(name, "a", "x"),
        "set": lambda name: shared.sadd(name, "x"),
        "sorted set": lambda name: shared.zadd(name, {"x": 1}),
        "stream": lambda name: shared.xadd(name, {"a": "x"}),
    }
    for contact_id, (kind, make) in enumerate(makers.items(), start=501):
        exam_id = await school.exam(7)
        contact = bookings_of(str(contact_id))
        for name in (EXAMS_AVAILABLE, contact, f"capacity:{exam_id}", f"lastseat:gate:{exam_id}"):
            await shared.delete(name)
            await make(name)
        assert exam_id in await school.listed(), kind
        assert (await school.book(contact_id, exam_id)).status == 201, kind
        assert len(await school.mine(contact_id)) == 1, kind
        assert await school.remaining(exam_id) == 6, kind


async def test_a_foreign_delete_refreshes_the_list(school):
    await school.exam(7)
    assert len(await school.listed()) == 1
    second = await school.exam(3)
    await school.redis.delete(EXAMS_AVAILABLE)

    async def shown() -> bool:
        return second in await school.listed()

    await until(shown, 0.5)


async def test_a_foreign_delete_refreshes_a_students_bookings(school):
    exam_id = await school.exam(7)
    assert await school.mine("501") == []
    await school.rows(
        "insert into hubspot_sync.hubspot_bookings (hubspot_id, mock_exam_id, contact_id, is_active)"
        " values ('7777', $1, '501', 'Active')",
        exam_id,
    )
    assert await school.mine("501") == []  # the control: without the delete the view stands
    await school.redis.delete(bookings_of("501"))
    assert [b["hubspot_id"] for b in await school.mine("501")] == ["7777"]


async def test_a_foreign_delete_while_we_fill_voids_the_fill(school):
    """Race: a reader that missed before the DEL must not store the old list after it."""
    await school.exam(7)
    reading = asyncio.create_task(school.listed())
    while not await school.redis.exists(EXAMS_AVAILABLE):  # noqa: ASYNC110  # the placeholder appears by itself
        await asyncio.sleep(0)
    await school.redis.delete(EXAMS_AVAILABLE)
    second = await school.exam(3)
    await school.redis.delete(EXAMS_AVAILABLE)
    await reading

    async def shown() -> bool:
        return second in await school.listed()

    await until(shown, 0.5)


async def test_other_apps_find_our_news_where_the_prd_says(school):
    """Staff's app deletes `exams:list` and `user:exams:available`; so do we when an exam changed."""
    exam_id = await school.exam(7)
    await school.listed()
    await fill(school.redis, "exams:list", "theirs")
    changed = await school.staff("PUT", "/api/admin/mock-exams/update", {"examId": exam_id, "location": "Online"})
    assert changed.status == 200, changed.body

    async def dropped() -> bool:
        return await school.redis.get("exams:list") != "theirs"

    await until(dropped)
    assert (await school.listed())[exam_id]["location"] == "Online"


async def test_our_own_values_are_an_envelope_that_says_what_it_is(school):
    await school.exam(7)
    await school.listed()
    value = await school.redis.get(EXAMS_AVAILABLE)
    assert value.startswith("LS1")
    with pytest.raises(json.JSONDecodeError):
        json.loads(value)  # an older app that reads it fails at once, instead of showing something wrong
