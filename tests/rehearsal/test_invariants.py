"""Each invariant's check finds its own planted fault and stays silent about a good run."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lastseat.evidence import Evidence, holds_seat
from lastseat.invariants import CHECKS, check_all, most_in_window
from lastseat.rehearsal.kept import read_kept
from tests.rehearsal.good_run import EXAM, RELEASED_AT, GoodRun, iso

Spoil = Callable[[GoodRun], None]


def found(run: GoodRun, folder: Path) -> dict[str, list[str]]:
    """The sentences of broken promises, by invariant."""
    verdicts = check_all(read_kept(run.write(folder)).evidence)
    return {v.invariant: [f.sentence for f in v.findings if not f.note] for v in verdicts if v.broken}


def notes(run: GoodRun, folder: Path) -> dict[str, list[str]]:
    verdicts = check_all(read_kept(run.write(folder)).evidence)
    return {v.invariant: [f.sentence for f in v.findings if f.note] for v in verdicts if v.findings}


def exam(run: GoodRun) -> dict[str, object]:
    return run.ledger["hubspot_mock_exams"][0]


def test_a_good_run_breaks_nothing_and_all_nine_looked(tmp_path: Path):
    verdicts = check_all(read_kept(GoodRun().write(tmp_path / "kept")).evidence)
    assert [verdict.invariant for verdict in verdicts] == [f"I{n}" for n in range(1, 10)] == list(CHECKS)
    assert all(verdict.looked_at > 0 and not verdict.findings for verdict in verdicts)


def sold_when_none_was_left(run: GoodRun) -> None:
    run.ledger["claims"].append(run.claim("LS-3", "103", None, "open") | {"created_at": iso(RELEASED_AT + 0.5)})
    run.ledger["outbox"].append({"kind": "create", "state": "sent", "booking_id": "LS-3", "verify_at": None})
    exam(run)["seats_taken"] = 3


def a_count_that_drifted(run: GoodRun) -> None:
    exam(run)["seats_taken"] = 1


def an_open_claim_counted_twice(run: GoodRun) -> None:
    run.ledger["claims"][0]["state"] = "open"
    run.ledger["outbox"][0]["state"] = "sent"
    exam(run).update(seats_taken=3, capacity=3)


def a_claim_for_no_exam(run: GoodRun) -> None:
    run.ledger["claims"].append(run.claim("LS-3", "103", None, "refused") | {"exam_id": "1", "reason": "no"})


def a_201_that_supabase_lost(run: GoodRun) -> None:
    del run.ledger["hubspot_bookings"][0]
    exam(run)["seats_taken"] = 1


def a_201_that_nobody_claimed(run: GoodRun) -> None:
    run.answers[0]["booking_id"] = "LS-none"


def an_open_claim_without_intent(run: GoodRun) -> None:
    run.ledger["claims"].append(run.claim("LS-3", "103", None, "open"))
    exam(run).update(seats_taken=3, capacity=3)


def a_refusal_without_reason(run: GoodRun) -> None:
    run.ledger["claims"].append(run.claim("LS-3", "103", None, "refused"))


def a_202_forgotten(run: GoodRun) -> None:
    run.endings.clear()


def a_refusal_told_without_reason(run: GoodRun) -> None:
    run.endings[0].update(state="refused", reason=None)


def two_seats_of_one_student(run: GoodRun) -> None:
    run.ledger["claims"][1].update(contact_id="101", idempotency_key="other")


def one_key_two_results(run: GoodRun) -> None:
    run.ledger["claims"][1].update(caller="student:101", idempotency_key="key-101")


def one_key_told_two_bookings(run: GoodRun) -> None:
    run.answers.append(run.answer("101", 201, booking_id="LS-2"))


def two_active_records(run: GoodRun) -> None:
    run.records[1]["properties"]["contact_id"] = "101"


def one_booking_twice_in_hubspot(run: GoodRun) -> None:
    run.records.append(run.record("503", "LS-1", "101", active="Cancelled"))
    run.ledger["hubspot_bookings"].append(run.row("503", "LS-1", "101") | {"holds": False})


def a_record_nobody_asked_for(run: GoodRun) -> None:
    run.records.append(run.record("503", "LS-9", "103", active="Cancelled"))


def a_cancel_that_did_not_arrive(run: GoodRun) -> None:
    run.ledger["claims"][0]["state"] = "cancelled"
    run.ledger["hubspot_bookings"][0]["holds"] = False
    exam(run)["seats_taken"] = 1


def a_cancel_that_was_dropped(run: GoodRun) -> None:
    run.ledger["claims"][0]["state"] = "cancelled"


def a_phantom_seat(run: GoodRun) -> None:
    exam(run).update(capacity=3, seats_taken=3)


def full_with_a_seat_free(run: GoodRun) -> None:
    exam(run)["capacity"] = 3


def full_before_the_last_seat_was_given(run: GoodRun) -> None:
    run.ledger["claims"][1]["created_at"] = iso(RELEASED_AT + 0.5)


def a_gate_ahead_of_the_ledger(run: GoodRun) -> None:
    run.gates[0]["version"] = 9


def a_gate_with_another_number(run: GoodRun) -> None:
    run.gates[0]["remaining"] = 1


def a_gate_of_an_unknown_exam(run: GoodRun) -> None:
    run.gates[0]["exam_id"] = "1"


def a_read_of_hubspot(run: GoodRun) -> None:
    run.calls.append(run.call("search", 1.0))


def one_call_beyond_the_budget(run: GoodRun) -> None:
    run.calls += [run.call("batch_upsert", 1.0 + n / 10) for n in range(8)]


def another_students_booking_shown(run: GoodRun) -> None:
    run.answers[0]["shown_contact"] = "102"


def an_address_in_the_log(run: GoodRun) -> None:
    run.log.append("INFO booked for amelie.o'brien@students.example")


def a_token_in_the_log(run: GoodRun) -> None:
    run.log.append("INFO Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.x")


def a_password_in_the_log(run: GoodRun) -> None:
    run.log.append("ERROR cannot reach postgresql://postgres:hunter2hunter2@127.0.0.1/x")


FAULTS: dict[Spoil, str] = {
    sold_when_none_was_left: "I1",
    a_count_that_drifted: "I2",
    an_open_claim_counted_twice: "I2",
    a_claim_for_no_exam: "I2",
    a_201_that_supabase_lost: "I3",
    a_201_that_nobody_claimed: "I3",
    an_open_claim_without_intent: "I3",
    a_refusal_without_reason: "I3",
    a_202_forgotten: "I3",
    a_refusal_told_without_reason: "I3",
    two_seats_of_one_student: "I4",
    one_key_two_results: "I4",
    one_key_told_two_bookings: "I4",
    two_active_records: "I4",
    one_booking_twice_in_hubspot: "I5",
    a_record_nobody_asked_for: "I5",
    a_cancel_that_did_not_arrive: "I5",
    a_cancel_that_was_dropped: "I5",
    a_phantom_seat: "I6",
    full_with_a_seat_free: "I6",
    full_before_the_last_seat_was_given: "I6",
    a_gate_ahead_of_the_ledger: "I7",
    a_gate_with_another_number: "I7",
    a_gate_of_an_unknown_exam: "I7",
    a_read_of_hubspot: "I8",
    one_call_beyond_the_budget: "I8",
    another_students_booking_shown: "I9",
    an_address_in_the_log: "I9",
    a_token_in_the_log: "I9",
    a_password_in_the_log: "I9",
}


@pytest.mark.parametrize("spoil", FAULTS, ids=[spoil.__name__ for spoil in FAULTS])
def test_a_planted_fault_is_found_by_its_invariant(spoil: Spoil, tmp_path: Path):
    run = GoodRun()
    spoil(run)
    assert FAULTS[spoil] in found(run, tmp_path / "kept")


def test_every_invariant_has_a_planted_fault():
    assert set(FAULTS.values()) == set(CHECKS)


def test_an_import_that_oversells_is_told_and_is_not_our_fault(tmp_path: Path):
    run = GoodRun()
    run.records.append(run.record("503", "by hand", "103"))
    run.ledger["hubspot_bookings"].append(run.row("503", "by hand", "103") | {"synced_at": iso(RELEASED_AT + 60)})
    exam(run)["seats_taken"] = 3
    assert "I1" not in found(run, tmp_path / "kept")
    assert "an import or a lowered capacity" in notes(run, tmp_path / "kept")["I1"][0]


def test_a_claim_given_after_the_import_that_filled_the_exam_is_our_fault(tmp_path: Path):
    run = GoodRun()
    run.records.append(run.record("503", "by hand", "103"))
    run.ledger["hubspot_bookings"].append(run.row("503", "by hand", "103") | {"synced_at": iso(RELEASED_AT - 60)})
    exam(run)["seats_taken"] = 3
    assert "I1" in found(run, tmp_path / "kept")


def test_a_capacity_lowered_later_is_not_our_fault(tmp_path: Path):
    run = GoodRun()
    exam(run)["capacity"] = 1
    run.ledger["audit_log"].append(
        {"record_id": EXAM, "performed_at": iso(RELEASED_AT + 60), "old_values": {"capacity": 2}}
    )
    assert "I1" not in found(run, tmp_path / "kept")


def test_a_row_on_its_way_is_not_yet_a_difference(tmp_path: Path):
    run = GoodRun()
    a_cancel_that_did_not_arrive(run)
    run.ledger["outbox"].append(
        {"kind": "cancel", "state": "sent", "booking_id": "LS-1", "hubspot_id": "501", "verify_at": None}
    )
    assert "I5" not in found(run, tmp_path / "kept")


def test_full_was_true_when_the_seat_came_back_later(tmp_path: Path):
    run = GoodRun()
    run.ledger["claims"].append(run.claim("LS-3", "103", None, "refused") | {"reason": "HubSpot said no"})
    exam(run)["capacity"] = 3
    assert "I6" not in found(run, tmp_path / "kept")


def test_nothing_seen_is_nothing_judged():
    assert all(verdict.looked_at == 0 for verdict in check_all(Evidence()))


def test_an_older_gate_is_a_note_not_a_broken_promise(tmp_path: Path):
    run = GoodRun()
    run.gates[0].update(version=3, remaining=1)
    assert "I7" not in found(run, tmp_path / "kept")
    assert "1 versions behind" in notes(run, tmp_path / "kept")["I7"][0]


@pytest.mark.parametrize(
    ("status", "active", "holds"),
    [
        ("confirmed", "Active", True),
        ("cancelled", "Active", True),
        ("confirmed", "Cancelled", False),
        ("confirmed", "Failed", False),
        ("confirmed", "Completed", True),
        ("confirmed", "true", True),
        ("confirmed", None, True),
        ("pending", "", True),
        ("cancelled", None, False),
        (None, None, False),
    ],
)
def test_is_active_wins_over_the_older_booking_status(status: str | None, active: str | None, holds: bool):
    assert holds_seat(status, active) is holds


def test_a_window_is_half_open():
    assert most_in_window([0.0, 9.999], 10.0) == 2
    assert most_in_window([0.0, 10.0], 10.0) == 1
    assert most_in_window([], 10.0) == 0
