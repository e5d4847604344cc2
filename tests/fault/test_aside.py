"""A booking that HubSpot refused gives its seat back; staff sees why and tries again, or hears why that cannot be."""

from datetime import UTC, datetime

import pytest

from lastseat.errors import Refused
from lastseat.stores.care import Care
from lastseat.writes.again import SecondTry
from tests.fault.kit import EXAM, cancelling, exam, wish
from tests.fault.world import LocalBulletin, until

BAD = "Property values were not valid"


@pytest.fixture
async def desk(world):
    return SecondTry(ledger=Care(world.database), bulletin=world.bulletin)


async def refused(world, contact="1", **exams):
    """One student is refused by HubSpot; the relay runs on."""
    if exams:
        await world.exams(exam(**exams))
    world.hubspot.poison[contact] = BAD
    world.start()
    assert (await world.book("first")).state == "booked"
    assert await world.state_of(contact) == "REFUSED_BY_HUBSPOT"
    world.hubspot.poison.clear()


async def retry(desk):
    page = await desk.list(page=1, limit=10)
    assert page.total == 1
    return await desk.retry(page.rows[0].outbox_id, caller="staff:clerk", request_id="r")


async def code_of(asked) -> str:
    with pytest.raises(Refused) as refusal:
        await asked
    return refusal.value.code


async def state(world, contact):
    return (await world.ledger.bookings(contact))[0].is_active


async def test_staff_sees_what_was_refused_for_whom_and_why(world, desk):
    await refused(world)
    row = (await desk.list(page=1, limit=10)).rows[0]
    assert (row.kind, row.contact_id, row.exam_id, row.reason) == ("create", "1", EXAM, BAD)
    assert row.set_aside_at is not None
    assert (await desk.list(page=2, limit=10)).rows == []


async def test_a_booking_tried_again_gets_a_seat_and_is_recorded(world, desk, rows):
    await refused(world)
    answer = await retry(desk)
    assert (answer.outcome, answer.row.state) == ("queued", "waiting")

    async def active():
        return await state(world, "1") == "Active"

    await until(active)
    assert await world.taken() == 2
    assert (await desk.list(page=1, limit=10)).total == 0
    told = [outcome.state for news in world.bulletin.news for outcome in news.outcomes if outcome.contact_id == "1"]
    assert told == ["refused", "open", "booked"]


async def test_whoever_asks_again_with_the_old_key_hears_how_it_ended(world, desk):
    """Refused once, and remembered; then tried again: the old word must not be said again."""
    world.hubspot.poison["1"] = BAD
    world.start()
    await world.book("first")
    assert await world.state_of("1", key="k") == "REFUSED_BY_HUBSPOT"
    world.hubspot.poison.clear()
    await retry(desk)
    assert await world.state_of("1", key="k") == "booked"


async def test_trying_again_finds_the_exam_full(world, desk):
    await refused(world, capacity=2, exam_id=EXAM)
    assert (await world.book("2")).state == "booked"
    assert await code_of(retry(desk)) == "SESSION_FULL"
    assert await world.taken() == 2
    assert (await desk.list(page=1, limit=10)).total == 1


async def test_trying_again_finds_that_the_student_has_booked_meanwhile(world, desk):
    await refused(world)
    assert (await world.book("1")).state == "booked"
    assert await code_of(retry(desk)) == "ALREADY_BOOKED"


async def test_trying_again_finds_the_exam_closed(world, desk):
    await refused(world)
    # Newer than the exam that comes back with its count, which the relay may still be sending.
    await world.exams(exam(capacity=50, is_active="inactive", at=datetime(2030, 1, 1, tzinfo=UTC)))
    assert await code_of(retry(desk)) == "EXAM_CLOSED"


async def test_the_same_click_twice_queues_once(world, desk, rows):
    await refused(world)
    await world.stop()
    row = (await desk.list(page=1, limit=10)).rows[0]
    asked = {"caller": "staff:clerk", "request_id": "r"}
    first, second = [await desk.retry(row.outbox_id, **asked) for _ in range(2)]
    assert (first.outcome, second.outcome) == ("queued", "not_aside")
    assert await world.taken() == 2


async def test_a_row_that_was_never_set_aside_is_not_found(world, desk):
    await world.ledger.claim([wish("1")])
    assert await code_of(desk.retry(1, caller="staff:clerk", request_id="r")) == "NOT_FOUND"
    assert await code_of(desk.retry(99, caller="staff:clerk", request_id="r")) == "NOT_FOUND"


async def test_a_refused_cancel_is_tried_again(world, desk, rows):
    world.start()
    claim = await world.book("1")
    await world.book("2")
    world.hubspot.poison[claim.booking_id] = BAD
    cancel_first = await world.ledger.cancel([cancelling(claim.booking_id, "1")])
    assert cancel_first[0][0].outcome == "pending"
    other = (await world.ledger.bookings("2"))[0].booking_id
    assert await world.cancel(other, "2") == "cancelled"  # HubSpot takes other cancels: the refusal is this row's own

    async def aside():
        return (await desk.list(page=1, limit=10)).total

    await until(aside)
    world.hubspot.poison.clear()
    assert (await retry(desk)).outcome == "queued"

    async def cancelled():
        return await state(world, "1") == "Cancelled"

    await until(cancelled)
    assert await world.taken() == 0


async def test_a_refused_cancel_that_is_not_needed_any_more_is_dropped(world, desk, rows):
    world.start()
    claim = await world.book("1")
    await world.stop()
    await rows.do(
        "insert into hubspot_sync.outbox (kind, state, claim_id, booking_id, exam_id, last_error, attempts)"
        " values ('cancel', 'aside', $1, $2, '501', 'no', 1)",
        claim.claim_id,
        claim.booking_id,
    )
    await world.ledger.mirror(bookings=[world.hubspot.edit(claim.booking_id, is_active="Cancelled")])
    assert (await retry(desk)).outcome == "not_needed"
    assert (await desk.list(page=1, limit=10)).total == 0


async def test_a_lost_answer_leaves_the_row_queued_once(world, desk):
    from lastseat.errors import Uncertain

    await refused(world)
    lost = iter([Uncertain("the reply was lost")])
    world.database.fault = lambda function, moment: (
        next(lost, None) if (function, moment) == ("retry_aside", "after") else None
    )
    assert (await retry(desk)).outcome in ("queued", "not_aside")

    async def active():
        return await state(world, "1") == "Active"

    await until(active)
    assert await world.taken() == 2


async def test_a_refusal_is_not_announced_for_a_row_that_stays(world):
    bulletin = LocalBulletin()
    desk = SecondTry(ledger=Care(world.database), bulletin=bulletin)
    await refused(world, capacity=2, exam_id=EXAM)
    assert (await world.book("2")).state == "booked"
    assert await code_of(retry(desk)) == "SESSION_FULL"
    assert bulletin.news == []
