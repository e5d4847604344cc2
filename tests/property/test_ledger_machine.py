"""The ledger against a simple model: whatever happens in whatever order, every promise holds after each step."""

import os

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from msgspec.structs import replace

from lastseat.invariants import CHECKS
from lastseat.stores.ledger import Ledger
from tests.fault.memory_hubspot import MemoryHubSpot
from tests.property import bench as bench_module
from tests.property.bench import Bench
from tests.property.machine import Machine

EXAMPLES = int(os.environ.get("LASTSEAT_PROPERTY_EXAMPLES", "40"))
"""More of them, and new ones each time: LASTSEAT_PROPERTY_EXAMPLES=1000 pytest tests/property."""


@pytest.fixture
def bench(schema_database_url):
    bench = Bench(schema_database_url)
    yield bench
    bench.close()


def plays(bench: Bench, examples: int, phases: tuple[Phase, ...] = tuple(Phase)) -> None:
    run_state_machine_as_test(
        lambda: Machine(bench),
        settings=settings(
            max_examples=examples,
            stateful_step_count=50,
            derandomize=examples <= 40,
            database=None,
            deadline=None,
            phases=phases,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_every_promise_holds_after_every_step(bench):
    plays(bench, EXAMPLES)
    assert [name for name in CHECKS if not bench.looked_at[name]] == [], "judged nothing"


def tell_of_a_seat_too_many(monkeypatch):
    gates_in = bench_module.gates_in
    monkeypatch.setattr(
        bench_module, "gates_in", lambda answer: [replace(g, remaining=g.remaining + 1) for g in gates_in(answer)]
    )


def call_twice_for_one_slot(monkeypatch):
    upsert = MemoryHubSpot.upsert_bookings

    async def twice(self, slot, rows):
        await upsert(self, slot, rows)
        return await upsert(self, slot, rows)

    monkeypatch.setattr(MemoryHubSpot, "upsert_bookings", twice)


def show_anothers_claim(monkeypatch):
    claim = Ledger.claim

    async def anothers(self, claims):
        return [
            answer if answer.claim is None else replace(answer, claim=replace(answer.claim, contact_id="someone"))
            for answer in await claim(self, claims)
        ]

    monkeypatch.setattr(Ledger, "claim", anothers)


@pytest.mark.parametrize(
    ("spoil", "invariant"),
    [(tell_of_a_seat_too_many, "I7"), (call_twice_for_one_slot, "I8"), (show_anothers_claim, "I9")],
)
def test_the_machine_sees_what_the_tables_do_not_hold(bench, monkeypatch, spoil, invariant):
    spoil(monkeypatch)
    with pytest.raises(AssertionError, match=invariant):
        plays(bench, 10, (Phase.generate,))
