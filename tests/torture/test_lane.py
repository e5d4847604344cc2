"""The CI lane sees a torture that broke a promise, and a control that found nothing."""

import importlib.util
from typing import Any

import pytest

from tests.house import rules

KILLS = {"server": 1, "relay": 1, "postgres": 1, "valkey": 1, "emulator": 1}
KEPT = {
    "kills": KILLS, "violations": [], "lost": 0, "duplicates": 0, "oversold": 0, "stranded": 0, "unresolved": 0,
    "booked": 500, "recovery_max_s": 12.0, "exit": 0,
}  # fmt: skip
SEEN = [{"kind": "oversold", "sentence": "s", "history": ["+1 s  x"]}]


@pytest.fixture
def lane() -> Any:
    spec = importlib.util.spec_from_file_location("ci_torture", rules.ROOT / ".ci" / "torture.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("change", "faults"),
    [
        ({}, 0),
        ({"lost": 1}, 1),
        ({"violations": SEEN, "exit": 1}, 2),
        ({"kills": KILLS | {"relay": 0}}, 1),
        ({"booked": 3}, 1),
        ({"recovery_max_s": 61}, 1),
    ],
)
def test_the_lane_sees_a_broken_promise(lane: Any, change: dict[str, Any], faults: int):
    assert len(lane.broken(KEPT | change)) == faults


@pytest.mark.parametrize(
    ("result", "faults"),
    [
        ({"violations": SEEN, "exit": 1}, 0),
        ({"violations": [], "exit": 0}, 2),
        ({"violations": SEEN, "exit": 0}, 1),
        ({"violations": [SEEN[0] | {"history": []}], "exit": 1}, 1),
        ({"violations": [SEEN[0] | {"kind": "logs"}], "exit": 1}, 1),
    ],
)
def test_the_lane_sees_a_control_that_found_nothing(lane: Any, result: dict[str, Any], faults: int):
    assert len(lane.unseen(result, {"oversold"})) == faults
