"""The judge of a torture sees each planted fault, counts it where it belongs, and sees none where there is none."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lastseat.rehearsal.history import read_kept
from lastseat.rehearsal.torture_judge import MUST_BE_ZERO, Report, judge
from tests.torture.good_torture import BEGAN, EXAM, OTHER, GoodTorture, iso

Spoil = Callable[[GoodTorture], object]


def judged(torture: GoodTorture, tmp_path: Path) -> Report:
    return judge(read_kept(torture.write(tmp_path / "kept")))


def test_a_good_torture_is_counted_and_found_good(tmp_path: Path):
    report = judged(GoodTorture(), tmp_path)
    assert report.violations == []
    assert report.passed
    assert (report.requests, report.booked, report.cancelled) == (10, 5, 2)
    assert report.kills.server == 1
    assert [getattr(report, name) for name in MUST_BE_ZERO] == [0] * 5
    assert report.recovery_max_s == 6.0
    assert report.longest_outage_ms == 10_000.0


def lose_in_hubspot(t: GoodTorture):
    t.records[2]["archived"] = True


def lose_in_the_mirror(t: GoodTorture):
    t.ledger["hubspot_bookings"][2]["holds"] = False


def take_a_booking_away(t: GoodTorture):
    """Cem's, confirmed with 201: cancelled by nobody, seen as such, and its seat sold to Dan."""
    t.cancel("LS-3", 25)
    t.said.append(t.line("cem", "status", 26, "k5", 200, told="LS-3", state="Cancelled", booking_id="LS-3"))
    t.book("LS-6", "dan", EXAM, 33)


def take_a_booking_away_unseen(t: GoodTorture):
    t.cancel("LS-3", 25)
    t.book("LS-6", "dan", EXAM, 33)


def take_a_pending_booking_away(t: GoodTorture):
    """Dan's, answered 202: cancelled by nobody before it was ever confirmed; Eve gets the seat."""
    t.book("LS-6", "dan", EXAM, 26, 202)
    t.cancel("LS-6", 27)
    t.said.append(t.line("dan", "status", 28, "kLS-6", 200, told="LS-6", state="Cancelled", booking_id="LS-6"))


def take_an_unheard_booking_away(t: GoodTorture):
    """Dan's, of which every answer was lost: cancelled although nobody can have asked for that."""
    t.book("LS-6", "dan", EXAM, 26)
    t.cancel("LS-6", 27)
    t.said[-1] = t.line("dan", "book", 26, "kLS-6", 0, exam_id=EXAM, error="no answer")
    t.said.append(t.line("dan", "book", 30, "kLS-6", 409, code="SESSION_FULL", exam_id=OTHER))


def take_away_what_was_refused_to_move(t: GoodTorture):
    """Staff was told that Cem's booking stays where it is; then it goes."""
    t.said.append(
        t.line("cem", "move", 22, "k8", 409, code="SESSION_FULL", booking_id="LS-3", exam_id=OTHER, staff=True)
    )
    take_a_booking_away(t)


def bring_back(t: GoodTorture):
    t.records[0]["properties"]["is_active"] = "Active"


def copy_a_record(t: GoodTorture):
    t.records.append(t.record("909", "LS-3", "cem", EXAM))


def give_a_second_seat(t: GoodTorture):
    t.records[2]["properties"] |= {"contact_id": "eve"}


def invent_a_record(t: GoodTorture):
    t.records.append(t.record("910", "LS-9", "zoe", EXAM, "Cancelled"))


def tell_two_bookings_for_one_wish(t: GoodTorture):
    t.said.append(t.line("eve", "book", 33, "k7", 201, told="LS-3", exam_id=EXAM, shown="eve"))


def sell_in_the_middle_by_what_was_told(t: GoodTorture):
    """Cem gets a seat while Ada and Ben still hold theirs, and the ledger's instants hide it."""
    t.said[7] |= {"at": BEGAN + 9, "sent_at": BEGAN + 8.9}
    t.ledger["audit_log"] = []


def sell_in_the_middle_by_what_was_written(t: GoodTorture):
    """The mirror shows Cem's record while Ada's and Ben's surely hold; nobody was told early."""
    t.ledger["audit_log"][4]["performed_at"] = iso(9)


def sell_too_much_in_the_end(t: GoodTorture):
    t.ledger["claims"].append(t.claim("LS-8", "zoe", "908", EXAM, "k1", 33))
    t.records.append(t.record("908", "LS-8", "zoe", EXAM))


def leave_a_seat_empty(t: GoodTorture):
    t.said = [line for line in t.said if line["contact_id"] != "eve"]
    t.records.pop()
    for table in ("claims", "hubspot_bookings", "outbox"):
        t.ledger[table].pop()
    t.ledger["hubspot_mock_exams"][0]["seats_taken"] = 1


def take_a_seat_for_nobody(t: GoodTorture):
    t.ledger["hubspot_mock_exams"][1]["seats_taken"] = 2


def sell_what_was_refused_to_move(t: GoodTorture):
    """Staff was told that Cem's booking stays where it is; while it does, two others get seats."""
    t.said.append(
        t.line("cem", "move", 22, "k8", 409, code="SESSION_FULL", booking_id="LS-3", exam_id=OTHER, staff=True)
    )
    t.said[9] |= {"at": BEGAN + 25, "sent_at": BEGAN + 24.8}
    t.book("LS-6", "dan", EXAM, 25)
    t.said.append(t.line("dan", "cancel", 28, "k9", 200, told="LS-6", state="cancelled", booking_id="LS-6"))
    t.cancel("LS-6", 28)


def say_full_too_early(t: GoodTorture):
    t.said.append(t.line("dan", "book", 0.5, "k8", 409, code="SESSION_FULL", exam_id=EXAM))


def never_answer(t: GoodTorture):
    t.said.append(t.line("dan", "book", 29, "k8", 503, code="UNAVAILABLE", exam_id=EXAM))


def never_end_a_202(t: GoodTorture):
    t.said[7] |= {"status": 202, "state": "Pending"}


def never_end_a_cancel(t: GoodTorture):
    del t.said[6]


def answer_500(t: GoodTorture):
    t.said.append(t.line("dan", "book", 7.5, "k3", 500, code="INTERNAL", exam_id=EXAM))


def deny_an_own_booking(t: GoodTorture):
    t.said.append(t.line("ben", "status", 21, "k2", 404, code="BOOKING_NOT_FOUND", booking_id="LS-2"))


def show_anothers_booking(t: GoodTorture):
    t.said[0]["shown"] = "eve"


def say_already_booked_to_a_stranger(t: GoodTorture):
    t.said.append(t.line("dan", "book", 8, "k8", 409, code="ALREADY_BOOKED", exam_id=OTHER))


def call_an_open_session_closed(t: GoodTorture):
    t.said.append(t.line("dan", "book", 8, "k8", 409, code="EXAM_CLOSED", exam_id=OTHER))


def call_a_live_booking_not_active(t: GoodTorture):
    t.said.append(
        t.line("cem", "move", 22, "k8", 409, code="BOOKING_NOT_ACTIVE", booking_id="LS-3", exam_id=OTHER, staff=True)
    )


def refuse_in_hubspots_name(t: GoodTorture):
    t.said.append(t.line("dan", "book", 8, "k8", 409, code="REFUSED_BY_HUBSPOT", exam_id=OTHER))


def show_a_refusal_that_never_was(t: GoodTorture):
    t.said.append(t.line("dan", "book", 8, "k8", 202, told="LS-7", state="Refused", exam_id=OTHER))


def give_a_seat_to_whom_no_was_said(t: GoodTorture):
    t.ledger["claims"][2]["idempotency_key"] = "k3"
    t.said = [line for line in t.said if line["contact_id"] != "cem"]


def show_an_old_list(t: GoodTorture):
    t.shown_to("ada")["LS-1"] = "Active"


def show_an_old_count(t: GoodTorture):
    t.views[0]["remaining"][EXAM] = 1


def show_a_booked_seat_as_pending(t: GoodTorture):
    t.shown_to("cem")["LS-3"] = "Pending"


def look_at_nothing(t: GoodTorture):
    t.views.clear()


def look_at_one_server_only(t: GoodTorture):
    del t.views[1]


def look_not_at_a_student(t: GoodTorture):
    del t.views[5]


def look_at_no_gate(t: GoodTorture):
    t.gates.clear()


def look_at_no_call(t: GoodTorture):
    t.calls.clear()


def write_no_log(t: GoodTorture):
    t.logs[1].clear()


def lose_a_log(t: GoodTorture):
    t.logs.pop()


def fail_a_look(t: GoodTorture):
    t.views[3] |= {"status": 503, "bookings": {}}


def forget_a_link(t: GoodTorture):
    t.records[3]["associations"] = {}


def leave_an_old_total(t: GoodTorture):
    t.exams[0]["properties"]["total_bookings"] = "1"


def leave_a_row(t: GoodTorture):
    t.ledger["outbox"][1]["state"] = "waiting"


def leave_a_look_undone(t: GoodTorture):
    t.ledger["outbox"][1]["verify_at"] = iso(35)


def set_a_row_aside(t: GoodTorture):
    t.ledger["outbox"][1] |= {"state": "aside", "last_error": "no such contact"}


def fail_in_a_server(t: GoodTorture):
    t.logs[0] += ["ERROR unexpected error", "Traceback (most recent call last):", "ZeroDivisionError"]


def run_ahead_with_a_gate(t: GoodTorture):
    t.gates[0]["version"] = 99


def skip_a_blow(t: GoodTorture):
    t.struck.pop(0)


def never_recover(t: GoodTorture):
    for line in t.said[4:]:
        line["server"] = 1


PLANTED: list[tuple[Spoil, str, dict[str, int]]] = [
    (lose_in_hubspot, "lost", {"lost": 1, "stranded": 1}),
    (lose_in_the_mirror, "lost", {"lost": 1, "stranded": 1}),
    (take_a_booking_away, "lost", {"lost": 1}),
    (take_a_booking_away_unseen, "lost", {"lost": 1}),
    (take_a_pending_booking_away, "lost", {"lost": 1}),
    (take_an_unheard_booking_away, "lost", {"lost": 1}),
    (take_away_what_was_refused_to_move, "lost", {"lost": 1}),
    (bring_back, "came_back", {"oversold": 1}),
    (copy_a_record, "duplicates", {"duplicates": 2, "oversold": 1}),
    (give_a_second_seat, "duplicates", {"duplicates": 1, "lost": 1}),
    (invent_a_record, "duplicates", {"duplicates": 1}),
    (tell_two_bookings_for_one_wish, "duplicates", {"duplicates": 1}),
    (sell_in_the_middle_by_what_was_told, "oversold", {"oversold": 1}),
    (sell_in_the_middle_by_what_was_written, "oversold", {"oversold": 1}),
    (sell_too_much_in_the_end, "oversold", {"oversold": 1}),
    (leave_a_seat_empty, "stranded", {"stranded": 1}),
    (take_a_seat_for_nobody, "stranded", {"stranded": 1}),
    (sell_what_was_refused_to_move, "oversold", {"oversold": 1}),
    (say_full_too_early, "stranded", {"stranded": 1}),
    (never_answer, "unresolved", {"unresolved": 1}),
    (never_end_a_202, "unresolved", {"unresolved": 1}),
    (never_end_a_cancel, "unresolved", {"unresolved": 1}),
    (answer_500, "answers", {}),
    (deny_an_own_booking, "answers", {}),
    (show_anothers_booking, "answers", {}),
    (say_already_booked_to_a_stranger, "answers", {}),
    (call_an_open_session_closed, "answers", {}),
    (call_a_live_booking_not_active, "answers", {}),
    (refuse_in_hubspots_name, "answers", {}),
    (show_a_refusal_that_never_was, "answers", {"unresolved": 1}),
    (give_a_seat_to_whom_no_was_said, "answers", {}),
    (show_a_booked_seat_as_pending, "views", {}),
    (look_at_nothing, "views", {}),
    (look_at_one_server_only, "views", {}),
    (look_not_at_a_student, "views", {}),
    (look_at_no_gate, "I7", {}),
    (look_at_no_call, "I8", {}),
    (write_no_log, "logs", {}),
    (lose_a_log, "logs", {}),
    (show_an_old_list, "views", {}),
    (show_an_old_count, "views", {}),
    (fail_a_look, "views", {}),
    (forget_a_link, "links", {}),
    (leave_an_old_total, "totals", {}),
    (leave_a_row, "outbox", {}),
    (leave_a_look_undone, "outbox", {}),
    (set_a_row_aside, "outbox", {}),
    (fail_in_a_server, "logs", {}),
    (run_ahead_with_a_gate, "I7", {}),
    (skip_a_blow, "play", {}),
    (never_recover, "play", {}),
]


@pytest.mark.parametrize(("spoil", "kind", "counts"), PLANTED, ids=[spoil.__name__ for spoil, _, _ in PLANTED])
def test_the_judge_sees_a_planted_fault(spoil: Spoil, kind: str, counts: dict[str, int], tmp_path: Path):
    torture = GoodTorture()
    spoil(torture)
    report = judged(torture, tmp_path)
    assert kind in {violation.kind for violation in report.violations}
    assert {name: getattr(report, name) for name in MUST_BE_ZERO if getattr(report, name)} == counts
    assert not report.passed


def test_a_seat_that_was_given_up_is_not_lost(tmp_path: Path):
    """The same traces, and somebody asked for it."""
    torture = GoodTorture()
    take_a_booking_away(torture)
    torture.said.append(
        torture.line("cem", "cancel", 24.9, "k8", 200, told="LS-3", state="pending", booking_id="LS-3", exam_id=EXAM)
    )
    assert judged(torture, tmp_path).violations == []


def test_a_move_of_a_booking_that_was_given_up_is_rightly_refused(tmp_path: Path):
    torture = GoodTorture()
    torture.said.append(
        torture.line("ada", "move", 12, "k8", 409, code="BOOKING_NOT_ACTIVE", booking_id="LS-1", exam_id=OTHER)
    )
    assert judged(torture, tmp_path).violations == []


def test_every_number_that_must_be_zero_has_a_planted_fault():
    assert {name for _, _, counts in PLANTED for name in counts} == set(MUST_BE_ZERO)


def test_a_lost_reply_followed_by_a_refusal_leaves_open_who_is_right(tmp_path: Path):
    """The first try may have won after the second heard no; the student sees it in the list, and nothing is wrong."""
    torture = GoodTorture()
    torture.ledger["claims"][2]["idempotency_key"] = "k3"
    torture.said = [line for line in torture.said if line["contact_id"] != "cem"]
    torture.said.append(torture.line("dan", "book", 6.9, "k3", 0, exam_id=EXAM, error="no answer"))
    assert judged(torture, tmp_path).violations == []


def test_a_cancel_whose_answer_never_came_may_have_happened_or_not(tmp_path: Path):
    torture = GoodTorture()
    torture.said.append(torture.line("cem", "cancel", 28, "k8", 0, booking_id="LS-3", exam_id=EXAM))
    report = judged(torture, tmp_path)
    assert (report.lost, report.unresolved) == (0, 1)
    torture.records[2]["properties"]["is_active"] = "Cancelled"
    assert judged(torture, tmp_path).lost == 0


def test_a_move_that_was_refused_leaves_the_old_seat(tmp_path: Path):
    torture = GoodTorture()
    torture.said.append(
        torture.line("cem", "move", 28, "k8", 409, code="SESSION_FULL", booking_id="LS-3", exam_id=OTHER, staff=True)
    )
    assert judged(torture, tmp_path).violations == []
    lose_in_hubspot(torture)
    assert judged(torture, tmp_path).lost == 1
