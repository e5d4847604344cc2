"""Every named step of every operation meets every fault; afterwards all invariants hold, and nobody was told wrong.

The table is made of the steps, the plays and the faults: a new one of each gets its cases by itself. A pair that
cannot happen says why.
"""

import itertools

import pytest

from tests.fault.faults import FAULTS, Fault
from tests.fault.kit import WRITING
from tests.fault.plays import PLAYS, Play
from tests.fault.process import NO_STEP, STEP_OF_FUNCTION, STEPS
from tests.fault.town import town
from tests.house import rules

CASES = [
    pytest.param(play, step, fault, id=f"{play.name}-{step}-{fault.name}".replace(" ", "_"))
    for play, step, fault in itertools.product(PLAYS, STEPS, FAULTS)
    if fault.impossible(play, step) is None
]


@pytest.mark.parametrize(("play", "step", "fault"), CASES)
async def test_a_fault_at_a_step_breaks_no_promise(
    play: type[Play], step: str, fault: Fault, schema_database_url, redis_url, older_redis_url, monkeypatch
):
    async with town(schema_database_url, redis_url, older_redis_url, monkeypatch) as place:
        process = await place.process()
        scene = play(place)
        await scene.prepare()
        await place.settled()
        if fault.ready is not None:
            await fault.ready(place, process)
        process.strikes[step, fault.moment] = lambda: fault.strike(place, process)
        await scene.run()
        await place.settled()
        assert (step, fault.moment) not in process.strikes, "the fault never struck"
        assert await place.broken() == []
        await scene.check()


def test_every_step_and_every_fault_has_its_cases():
    """A new step that no play takes, or a fault that strikes nowhere, is seen here."""
    possible = [(play, step, fault) for play, step, fault in (case.values for case in CASES)]
    assert {step for _, step, _ in possible} == set(STEPS)
    assert {fault.name for _, _, fault in possible} == {fault.name for fault in FAULTS}
    assert {play.name for play, _, _ in possible} == {play.name for play in PLAYS}


def test_every_pair_that_cannot_happen_says_why():
    reasons = {
        (play.name, step, fault.name): fault.impossible(play, step)
        for play, step, fault in itertools.product(PLAYS, STEPS, FAULTS)
    }
    assert [pair for pair, reason in reasons.items() if reason is not None and len(reason) <= 20] == []


async def test_every_function_that_writes_belongs_to_a_step_or_says_why_not(rows):
    """A new way to write is a new place for faults: it gets a step here, or a reason and the tests that strike it."""
    found = await rows.of(WRITING)
    assert {row["name"] for row in found} == {*STEP_OF_FUNCTION, *NO_STEP}
    assert set(STEP_OF_FUNCTION.values()) <= set(STEPS)
    named = {word.rstrip(",") for reason in NO_STEP.values() for word in reason.split() if word.startswith("tests/")}
    assert [path for path in sorted(named) if not (rules.ROOT / path).exists()] == []
