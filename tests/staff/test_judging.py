"""The judge with staff at work: what counts is when a change was accepted, and a full exam may have been raised."""

from typing import Any

from lastseat.evidence import Answer, Evidence
from lastseat.invariants import gates_true, no_seat_stranded, seats_given
from lastseat.model import ExamId, Gate
from tests.rehearsal.good_run import iso

EXAM = "501"
AT = 1_800_000_000.0


def change(old: int, new: int, *, asked: float, done: float | None) -> list[dict[str, Any]]:
    """The audit of one change of capacity: asked for, and acknowledged unless `done` is None."""
    values = {"old_values": {"capacity": old}, "new_values": {"capacity": new}, "request_id": f"r{asked}"}
    rows = [{**values, "record_id": EXAM, "operation": "EXAM_UPDATE", "performed_at": iso(AT + asked)}]
    if done is not None:
        rows.append({**values, "record_id": EXAM, "operation": "UPDATE", "performed_at": iso(AT + done)})
    return rows


def evidence(capacity: int, given_at: list[float], audit: list[dict[str, Any]], **more: Any) -> Evidence:
    claims = [
        {"booking_id": f"LS-{n}", "exam_id": EXAM, "state": "open", "created_at": iso(AT + at)}
        for n, at in enumerate(given_at)
    ]
    exam = {"hubspot_id": EXAM, "capacity": capacity, "seats_taken": len(claims), "seats_version": 9}
    tables = {"hubspot_mock_exams": [exam | more.pop("exam", {})], "claims": claims, "audit_log": audit}
    return Evidence(tables=tables, **more)


def broken(findings: Any) -> list[str]:
    return [finding.sentence for finding in findings if not finding.note]


def test_a_seat_given_after_the_lower_capacity_was_accepted_is_our_fault():
    audit = change(3, 2, asked=10, done=20)
    assert broken(seats_given(evidence(2, [0, 1, 15], audit)))
    assert not broken(seats_given(evidence(2, [0, 1, 5], audit)))


def test_a_lower_capacity_that_hubspot_refused_binds_nobody():
    assert not broken(seats_given(evidence(3, [0, 1, 15], change(3, 2, asked=10, done=None))))


def test_a_higher_capacity_counts_until_it_is_lowered_again():
    audit = change(2, 3, asked=5, done=8) + change(3, 2, asked=20, done=30)
    assert not broken(seats_given(evidence(2, [0, 1, 10], audit)))
    assert broken(seats_given(evidence(2, [0, 1, 25], audit)))


def test_a_seat_given_after_a_lowering_is_found_also_when_there_are_more_seats_now():
    audit = change(3, 2, asked=10, done=20) + change(2, 5, asked=30, done=40)
    assert "given one" in broken(seats_given(evidence(5, [0, 1, 15], audit)))[0]
    assert not broken(seats_given(evidence(5, [0, 1, 5, 45], audit)))


def test_a_lowering_binds_until_hubspot_has_refused_it():
    audit = change(3, 2, asked=10, done=None)
    refused = {"kind": "exam_update", "state": "aside", "request_id": "r10", "done_at": iso(AT + 20)}
    for at, wrong in ((15, True), (25, False)):
        seen = evidence(3, [0, 1, at], audit)
        seen = Evidence(tables={**seen.tables, "outbox": [refused]})
        assert bool(broken(seats_given(seen))) is wrong


def test_a_seat_that_was_refused_and_given_again_counts_from_then_on():
    raised = change(2, 3, asked=10, done=20)
    again = {"record_id": "LS-0", "operation": "RETRY", "performed_at": iso(AT + 25)}
    assert broken(seats_given(evidence(3, [0, 1, 5], raised)))
    assert not broken(seats_given(evidence(3, [0, 1, 5], [*raised, again])))


def test_a_booking_that_somebody_moved_in_hubspot_takes_no_seat_where_it_was():
    seen = evidence(1, [0, 5], [])
    claims = [{**seen.rows("claims")[0], "state": "booked", "hubspot_id": "7"}, seen.rows("claims")[1]]
    for where, wrong in ((EXAM, True), ("502", False)):
        record = {"hubspot_id": "7", "mock_exam_id": where, "holds": True, "booking_key": "LS-0"}
        tables = {**seen.tables, "claims": claims, "hubspot_bookings": [record]}
        assert bool(broken(seats_given(Evidence(tables=tables)))) is wrong


def full(at: float) -> Answer:
    return Answer(contact_id="9", exam_id=EXAM, sent_at=AT + at, ms=1, status=409, code="SESSION_FULL")


def test_who_heard_full_before_the_capacity_was_raised_was_told_the_truth():
    raised = change(1, 3, asked=10, done=20)
    assert not broken(no_seat_stranded(evidence(3, [0], raised, answers=[full(5)])))
    assert broken(no_seat_stranded(evidence(3, [0], [], answers=[full(5)])))


def test_who_heard_full_long_after_the_capacity_was_raised_was_told_wrongly():
    raised = change(1, 3, asked=10, done=20)
    assert not broken(no_seat_stranded(evidence(3, [0], raised, answers=[full(21)])))
    assert broken(no_seat_stranded(evidence(3, [0], raised, answers=[full(25)])))
    assert not broken(no_seat_stranded(evidence(3, [0, 21, 22], raised, answers=[full(25)])))


def test_full_is_true_while_a_lowering_is_under_way_and_no_longer():
    lowered = change(3, 1, asked=10, done=20)
    raised = change(1, 3, asked=30, done=40)
    for at, wrong in ((5, True), (15, False), (25, False), (35, False), (45, True)):
        found = broken(no_seat_stranded(evidence(3, [0], lowered + raised, answers=[full(at)])))
        assert bool(found) is wrong, at


def test_the_gate_shows_what_a_change_under_way_leaves():
    under_way = {"exam": {"capacity_bound": 2}}

    def gate(remaining: int) -> list[Gate]:
        return [Gate(exam_id=ExamId(EXAM), version=9, capacity=2, remaining=remaining, open=True)]

    assert not broken(gates_true(evidence(5, [0], [], gates=gate(1), **under_way)))
    assert broken(gates_true(evidence(5, [0], [], gates=gate(4), **under_way)))
