"""CI does what the README tells people to do, and no lane is left out."""

import importlib.util
import re

import pytest

from tests.house import rules

_QUICK_START = re.compile(r"^#+ .*Quick start.*?^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


def quick_start(readme: str) -> list[str]:
    """The command lines of the block under "Quick start"; comments do not count."""
    match = _QUICK_START.search(readme)
    assert match is not None
    return [line for line in match[1].splitlines() if line.strip() and not line.lstrip().startswith("#")]


def _commands() -> list[str]:
    return quick_start((rules.ROOT / "README.md").read_text())


def test_the_quick_start_is_two_commands():
    assert len(_commands()) == 2


def test_ci_runs_the_second_command_as_it_is_written():
    lines = [line.strip() for line in (rules.ROOT / ".ci" / "run").read_text().splitlines()]
    assert _commands()[1] in lines


def test_ci_sets_up_as_the_first_command_does():
    script = (rules.ROOT / ".ci" / "run").read_text()
    for part in _commands()[0].split(" && ")[:-1]:
        assert part.replace("install uv", "install -q uv") in script


def test_every_lane_is_run_and_may_be_executed():
    listed = re.search(r"^lanes=\((.*)\)$", (rules.ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    lanes = sorted((rules.ROOT / ".ci" / "lanes").iterdir())
    assert listed is not None
    assert sorted(listed[1].split()) == [lane.name for lane in lanes]
    assert [lane.name for lane in lanes if not lane.stat().st_mode & 0o111] == []


def test_a_shell_script_stops_at_the_first_fault():
    scripts = [path for path in rules.tracked() if path.read_bytes().startswith(b"#!/usr/bin/env bash")]
    assert scripts
    assert [rules.short(path) for path in scripts if "\nset -euo pipefail\n" not in path.read_text()] == []


_KEPT = {"failed": 0, "oversold": 0, "stranded": 0, "duplicates": 0, "hubspot_429": 0, "hubspot_reads": 0}
_PROMISE = {"booked": 100, "hubspot_calls <=": 8, "p99_ms <": 1000}


@pytest.mark.parametrize(
    ("result", "faults"),
    [
        ({"booked": 100, "hubspot_calls": 8, "p99_ms": 999.9}, 0),
        ({"booked": 99, "hubspot_calls": 8, "p99_ms": 999.9}, 1),
        ({"booked": 100, "hubspot_calls": 9, "p99_ms": 1000}, 2),
        ({"booked": 100, "hubspot_calls": 8, "p99_ms": 1, "duplicates": 1}, 1),
    ],
)
def test_the_rush_lane_sees_a_broken_promise(result, faults):
    spec = importlib.util.spec_from_file_location("ci_rush", rules.ROOT / ".ci" / "rush.py")
    lane = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(lane)
    assert len(lane.broken(_KEPT | result, _PROMISE)) == faults
