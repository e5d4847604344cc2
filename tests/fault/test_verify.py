"""Looking again at HubSpot where a call was once lost: each row by the name it has there, and never in the way."""

import logging

import pytest

from lastseat.errors import Unavailable
from lastseat.model import Record
from tests.fault.kit import EXAM, LONG_AGO, cancelling, wish
from tests.fault.test_relay import settled_by
from tests.fault.world import World, until

PATIENT = {"lease_s": 60.0, "deadline_s": 30.0}
"""So that a slow machine ends no term and no wait."""


@pytest.fixture
async def patient(schema_database_url):
    world = World(schema_database_url, **PATIENT)
    await world.exams()
    yield world
    await world.close()


async def imported(ledger, hubspot, key="OLD-1", **fields) -> str:
    """A booking that was made in HubSpot, as the mirror has it; returns HubSpot's id."""
    seen = hubspot.edit(key, contact_id="9", is_active="Active", **fields)
    properties = {name: value for name, value in seen.properties.items() if name != "booking_id"}
    await ledger.mirror(bookings=[Record(hubspot_id=seen.hubspot_id, properties=properties, updated_at=LONG_AGO)])
    return seen.hubspot_id


async def uncertainly_cancelled(ledger, hand, rows, **fields) -> str:
    hubspot_id = await imported(ledger, hand.hubspot, **fields)
    assert [a.outcome for a in (await ledger.cancel([cancelling(hubspot_id)]))[0]] == ["pending"]
    hand.hubspot.fates.append("lost")
    await hand.carry("cancel")
    await rows.due_now()
    return hubspot_id


@pytest.mark.parametrize("fields", [{}, {"mock_exam_id": EXAM}])
async def test_an_uncertain_cancel_of_an_imported_booking_is_looked_at_by_hubspots_id(ledger, hand, rows, fields):
    """It has no claim, and perhaps no exam: once, its row had no name to read and stopped the relay for good."""
    hubspot_id = await uncertainly_cancelled(ledger, hand, rows, **fields)
    assert [(row.key, row.claim_id) for row in await ledger.to_verify(hand.term, 100)] == [(hubspot_id, None)]
    assert await hand.verify() == 1
    assert hand.hubspot.calls[-1] == ("read", [hubspot_id])
    assert [row["verify_at"] for row in await rows.outbox("kind = 'cancel'")] == [None]
    assert hand.hubspot.held() == []


async def test_a_cancel_that_hubspot_does_not_hold_after_all_is_sent_again(ledger, hand, rows):
    await uncertainly_cancelled(ledger, hand, rows, mock_exam_id=EXAM)
    hand.hubspot.edit("OLD-1", is_active="Active")
    assert await hand.verify() == 1
    assert (await ledger.gates([EXAM]))[0].taken == 0, "its seat is never counted twice"
    await hand.carry("cancel")
    assert hand.hubspot.held() == []


async def test_a_booking_that_was_taken_back_in_hubspot_and_mirrored_since_stays(ledger, hand, rows):
    hubspot_id = await uncertainly_cancelled(ledger, hand, rows, mock_exam_id=EXAM)
    await ledger.mirror(bookings=[hand.hubspot.edit("OLD-1", is_active="Active")])
    assert await hand.verify() == 1
    assert await rows.outbox("kind = 'cancel' and state = 'waiting'") == []
    assert [record.hubspot_id for record in hand.hubspot.held()] == [hubspot_id]
    assert (await ledger.gates([EXAM]))[0].taken == 1


async def test_imported_and_own_bookings_are_each_read_in_a_call_of_their_own(ledger, hand, rows):
    mine = wish("1")
    await ledger.claim([mine])
    hand.hubspot.fates.append("lost")
    await hand.carry()
    hubspot_id = await uncertainly_cancelled(ledger, hand, rows)
    hand.hubspot.calls.clear()
    assert (await hand.verify(), await hand.verify(), await hand.verify()) == (1, 1, 0)
    assert sorted(names for _, names in hand.hubspot.calls) == sorted([[hubspot_id], [mine.booking_id]])


async def test_the_relay_looks_again_at_a_cancelled_import_and_books_on(patient, rows):
    hubspot_id = await imported(patient.ledger, patient.hubspot)
    patient.start()
    patient.hubspot.fates.append("lost")
    assert await patient.cancel(hubspot_id) == "cancelled"
    await rows.due_now()
    assert (await patient.book("1")).state == "booked"
    await until(settled_by(rows), 30)


@pytest.mark.parametrize("fault", [Unavailable("away"), RuntimeError("a fault of ours")])
async def test_looking_again_never_stops_the_sending(patient, rows, fault, monkeypatch):
    """Whatever goes wrong with it, every time: seats come first, and it waits."""
    patient.hubspot.fates.append("lost")
    patient.start()
    assert (await patient.book("1")).state == "booked"
    term = patient.relay.term

    async def broken(term, limit):
        raise fault

    monkeypatch.setattr(patient.ledger, "to_verify", broken)
    await rows.due_now()
    for contact in "2345":
        assert (await patient.book(contact)).state == "booked"
    assert patient.relay.term == term
    monkeypatch.undo()
    await until(settled_by(rows), 30)


async def test_rows_that_an_answered_error_may_have_marked_are_taken_over(patient, rows):
    """A pooler that lost the server says so in many ways; the lease lives on, and nobody else looks after them."""
    failing = iter([Unavailable("DbHandler exited")])
    patient.database.fault = lambda function, moment: (
        next(failing, None) if (function, moment) == ("send", "after") else None
    )
    patient.start()
    assert (await patient.book("1")).state == "booked"
    assert patient.relay.term == 2
    assert len(patient.hubspot.records) == 1


@pytest.mark.parametrize("when", ["sending", "looking again"])
async def test_a_row_that_cannot_be_read_holds_up_no_other(ledger, hand, rows, monkeypatch, caplog, when):
    await ledger.claim([wish("1"), wish("2")])
    if when == "looking again":
        hand.hubspot.fates.append("lost")
        await hand.carry()
        await rows.due_now()
    call = ledger._database.call

    async def damaged(function, args):
        answer = await call(function, args)
        return answer.replace(b'"attempts": 1', b'"attempts": null', 1)

    monkeypatch.setattr(ledger._database, "call", damaged)
    with caplog.at_level(logging.ERROR):
        read = await (hand.send() if when == "sending" else ledger.to_verify(hand.term, 100))
    assert [row.contact_id for row in read] == ["2"]
    assert "cannot be read and is passed over" in caplog.text


async def test_what_redis_was_not_told_is_told_when_it_is_back_in_the_same_term(patient, rows):
    """Nobody else would tell the other processes, whose views would stay as they were for minutes."""
    patient.bulletin.taken = False
    patient.start()
    assert (await patient.book("1")).state == "booked", "this process hears of it all the same"
    told = [o.booking_id for news in patient.bulletin.news for o in news.outcomes]
    assert len(told) == 1
    asked = patient.database.calls.count("unannounced")

    async def asked_again():
        return patient.database.calls.count("unannounced") > asked

    await until(asked_again, 30)
    assert [row["state"] for row in await rows.outbox("kind = 'create'")] == ["mirrored"]
    patient.bulletin.taken = True
    await until(settled_by(rows), 30)
    assert patient.relay.term == 1
    assert patient.database.calls.count("unannounced") < 20, "it is not asked without a pause"
