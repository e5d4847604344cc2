"""The doctor says what it saw, believes only what it sees twice, and never calls nothing healthy."""

import pytest

from lastseat.errors import Refused
from lastseat.evidence import Evidence
from lastseat.invariants import check_all
from lastseat.upkeep.doctor import SHOWN_MOST, counted, examine, examine_twice, told


def seen(*taken: int) -> Evidence:
    """Exams with one seat each whose counts are as given; nobody holds any."""
    rows = [
        {"hubspot_id": str(n), "capacity": 1, "seats_taken": count, "seats_version": 1}
        for n, count in enumerate(taken)
    ]
    return Evidence(tables={"hubspot_mock_exams": rows})


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


def test_what_was_not_looked_at_is_not_counted():
    assert "gates" not in counted(seen(0))
    assert counted(Evidence(gates=[]))["gates"] == 0


def test_a_long_list_of_findings_is_cut_and_counted():
    text = told(examine(seen(*[1] * (SHOWN_MOST + 5))))
    assert "… and 5 more." in text


def test_an_open_table_breaks_the_ninth_promise():
    verdicts = {verdict.invariant: verdict for verdict in check_all(Evidence(exposed=["table claims (to anon)"]))}
    assert verdicts["I9"].broken
    assert not check_all(Evidence(exposed=[]))[-1].broken
