"""The doctor says what it saw, believes only what it sees twice, and never calls nothing healthy."""

import pytest

from lastseat.errors import Refused
from lastseat.evidence import Call, Evidence
from lastseat.invariants import Verdict, check_all
from lastseat.upkeep.doctor import SHOWN_MOST, counted, examine, examine_twice, told


def seen(*taken: int) -> Evidence:
    """Exams with one seat each whose counts are as given; nobody holds any."""
    rows = [
        {"hubspot_id": str(n), "capacity": 1, "seats_taken": count, "seats_version": 1}
        for n, count in enumerate(taken)
    ]
    return Evidence(tables={"hubspot_mock_exams": rows})


def verdicts(evidence: Evidence) -> dict[str, Verdict]:
    return {verdict.invariant: verdict for verdict in check_all(evidence)}


async def looked(*looks: Evidence) -> tuple[bool, str]:
    rest = list(looks)

    async def look() -> Evidence:
        return rest.pop(0)

    async def pause() -> None:
        return

    report = await examine_twice(look, pause)
    return report.healthy, told(report)


async def test_a_healthy_service_is_looked_at_once():
    assert (await looked(seen(0)))[0] is True


async def test_what_was_only_on_its_way_is_not_a_finding():
    assert (await looked(seen(1), seen(0)))[0] is True


async def test_another_finding_in_the_second_look_is_not_yet_believed():
    assert (await looked(seen(1, 0), seen(0, 1)))[0] is True


async def test_what_stays_is_told():
    healthy, text = await looked(seen(1), seen(1))
    assert not healthy
    assert "Exam 0 counts 1 seats taken" in text
    assert "Seen: 1 exams" in text


def test_nothing_is_not_healthy():
    with pytest.raises(Refused, match="Nothing to check"):
        examine(Evidence(tables={}, portal=[], gates=[]))
    with pytest.raises(Refused, match="Nothing to check"):
        examine(Evidence(tables={}, log_lines=["INFO the site is open"], exposed=[]))


def test_what_was_not_looked_at_is_not_counted():
    assert "gates" not in counted(seen(0))
    assert counted(Evidence(gates=[]))["gates"] == 0


def test_a_long_list_of_findings_is_cut_and_counted():
    text = told(examine(seen(*[1] * (SHOWN_MOST + 5))))
    assert "… and 5 more." in text


def test_an_open_table_breaks_the_ninth_promise():
    assert verdicts(Evidence(exposed=["table claims (to anon)"]))["I9"].broken
    assert not check_all(Evidence(exposed=[]))[-1].broken


def test_an_open_table_of_another_app_is_told_and_breaks_nothing():
    verdict = check_all(Evidence(exposed=[], strangers=["public.older"]))[-1]
    assert not verdict.broken
    assert [(finding.note, "public.older" in finding.sentence) for finding in verdict.findings] == [(True, True)]


def test_reads_by_an_operator_are_told_and_break_nothing():
    read = [Call(at=1.0, kind="read", status=200)]
    assert verdicts(Evidence(calls=read))["I8"].broken
    by_hand = verdicts(Evidence(calls=read, read_by_hand=True))["I8"]
    assert not by_hand.broken
    assert "as doctor, sync and backfill do" in by_hand.findings[0].sentence
