"""Each change leaves its line in the audit: who asked, in which request, what was and what is, in one transaction."""

import json
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from lastseat.errors import Refused
from lastseat.model import CancelRequest, ChangeRequest, SetAside, Settlement
from lastseat.model_moves import MoveRequest
from tests.contract.words import EXAM, OTHER, acknowledged, booked, booking, exam, leased, wish

STAFF = "staff:Ms Okafor"


class Line:
    """One row of the audit, with its values read."""

    def __init__(self, row) -> None:
        self.what = (row["table_name"], row["operation"])
        self.record_id = row["record_id"]
        self.who = (row["performed_by"], row["request_id"])
        self.old = json.loads(row["old_values"]) if row["old_values"] else None
        self.new = json.loads(row["new_values"]) if row["new_values"] else None


@pytest.fixture
def audit(owner):
    """The lines since the last look, oldest first."""
    seen: set[uuid.UUID] = set()

    async def look() -> list[Line]:
        rows = await owner.fetch("select * from hubspot_sync.audit_log order by performed_at, operation")
        fresh = [row for row in rows if row["id"] not in seen]
        seen.update(row["id"] for row in fresh)
        return [Line(row) for row in fresh]

    return look


async def test_a_claim_is_told_with_who_made_it_for_whom(ledger, audit, owner):
    await ledger.mirror(exams=[exam()])
    await audit()
    mine = wish("1", caller=STAFF, request_id="req-77")
    await ledger.claim([mine, wish("1"), wish("2", "999")])
    (line,) = await audit()
    assert (line.what, line.record_id, line.who) == (("claims", "INSERT"), mine.booking_id, (STAFF, "req-77"))
    assert (line.old, line.new) == (None, {"exam_id": EXAM, "contact_id": "1", "state": "open"})
    together = (
        "select a.xmin = c.xmin from hubspot_sync.claims c join hubspot_sync.audit_log a on record_id = booking_id"
    )
    assert await owner.fetchval(together) is True


async def test_a_claim_that_failed_left_no_line(ledger, audit):
    await ledger.mirror(exams=[exam()])
    await audit()
    with pytest.raises(Refused):
        await ledger.claim([wish("1"), wish("2", caller=None)])
    assert await audit() == []


async def test_a_cancel_by_staff_is_told_under_their_name_and_not_the_students(ledger, audit, owner):
    await ledger.mirror(exams=[exam()])
    term = (await leased(ledger)).term
    mine = wish("1", request_id="booked-it")
    await booked(ledger, term, mine)
    await audit()
    await ledger.cancel([CancelRequest(reference="7001", caller=STAFF, request_id="cancelled-it")])
    (asked,) = await audit()
    assert (asked.what, asked.who) == (("hubspot_bookings", "CANCEL_REQUEST"), (STAFF, "cancelled-it"))
    assert asked.old == {"cancel_requested": False}
    assert asked.new == {"cancel_requested": True, "exam_id": EXAM, "contact_id": "1"}

    (row,) = await ledger.send(term, "cancel", 1)
    await ledger.settle(term, Settlement(written=[acknowledged(row)]))
    (done,) = await audit()
    assert (done.what, done.record_id) == (("hubspot_bookings", "UPDATE"), "7001")
    assert done.who == (STAFF, "cancelled-it")
    assert (done.old["is_active"], done.new["is_active"]) == ("Active", "Cancelled")
    together = (
        "select bool_or(a.xmin = b.xmin) from hubspot_sync.hubspot_bookings b"
        " join hubspot_sync.audit_log a on a.record_id = b.hubspot_id"
    )
    assert await owner.fetchval(together) is True


async def test_a_booking_that_hubspot_recorded_is_told_under_the_one_who_made_it(ledger, audit):
    await ledger.mirror(exams=[exam()])
    await audit()
    await booked(ledger, (await leased(ledger)).term, wish("1", request_id="booked-it"))
    recorded = (await audit())[-1]
    assert (recorded.what, recorded.who) == (("hubspot_bookings", "INSERT"), ("student:1", "booked-it"))
    assert (recorded.old, recorded.new["contact_id"], recorded.new["is_active"]) == (None, "1", "Active")


async def test_a_claim_folded_before_hubspot_heard_of_it_is_told_with_both_states(ledger, audit):
    await ledger.mirror(exams=[exam()])
    mine = wish("1")
    await ledger.claim([mine])
    await audit()
    await ledger.cancel([CancelRequest(reference=mine.booking_id, caller=STAFF, request_id="r9")])
    (line,) = await audit()
    assert (line.what, line.record_id, line.who) == (("claims", "CANCEL"), mine.booking_id, (STAFF, "r9"))
    assert (line.old, line.new) == ({"state": "open"}, {"state": "cancelled"})


async def test_a_refusal_is_told_in_hubspots_name_and_words(ledger, audit):
    await ledger.mirror(exams=[exam()])
    term = (await leased(ledger)).term
    await ledger.claim([wish("1", request_id="r5")])
    (row,) = await ledger.send(term, "create", 1)
    await audit()
    await ledger.settle(term, Settlement(aside=[SetAside(outbox_id=row.outbox_id, reason="not valid")]))
    (line,) = await audit()
    assert (line.what, line.who) == (("claims", "REFUSED"), ("hubspot", "r5"))
    assert (line.old, line.new) == ({"state": "open"}, {"state": "refused", "reason": "not valid"})


async def test_what_hubspot_changed_by_itself_is_told_once_with_old_and_new(ledger, audit):
    at = datetime.now(UTC)
    await ledger.mirror(exams=[exam()], bookings=[booking("7001", at=at)], actor="backfill")
    lines = await audit()
    assert {line.what for line in lines} == {("hubspot_bookings", "INSERT"), ("hubspot_mock_exams", "INSERT")}
    assert [line.who for line in lines] == [("backfill", None)] * 2
    changed = booking("7001", at=at + timedelta(seconds=5), dominant_hand="left")
    await ledger.mirror(bookings=[changed])
    await ledger.mirror(bookings=[changed])
    (line,) = await audit()
    assert (line.what, line.who) == (("hubspot_bookings", "UPDATE"), ("hubspot", None))
    assert (line.old["dominant_hand"], line.new["dominant_hand"]) == (None, "left")


async def test_a_change_of_an_exam_is_told_when_asked_and_when_hubspot_has_it(ledger, audit):
    await ledger.mirror(exams=[exam(capacity=5)])
    term = (await leased(ledger)).term
    await audit()
    asked = ChangeRequest(
        change_id=str(uuid.uuid4()),
        kind="exam_update",
        caller=STAFF,
        request_id="r3",
        exam_id=EXAM,
        fields={"capacity": 9},
    )
    await ledger.change_exam(asked)
    (line,) = await audit()
    assert (line.what, line.record_id, line.who) == (("hubspot_mock_exams", "EXAM_UPDATE"), EXAM, (STAFF, "r3"))
    assert (line.old, line.new) == ({"capacity": 5}, {"capacity": 9})
    (row,) = await ledger.send(term, "exam_update", 1)
    await ledger.settle(term, Settlement(written=[acknowledged(row, EXAM)]))
    (done,) = await audit()
    assert (done.what, done.who) == (("hubspot_mock_exams", "UPDATE"), (STAFF, "r3"))
    assert (done.old["capacity"], done.new["capacity"]) == (5, 9)


async def test_a_move_is_told_with_both_sessions(ledger, audit):
    await ledger.mirror(exams=[exam(), exam(OTHER)])
    await booked(ledger, (await leased(ledger)).term, wish("1"))
    await audit()
    move = MoveRequest(
        claim_id=str(uuid.uuid4()),
        booking_id="LS-NEW",
        reference="7001",
        exam_id=OTHER,
        caller=STAFF,
        request_id="r4",
    )
    await ledger.move_booking(move)
    lines = {line.what[1]: line for line in await audit()}
    assert set(lines) == {"INSERT", "CANCEL_REQUEST", "MOVE"}
    assert {line.who for line in lines.values()} == {(STAFF, "r4")}
    assert lines["MOVE"].old == {"exam_id": EXAM}
    assert lines["MOVE"].new == {"exam_id": OTHER, "booking_id": "LS-NEW"}
