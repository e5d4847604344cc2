"""A booking is moved whole: the new seat first, the old one when HubSpot has the new, or nothing at all."""

import asyncio
from datetime import UTC, datetime

import pytest

from lastseat.model import Record, RowResult
from lastseat.writes import relay as relay_module
from tests.staff.world import EXAM, OTHER, StaffWorld, refused, until

THIRD, FOURTH = "503", "504"


@pytest.fixture
async def booked(world):
    """A world with two sessions and a booking in the first: (world, its reference)."""
    await world.exam(2)
    await world.exam(2, OTHER)
    return world, (await world.book(1)).booking_id


def active(world):
    return {record["mock_exam_id"] for record in world.hubspot.records.values() if record["is_active"] != "Cancelled"}


async def test_a_moved_booking_leaves_the_old_session_and_is_in_the_new(booked):
    world, reference = booked
    moved = await world.move(reference)
    assert (moved.claim.state, moved.previous) == ("booked", "cancelled")
    assert moved.claim.booking.mock_exam_id == OTHER
    assert active(world) == {OTHER}
    assert [(await world.gate(EXAM)).taken, (await world.gate(OTHER)).taken] == [0, 1]
    assert [kind for kind, _ in world.hubspot.calls if kind in ("create", "cancel")] == ["create", "create", "cancel"]


async def test_what_the_student_said_moves_along(world):
    await world.exam(2)
    await world.exam(2, OTHER)
    fields = {"mock_exam_id": EXAM, "contact_id": "9", "is_active": "Active", "dominant_hand": "left"}
    imported = Record(hubspot_id="77", properties=fields, updated_at=datetime.now(UTC))
    await world.ledger.mirror(bookings=[imported])
    moved = await world.move("77")
    assert moved.claim.booking.dominant_hand == "left"
    assert world.hubspot.records[moved.claim.booking_id]["dominant_hand"] == "left"


async def test_where_fields_are_needed_a_booking_is_refused_by_the_fields_name_and_imports_and_moves_are_not(
    schema_database_url,
):
    world = StaffWorld(schema_database_url, booking_fields_needed=True)
    world.start_relay()
    await world.exam(2)
    await world.exam(2, OTHER)
    fields = {"mock_exam_id": EXAM, "contact_id": "9", "is_active": "Active"}
    await world.ledger.mirror(bookings=[Record(hubspot_id="77", properties=fields, updated_at=datetime.now(UTC))])
    refusal = await refused(world.book(1))
    assert (refusal.code, refusal.field) == ("INVALID", "attending_location")
    assert (await world.gate()).taken == 1
    assert (await world.move("77")).claim.state == "booked"
    await world.close()


async def test_the_old_seat_is_held_until_hubspot_has_the_new_booking(waiting_world):
    world = waiting_world
    await world.exam(1)
    await world.exam(1, OTHER)
    reference = (await world.book(1)).booking_id
    await world.settled()
    with world.hubspot.hold("create"):
        moved = await world.move(reference)
        assert (moved.claim.state, moved.previous) == ("open", "pending")
        assert [(await world.gate(EXAM)).taken, (await world.gate(OTHER)).taken] == [1, 1]
        assert not any(kind == "cancel" for kind, _ in world.hubspot.calls)
    await world.settled()
    assert [(await world.gate(EXAM)).taken, (await world.gate(OTHER)).taken] == [0, 1]
    assert active(world) == {OTHER}


async def test_a_new_booking_that_hubspot_refuses_leaves_the_old_one(booked):
    world, reference = booked
    world.hubspot.refuse("create")
    assert (await refused(world.move(reference))).code == "REFUSED_BY_HUBSPOT"
    await world.settled()
    assert active(world) == {EXAM}
    assert [(await world.gate(EXAM)).taken, (await world.gate(OTHER)).taken] == [1, 0]
    assert (await world.ledger.booking(reference)).is_active == "Active"
    world.hubspot.answer = world.hubspot.write
    assert (await world.move(reference)).claim.state == "booked"  # it can be moved another time


@pytest.mark.parametrize(
    ("target", "code"), [("full", "SESSION_FULL"), ("closed", "EXAM_CLOSED"), ("unknown", "EXAM_NOT_FOUND")]
)
async def test_where_there_is_no_seat_nothing_moves(booked, target, code):
    world, reference = booked
    if target == "full":
        await world.book(2, OTHER)
        await world.book(3, OTHER)
    if target == "closed":
        await world.update(OTHER, is_active="inactive")
    to = "999" if target == "unknown" else OTHER
    assert (await refused(world.move(reference, to))).code == code
    assert (await world.gate(EXAM)).taken == 1
    assert (await world.ledger.booking(reference)).is_active == "Active"


async def test_a_student_who_is_in_the_new_session_already_is_not_moved(booked):
    world, reference = booked
    await world.book(1, OTHER)
    assert (await refused(world.move(reference))).code == "ALREADY_BOOKED"
    assert (await world.gate(EXAM)).taken == 1


async def test_two_moves_at_once_move_once(booked):
    world, reference = booked
    await world.exam(2, "503")
    answers = await asyncio.gather(world.move(reference), world.move(reference, "503"), return_exceptions=True)
    assert sorted(getattr(answer, "code", "moved") for answer in answers) == ["BOOKING_NOT_ACTIVE", "moved"]
    await world.settled()
    assert len(active(world)) == 1
    assert sum([(await world.gate(exam)).taken for exam in (EXAM, OTHER, "503")]) == 1


async def test_a_double_click_with_one_key_is_one_move(booked):
    world, reference = booked
    answers = await asyncio.gather(*(world.move(reference, key="k") for _ in range(3)))
    assert len({answer.claim.booking_id for answer in answers}) == 1
    again = await world.move(reference, key="k")
    assert (again.claim.state, again.previous) == ("booked", "cancelled")
    assert (await refused(world.move(reference, EXAM, key="k"))).code == "KEY_REUSED"


async def test_moves_and_students_never_take_one_seat_twice(world):
    await world.exam(10)
    await world.exam(5, OTHER)
    await world.book_all(range(10))
    references = [(await world.ledger.bookings(str(n)))[0].booking_id for n in range(10)]
    await asyncio.gather(
        *(world.book(n, OTHER) for n in range(100, 110)),
        *(world.move(reference) for reference in references),
        return_exceptions=True,
    )
    await world.settled()
    assert (await world.gate(OTHER)).taken == 5
    holders = [r for r in world.hubspot.records.values() if r["is_active"] != "Cancelled"]
    assert sum(r["mock_exam_id"] == OTHER for r in holders) == 5
    kept = {r["contact_id"] for r in holders}
    assert {str(n) for n in range(10)} <= kept  # whoever had a seat has one


@pytest.mark.parametrize("what", ["cancelled", "completed", "unknown", "nobody's", "here already"])
async def test_what_cannot_be_moved_is_said(booked, what):
    world, reference = booked
    to, code = OTHER, "BOOKING_NOT_ACTIVE"
    if what == "cancelled":
        await world.cancel(reference)
    elif what == "completed":
        fields = {"mock_exam_id": EXAM, "contact_id": "9", "is_active": "Completed"}
        await world.ledger.mirror(bookings=[Record(hubspot_id="77", properties=fields, updated_at=datetime.now(UTC))])
        reference = "77"
    elif what == "nobody's":
        fields = {"mock_exam_id": EXAM, "is_active": "Active"}
        await world.ledger.mirror(bookings=[Record(hubspot_id="77", properties=fields, updated_at=datetime.now(UTC))])
        reference, code = "77", "BOOKING_WITHOUT_CONTACT"
    elif what == "unknown":
        reference, code = "LS-NOSUCHBOOKING000", "BOOKING_NOT_FOUND"
    else:
        to, code = EXAM, "INVALID"
    assert (await refused(world.move(reference, to))).code == code
    assert (await world.gate(OTHER)).taken == 0


async def test_a_booking_not_yet_in_hubspot_is_moved_too(schema_database_url):
    world = StaffWorld(schema_database_url, deadline_s=0.02)
    await world.exam(1)
    await world.exam(1, OTHER)
    reference = (await world.book(1)).booking_id
    await world.move(reference)
    world.start_relay()
    await world.settled()
    assert active(world) == {OTHER}
    assert [(await world.gate(EXAM)).taken, (await world.gate(OTHER)).taken] == [0, 1]
    await world.close()


async def test_cancelling_the_new_booking_during_the_move_leaves_neither_half(schema_database_url):
    """Were it folded away unsent, the old seat's cancel would wait for ever."""
    world = StaffWorld(schema_database_url, deadline_s=0.02)
    await world.exam(1)
    await world.exam(1, OTHER)
    moved = await world.move((await world.book(1)).booking_id)
    assert await world.cancel(moved.claim.booking_id) == "pending"
    world.start_relay()
    await world.settled()
    assert active(world) == set()
    assert [(await world.gate(EXAM)).taken, (await world.gate(OTHER)).taken] == [0, 0]
    await world.close()


async def test_cancelling_the_old_booking_during_the_move_no_longer_waits_for_the_new(schema_database_url):
    world = StaffWorld(schema_database_url, deadline_s=0.02)
    await world.exam(1)
    await world.exam(1, OTHER)
    reference = (await world.book(1)).booking_id
    world.start_relay()
    await world.settled()
    world.hubspot.refuse("create")
    with world.hubspot.hold("create"):
        await world.move(reference)
        await world.cancel(reference)

        async def freed():
            return (await world.gate(EXAM)).taken == 0

        await until(freed)
    await world.settled()
    assert active(world) == set()
    await world.close()


async def test_a_cancel_of_the_old_booking_that_hubspot_refuses_leaves_both(booked):
    """Never neither: the new seat is recorded, the old one is left for the operator."""
    world, reference = booked

    def answer(kind, row):
        if kind == "cancel":
            return RowResult(key=row.key, outcome="refused", reason="no")
        return world.hubspot.write(kind, row)

    world.hubspot.answer = answer
    moved = await world.move(reference)
    assert (moved.claim.state, moved.previous) == ("booked", "pending")
    assert active(world) == {EXAM, OTHER}


async def test_without_the_wait_a_refused_move_would_leave_the_student_with_nothing(booked):
    """The negative control: the old booking's cancel does not wait for the new booking."""
    world, reference = booked
    await world.execute(
        "create function hubspot_sync.hurry() returns trigger language plpgsql as "
        "$$ begin new.after_booking := null; return new; end $$;"
        "create trigger hurry before update on hubspot_sync.outbox for each row execute function hubspot_sync.hurry()"
    )
    world.hubspot.refuse("create")
    assert (await refused(world.move(reference))).code == "REFUSED_BY_HUBSPOT"
    await world.settled()
    assert active(world) == set()


@pytest.mark.parametrize(
    ("refused_exams", "left"),
    [({OTHER}, THIRD), ({THIRD}, OTHER), ({OTHER, THIRD}, FOURTH), ({FOURTH}, THIRD), ({OTHER, THIRD, FOURTH}, EXAM)],
)
@pytest.mark.parametrize("together", [True, False])
async def test_in_a_row_of_moves_only_one_seat_is_left_whichever_hubspot_refuses(
    schema_database_url, monkeypatch: pytest.MonkeyPatch, refused_exams: set[str], left: str, together: bool
):
    """Moved on before HubSpot had heard of the first move. When it takes none, the student keeps the first seat."""
    monkeypatch.setitem(relay_module._BATCH, "create", 100 if together else 1)
    world = StaffWorld(schema_database_url, deadline_s=0.02)
    exams = (EXAM, OTHER, THIRD, FOURTH)
    for exam_id in exams:
        await world.exam(1, exam_id)
    world.start_relay()
    reference = (await world.book(1)).booking_id
    await world.settled()

    def answer(kind, row):
        if kind == "create" and row.properties["mock_exam_id"] in refused_exams:
            return RowResult(key=row.key, outcome="refused", reason="no")
        return world.hubspot.write(kind, row)

    world.hubspot.answer = answer
    await world.stop_relays()
    for exam_id in (OTHER, THIRD, *([FOURTH] if FOURTH in {left, *refused_exams} else [])):
        reference = (await world.move(reference, exam_id)).claim.booking_id
    world.start_relay()
    await world.settled()
    assert active(world) == {left}
    assert {exam_id for exam_id in exams if (await world.gate(exam_id)).taken} == {left}
    assert await world.fetch("select from hubspot_sync.outbox where state in ('waiting', 'sent')") == []
    await world.close()
