"""Deleting archives, waits for the cancels it was asked for, and can be taken back."""

import asyncio
from datetime import UTC, datetime

import pytest

from lastseat.model import Record, RowResult
from tests.staff.world import EXAM, StaffWorld, refused, until


async def delete(world, **what):
    return await world.change("exam_archive", **what)


async def bookings_of(world, *contacts):
    return [(await world.ledger.bookings(str(contact)))[0].is_active for contact in contacts]


async def test_a_deleted_exam_is_archived_there_and_marked_here(world):
    await world.exam(10)
    change = await delete(world)
    assert change.exam.archived_at is not None
    assert world.hubspot.archived == {EXAM}
    assert await world.ledger.exam(EXAM) is None
    assert await world.book_all([1]) == ["EXAM_NOT_FOUND"]
    assert (await refused(delete(world))).code == "EXAM_NOT_FOUND"


async def test_nobody_books_while_an_exam_is_being_deleted(waiting_world):
    world = waiting_world
    await world.exam(10)
    with world.hubspot.hold("exam_archive"):
        change = await delete(world)
        assert await world.book_all([1]) == ["EXAM_CLOSED"]
        assert (await refused(world.update(capacity=20))).code == "EXAM_NOT_FOUND"
        assert (await delete(world)).change_id == change.change_id  # a second click


async def test_a_deletion_that_hubspot_refuses_leaves_the_exam_open(world):
    await world.exam(10)
    world.hubspot.refuse("exam_archive")
    assert (await refused(delete(world))).code == "REFUSED_BY_HUBSPOT"
    assert (await world.gate()).open


async def test_an_exam_with_bookings_is_not_deleted(world):
    await world.exam(10)
    await world.book_all([1, 2])
    refusal = await refused(delete(world))
    assert refusal.code == "HAS_BOOKINGS"
    assert refusal.details["bookings"] == 2
    assert (await world.gate()).open


async def test_asked_to_it_cancels_the_bookings_first_and_archives_then(world):
    await world.exam(10)
    await world.book_all([1, 2])
    change = await delete(world, cancel_bookings=True)
    assert change.exam.archived_at is not None
    kinds = [kind for kind, _ in world.hubspot.calls if kind in ("cancel", "exam_archive")]
    assert kinds == ["cancel", "exam_archive"]
    assert {record["is_active"] for record in world.hubspot.records.values()} == {"Cancelled"}
    assert await bookings_of(world, 1, 2) == ["Cancelled", "Cancelled"]


async def test_bookings_under_way_are_cancelled_with_the_exam(schema_database_url):
    """Those that HubSpot never saw are dropped; the one on its way is cancelled behind itself."""
    world = StaffWorld(schema_database_url, deadline_s=0.05)
    await world.exam(10)
    world.start_relay()
    with world.hubspot.hold("create"):
        first = await world.book(1)

        async def sent():
            return bool(
                await world.fetch("select 1 from hubspot_sync.outbox where kind = 'create' and state = 'sent'")
            )

        await until(sent)
        await world.book(2)
        await delete(world, cancel_bookings=True)
    await world.settled()
    assert first.booking_id in world.hubspot.records
    assert {record["is_active"] for record in world.hubspot.records.values()} == {"Cancelled"}
    assert world.hubspot.archived == {EXAM}
    assert await bookings_of(world, 1, 2) == ["Cancelled", "Cancelled"]
    await world.close()


async def test_a_cancel_that_hubspot_refuses_keeps_the_exam(world):
    await world.exam(10)
    await world.book_all([1, 2])

    def answer(kind, row):
        if kind == "cancel" and row.contact_id == "2":
            return RowResult(key=row.key, outcome="refused", reason="no")
        return world.hubspot.write(kind, row)

    world.hubspot.answer = answer
    refusal = await refused(delete(world, cancel_bookings=True))
    assert refusal.code == "REFUSED_BY_HUBSPOT"
    assert "1 bookings of this exam could not be cancelled" in refusal.message
    assert world.hubspot.archived == set()
    assert await world.seats() == (10, 1, 9, True)


async def test_a_booking_made_in_hubspot_meanwhile_keeps_the_exam(waiting_world):
    world = waiting_world
    await world.exam(10)
    with world.hubspot.hold("exam_update"):
        await world.update(location="Online")  # the deletion waits behind it
        change = await delete(world)
        booking = {"mock_exam_id": EXAM, "contact_id": "9", "is_active": "Active"}
        await world.ledger.mirror(
            bookings=[Record(hubspot_id="77", properties=booking, updated_at=datetime.now(UTC))]
        )
    await world.settled()
    assert (await world.changer.look(change.change_id)).status == "refused"
    assert world.hubspot.archived == set()
    assert await world.seats() == (10, 1, 9, True)


async def test_completed_bookings_are_never_cancelled(world):
    await world.exam(10)
    booking = {"mock_exam_id": EXAM, "contact_id": "9", "is_active": "Completed"}
    await world.ledger.mirror(bookings=[Record(hubspot_id="77", properties=booking, updated_at=datetime.now(UTC))])
    refusal = await refused(delete(world, cancel_bookings=True))
    assert refusal.code == "HAS_BOOKINGS"
    assert refusal.details == {"bookings": 1, "completed": 1}
    assert (await world.gate()).open


async def test_a_page_read_before_the_deletion_does_not_undo_it(world):
    await world.exam(10)
    before = world.hubspot.exam_record(EXAM)
    await delete(world)
    await world.ledger.mirror(exams=[before])
    assert await world.ledger.exam(EXAM) is None


async def test_a_restored_exam_has_its_fields_and_a_new_id(world):
    await world.exam(10)
    await delete(world)
    change = await world.change("exam_restore")
    new_id = change.exam.hubspot_id
    assert new_id != EXAM
    assert change.exam.archived_at is None
    assert (change.exam.capacity, change.exam.location, change.exam.start_time) == (10, "Calgary", "09:00")
    sent = {name: value for name, value in world.hubspot.exams[new_id].items() if name != "lastseat_exam_id"}
    assert sent == world.hubspot.exams[EXAM]
    assert (await world.book(1, new_id)).state == "booked"


async def test_a_restore_asked_twice_is_made_once(world):
    await world.exam(10)
    await delete(world)
    changes = await asyncio.gather(*(world.change("exam_restore") for _ in range(3)))
    assert len({change.exam.hubspot_id for change in changes}) == 1
    assert (await world.change("exam_restore")).exam.hubspot_id == changes[0].exam.hubspot_id
    assert len(world.hubspot.exams) == 2


async def test_what_is_not_deleted_is_not_restored(world):
    await world.exam(10)
    refusal = await refused(world.change("exam_restore"))
    assert (refusal.code, refusal.field) == ("INVALID", "examId")


@pytest.mark.parametrize("kind", ["exam_archive", "exam_restore"])
async def test_a_repeated_key_finds_the_deletion_or_the_restore(world, kind):
    await world.exam(10)
    if kind == "exam_restore":
        await delete(world)
    first = await world.change(kind, key="k")
    assert (await world.change(kind, key="k")).change_id == first.change_id


async def test_counts_of_an_archived_exam_are_not_sent(waiting_world):
    world = waiting_world
    await world.exam(10)
    with world.hubspot.hold("count"):
        await world.book_all([1])
        await delete(world, cancel_bookings=True)

        async def archived():
            return bool(world.hubspot.archived)

        await until(archived)
    await world.settled()
    assert await world.fetch("select 1 from hubspot_sync.outbox where state = 'aside'") == []
