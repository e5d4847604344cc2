"""The ledger against a simple model: whatever happens in whatever order, every promise holds after each step."""

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.property.bench import Bench
from tests.property.machine import Machine

EXAMPLES = int(os.environ.get("LASTSEAT_PROPERTY_EXAMPLES", "40"))
"""More of them, and new ones each time: LASTSEAT_PROPERTY_EXAMPLES=1000 pytest tests/property."""


@pytest.fixture
def bench(schema_database_url):
    bench = Bench(schema_database_url)
    yield bench
    bench.close()


def test_every_promise_holds_after_every_step(bench):
    run_state_machine_as_test(
        lambda: Machine(bench),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=50,
            derandomize=EXAMPLES <= 40,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
