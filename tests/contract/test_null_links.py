"""A reply that reads a booking's exam or contact back as null means "not said": the seat stays where it is."""

import asyncio
from datetime import UTC, datetime

from lastseat.model import Record, Settlement, Written
from tests.contract.words import EXAM, OTHER, acknowledged, booked, booking, cancel, exam, leased, outcomes, wish

NOTHING_SAID = {"mock_exam_id": None, "contact_id": None}


async def taken(ledger, exam_id=EXAM):
    return (await ledger.gates([exam_id]))[0].taken


async def sent_booking(ledger):
    """The only seat is claimed and on its way: the term, the wish, the row."""
    await ledger.mirror(exams=[exam(capacity=1)])
    term = (await leased(ledger)).term
    mine = wish("1")
    await ledger.claim([mine])
    (row,) = await ledger.send(term, "create", 1)
    return term, mine, row


async def sent_cancel(ledger):
    """An imported booking's cancel is on its way: the term and the row."""
    await ledger.mirror(exams=[exam()], bookings=[booking("7001")])
    term = (await leased(ledger)).term
    await ledger.cancel([cancel("7001", caller="staff:clerk")])
    (row,) = await ledger.send(term, "cancel", 1)
    return term, row


async def looked_at_again(ledger, term, row):
    """Its outcome was unknown once, and the second look reads neither exam nor contact."""
    lost = Written(outbox_id=row.outbox_id, kind=row.kind, record=acknowledged(row).record, uncertain=True)
    await ledger.settle(term, Settlement(written=[lost]))
    await asyncio.sleep(0.06)
    (doubtful,) = await ledger.to_verify(term, 10)
    await ledger.verified(term, [(doubtful, acknowledged(row, **NOTHING_SAID).record)])


async def test_a_create_reply_without_the_exam_keeps_its_seat(ledger):
    term, mine, row = await sent_booking(ledger)
    said = acknowledged(row, is_active=None, booking_status=None, **NOTHING_SAID)
    await ledger.settle(term, Settlement(written=[said]))
    shown = await ledger.booking(mine.booking_id)
    assert (shown.mock_exam_id, shown.contact_id, shown.is_active) == (EXAM, "1", "Active")
    assert await taken(ledger) == 1
    assert await outcomes(ledger, wish("2")) == ["full"]


async def test_a_cancel_reply_without_the_exam_frees_the_seat_that_it_held(ledger):
    await ledger.mirror(exams=[exam()])
    term = (await leased(ledger)).term
    mine = wish("1")
    await booked(ledger, term, mine)
    await ledger.cancel([cancel(mine.booking_id)])
    (row,) = await ledger.send(term, "cancel", 1)
    await ledger.settle(term, Settlement(written=[acknowledged(row, is_active=None, **NOTHING_SAID)]))
    shown = await ledger.booking(mine.booking_id)
    assert (shown.mock_exam_id, shown.contact_id, shown.is_active) == (EXAM, "1", "Cancelled")
    assert await taken(ledger) == 0


async def test_an_imported_booking_keeps_its_student_when_it_is_cancelled(ledger):
    term, row = await sent_cancel(ledger)
    await ledger.settle(term, Settlement(written=[acknowledged(row, **NOTHING_SAID)]))
    (shown,) = await ledger.bookings("9")
    assert (shown.mock_exam_id, shown.is_active) == (EXAM, "Cancelled")
    assert await taken(ledger) == 0


async def test_a_second_look_that_reads_no_exam_keeps_the_seat(ledger):
    term, mine, row = await sent_booking(ledger)
    await looked_at_again(ledger, term, row)
    assert (await ledger.booking(mine.booking_id)).contact_id == "1"
    assert await taken(ledger) == 1
    assert await outcomes(ledger, wish("2")) == ["full"]


async def test_a_second_look_at_an_imported_booking_that_reads_no_exam_keeps_it_there(ledger):
    term, row = await sent_cancel(ledger)
    await looked_at_again(ledger, term, row)
    (shown,) = await ledger.bookings("9")
    assert (shown.hubspot_id, shown.mock_exam_id, shown.is_active) == ("7001", EXAM, "Cancelled")


async def test_a_record_of_an_open_claim_that_somebody_read_without_its_exam_keeps_the_seat(ledger):
    await ledger.mirror(exams=[exam(capacity=1)])
    mine = wish("1")
    await ledger.claim([mine])
    for properties in ({}, NOTHING_SAID):
        read = {"booking_id": mine.booking_id, "is_active": "Active", **properties}
        await ledger.mirror(bookings=[Record(hubspot_id="7001", properties=read, updated_at=datetime.now(UTC))])
        assert await taken(ledger) == 1
        assert await outcomes(ledger, wish("2")) == ["full"]


async def test_a_booking_that_somebody_moves_in_hubspot_takes_its_seat_along_until_it_is_cancelled(ledger):
    await ledger.mirror(exams=[exam(), exam(OTHER)])
    term = (await leased(ledger)).term
    mine = wish("1")
    await booked(ledger, term, mine)
    moved = {"booking_id": mine.booking_id, "mock_exam_id": OTHER, "is_active": "Active"}
    await ledger.mirror(bookings=[Record(hubspot_id="7001", properties=moved, updated_at=datetime.now(UTC))])
    assert (await taken(ledger), await taken(ledger, OTHER)) == (0, 1)
    await ledger.cancel([cancel(mine.booking_id)])
    (row,) = await ledger.send(term, "cancel", 1)
    await ledger.settle(term, Settlement(written=[acknowledged(row)]))
    assert (await ledger.booking(mine.booking_id)).mock_exam_id == OTHER
    assert (await taken(ledger), await taken(ledger, OTHER)) == (0, 0)
