"""The judge sees each planted fault by its own key; a judge that cannot fail proves nothing."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from lastseat.cli import main
from lastseat.errors import SetupError
from lastseat.rehearsal.judge import Report, judge, percentile
from lastseat.rehearsal.kept import read_kept
from tests.rehearsal.good_run import EXAM, RELEASED_AT, GoodRun

Spoil = Callable[[GoodRun], None]
KEYS = """
students seats booked pending refused failed oversold stranded duplicates hubspot_calls hubspot_429 hubspot_reads
p50_ms p95_ms p99_ms all_answered_ms all_confirmed_ms accepted_per_s processes
"""


def judged(run: GoodRun, folder: Path) -> Report:
    return judge(read_kept(run.write(folder)))


def test_a_good_run_passes_with_the_numbers_of_its_files(tmp_path: Path):
    report = judged(GoodRun(), tmp_path / "kept")
    total = report.total
    assert report.passed, [f for verdict in report.verdicts for f in verdict.findings]
    assert (total.students, total.seats, total.booked, total.pending, total.refused) == (3, 2, 1, 1, 1)
    assert (total.failed, total.oversold, total.stranded, total.duplicates) == (0, 0, 0, 0)
    assert (total.hubspot_calls, total.hubspot_429, total.hubspot_reads, total.processes) == (3, 0, 0, 1)
    assert (total.p50_ms, total.p99_ms) == (300.0, 750.0)
    assert total.all_answered_ms == pytest.approx(751.0)
    assert total.all_confirmed_ms == pytest.approx(2000.0)
    assert total.accepted_per_s == pytest.approx(2 / 0.751, abs=0.1)


def a_201_without_record(run: GoodRun) -> None:
    del run.records[0]


def a_202_that_never_ends(run: GoodRun) -> None:
    run.endings[0]["state"] = "lost"


def a_202_that_nobody_followed(run: GoodRun) -> None:
    run.endings.clear()


def an_undocumented_answer(run: GoodRun) -> None:
    run.answers[2].update(status=500, code="UNAVAILABLE")


def a_429_from_us(run: GoodRun) -> None:
    run.answers[2].update(status=429, code="TOO_MANY_REQUESTS")


def no_answer_at_all(run: GoodRun) -> None:
    run.answers[2].update(status=0, code=None, error="no answer within 30 s")


def a_student_without_an_answer(run: GoodRun) -> None:
    del run.answers[2]


def already_booked_without_a_booking(run: GoodRun) -> None:
    run.answers[2].update(code="ALREADY_BOOKED")


def a_holder_who_hears_full(run: GoodRun) -> None:
    run.answers.append(run.answer("101", 409, code="SESSION_FULL"))


def one_seat_too_many_in_hubspot(run: GoodRun) -> None:
    run.records.append(run.record("503", "LS-3", "103"))
    run.ledger["claims"].append(run.claim("LS-3", "103", None, state="refused"))


def one_seat_too_many_in_the_ledger(run: GoodRun) -> None:
    run.ledger["claims"].append(run.claim("LS-3", "103", None, state="open"))
    run.ledger["hubspot_mock_exams"][0]["seats_taken"] = 3


def a_seat_left_free(run: GoodRun) -> None:
    run.ledger["hubspot_mock_exams"][0]["capacity"] = 3


def a_seat_held_by_nobody(run: GoodRun) -> None:
    run.ledger["hubspot_mock_exams"][0].update(capacity=3, seats_taken=3)
    run.answers[2].update(code="EXAM_CLOSED")


def a_second_record_of_one_student(run: GoodRun) -> None:
    run.records.append(run.record("503", "old", "101"))
    run.ledger["hubspot_bookings"].append(run.row("503", "old", "101"))
    run.ledger["hubspot_mock_exams"][0].update(capacity=3, seats_taken=3)


def a_record_the_ledger_does_not_know(run: GoodRun) -> None:
    run.records.append(run.record("503", "LS-9", "103", active="Cancelled"))


def a_record_without_an_exam(run: GoodRun) -> None:
    record = run.record("503", "LS-9", "103")
    del record["properties"]["mock_exam_id"]
    run.records.append(record)


def a_record_without_a_key(run: GoodRun) -> None:
    record = run.record("503", "", "103", active="Cancelled")
    record["properties"] |= {"booking_id": None, "mock_exam_id": None}
    run.records.append(record)


def a_record_of_an_exam_outside_the_run(run: GoodRun) -> None:
    record = run.record("503", "LS-9", "101")
    record["properties"]["mock_exam_id"] = "34000000009"
    run.records.append(record)


def a_second_record_that_the_ledger_does_not_know(run: GoodRun) -> None:
    run.records.append(run.record("503", "LS-9", "101"))


def a_429_of_hubspot(run: GoodRun) -> None:
    run.calls[1]["status"] = 429


def a_list_of_records(run: GoodRun) -> None:
    run.calls.append(run.call("list", 0.5))


def a_search(run: GoodRun) -> None:
    run.calls.append(run.call("search", 0.5))


def a_single_read(run: GoodRun) -> None:
    run.calls.append(run.call("read", 0.5))


FAULTS: list[tuple[Spoil, str]] = [
    (a_201_without_record, "failed"),
    (a_202_that_never_ends, "failed"),
    (a_202_that_nobody_followed, "failed"),
    (an_undocumented_answer, "failed"),
    (a_429_from_us, "failed"),
    (no_answer_at_all, "failed"),
    (a_student_without_an_answer, "failed"),
    (already_booked_without_a_booking, "failed"),
    (a_holder_who_hears_full, "failed"),
    (one_seat_too_many_in_hubspot, "oversold"),
    (one_seat_too_many_in_the_ledger, "oversold"),
    (a_seat_left_free, "stranded"),
    (a_seat_held_by_nobody, "stranded"),
    (a_second_record_of_one_student, "duplicates"),
    (a_record_the_ledger_does_not_know, "duplicates"),
    (a_record_without_an_exam, "duplicates"),
    (a_record_without_a_key, "duplicates"),
    (a_record_of_an_exam_outside_the_run, "duplicates"),
    (a_second_record_that_the_ledger_does_not_know, "duplicates"),
    (a_429_of_hubspot, "hubspot_429"),
    (a_list_of_records, "hubspot_reads"),
    (a_search, "hubspot_reads"),
    (a_single_read, "hubspot_reads"),
]


@pytest.mark.parametrize(("spoil", "key"), FAULTS, ids=[spoil.__name__ for spoil, _ in FAULTS])
def test_the_judge_sees_a_planted_fault(spoil: Spoil, key: str, tmp_path: Path):
    run = GoodRun()
    spoil(run)
    report = judged(run, tmp_path / "kept")
    assert getattr(report.total, key) == 1
    assert not report.passed
    assert CliRunner().invoke(main, ["doctor", "--data", str(tmp_path / "kept")]).exit_code == 1


@pytest.mark.parametrize("spoil", [None, a_201_without_record], ids=["good", "spoiled"])
def test_a_rush_that_broke_a_promise_exits_1(spoil: Spoil | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = GoodRun()
    if spoil is not None:
        spoil(run)

    async def played(*_: object, **__: object) -> Report:
        return judged(run, tmp_path / "kept")

    monkeypatch.setattr("lastseat.cli.plays.rehearse", played)
    result = CliRunner().invoke(main, ["rush", "--json"])
    assert result.exit_code == (0 if spoil is None else 1)
    assert set(json.loads(result.stdout)) == set(KEYS.split())


@pytest.mark.parametrize(
    ("change", "key", "value"),
    [
        (lambda run: run.calls.append(run.call("batch_update", 1.0)), "hubspot_calls", 4),
        (lambda run: run.answers[2].update(ms=2000.0), "all_answered_ms", 2001.0),
        (lambda run: run.endings[0].update(at=RELEASED_AT + 9), "all_confirmed_ms", 9000.0),
        (lambda run: run.answers[2].update(ms=2000.0), "p99_ms", 2000.0),
        (lambda run: run.answers[2].update(ms=2000.0), "p95_ms", 2000.0),
        (lambda run: run.run.update(processes=4), "processes", 4),
        (lambda run: run.run["rushes"][0].update(seats=7), "seats", 7),
    ],
)
def test_each_other_number_follows_its_file(change: Spoil, key: str, value: float, tmp_path: Path):
    run = GoodRun()
    change(run)
    assert getattr(judged(run, tmp_path / "kept").total, key) == pytest.approx(value)


def test_a_planted_429_is_not_held_against_us_and_hides_none_of_ours(tmp_path: Path):
    run = GoodRun()
    run.calls[1].update(status=429, fault="429")
    report = judged(run, tmp_path / "planted")
    assert report.total.hubspot_429 == 0
    assert report.passed
    run.calls[2]["status"] = 429
    report = judged(run, tmp_path / "ours")
    assert report.total.hubspot_429 == 1
    assert not report.passed


def test_a_read_back_is_no_read(tmp_path: Path):
    run = GoodRun()
    run.calls.append(run.call("batch_read", 0.5))
    report = judged(run, tmp_path / "kept")
    assert (report.total.hubspot_reads, report.total.hubspot_calls) == (0, 4)


def test_two_answers_of_one_student_are_one_booking(tmp_path: Path):
    run = GoodRun()
    run.answers.append(run.answer("101", 201, booking_id="LS-1", shown_contact="101"))
    run.answers.append(run.answer("102", 409, code="ALREADY_BOOKED"))
    report = judged(run, tmp_path / "kept")
    assert (report.total.booked, report.total.pending, report.total.refused, report.total.failed) == (1, 1, 1, 0)
    assert report.passed


def test_a_second_rush_has_numbers_of_its_own(tmp_path: Path):
    run = GoodRun()
    later = RELEASED_AT + 5
    run.run["rushes"].append(
        {"number": 1, "released_at": later, "students": 1, "seats": 1, "exam_ids": ["34000000002"]}
    )
    second = run.answer("101", 201, booking_id="LS-3", ms=100.0) | {"rush": 1, "exam_id": "34000000002", "key": "x"}
    run.answers.append(second | {"sent_at": later})
    record, row, claim = (
        run.record("503", "LS-3", "101"),
        run.row("503", "LS-3", "101"),
        run.claim("LS-3", "101", "503"),
    )
    record["properties"]["mock_exam_id"] = row["mock_exam_id"] = claim["exam_id"] = "34000000002"
    claim["idempotency_key"] = "x"
    run.records.append(record)
    run.ledger["hubspot_bookings"].append(row)
    run.ledger["claims"].append(claim)
    run.ledger["hubspot_mock_exams"].append(
        {"hubspot_id": "34000000002", "capacity": 1, "seats_taken": 1, "seats_version": 2}
    )
    run.calls.append(run.call("batch_upsert", 5.1))
    report = judged(run, tmp_path / "kept")
    first, second_numbers = report.rushes
    assert (first.booked, first.hubspot_calls, first.students) == (1, 3, 3)
    assert (second_numbers.booked, second_numbers.hubspot_calls, second_numbers.all_answered_ms) == (1, 1, 100.0)
    assert (report.total.booked, report.total.hubspot_calls, report.total.students) == (2, 4, 4)
    assert report.passed


@pytest.mark.parametrize("name", ["clients.jsonl", "requests.jsonl", "state.json", "ledger.json"])
def test_a_missing_or_spoiled_file_is_named(name: str, tmp_path: Path):
    folder = GoodRun().write(tmp_path / "kept")
    (folder / name).write_text("{nonsense\n")
    with pytest.raises(SetupError, match=name):
        read_kept(folder)
    (folder / name).unlink()
    with pytest.raises(SetupError, match=name):
        read_kept(folder)


def test_a_percentile_is_a_value_that_was_measured():
    assert percentile([1.0, 2.0, 3.0, 4.0], 50) == 2.0
    assert percentile([float(n) for n in range(1, 251)], 99) == 248.0
    assert percentile([], 99) == 0.0
    assert EXAM
