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


def test_what_ci_executes_lies_in_a_lane():
    folder = rules.ROOT / ".ci"
    executable = {
        path.relative_to(folder).parts[0]
        for path in folder.rglob("*")
        if path.stat().st_mode & 0o111 and path.is_file()
    }
    assert executable == {"install", "lanes", "run"}


def test_a_shell_script_stops_at_the_first_fault():
    scripts = [path for path in rules.tracked() if path.read_bytes().startswith(b"#!/usr/bin/env bash")]
    assert scripts
    assert [rules.short(path) for path in scripts if "\nset -euo pipefail\n" not in path.read_text()] == []


_KEPT = {"failed": 0, "oversold": 0, "stranded": 0, "duplicates": 0, "hubspot_429": 0, "hubspot_reads": 0, "exit": 0}
_PROMISE = {"booked": 100, "hubspot_calls <=": 8, "p99_ms <": 1000}
_REPEATED = {"booked + pending": 500, "2nd booked + 2nd pending": 250, "2nd pending >": 0}


@pytest.fixture(scope="module")
def rush_lane():
    spec = importlib.util.spec_from_file_location("ci_rush", rules.ROOT / ".ci" / "rush.py")
    lane = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(lane)
    return lane


@pytest.mark.parametrize(
    ("result", "faults"),
    [
        ({"booked": 100, "hubspot_calls": 8, "p99_ms": 999.9}, 0),
        ({"booked": 99, "hubspot_calls": 8, "p99_ms": 999.9}, 1),
        ({"booked": 100, "hubspot_calls": 9, "p99_ms": 1000}, 2),
        ({"booked": 100, "hubspot_calls": 8, "p99_ms": 1, "duplicates": 1}, 1),
        ({"booked": 100, "hubspot_calls": 8, "p99_ms": 1, "exit": 1}, 1),
    ],
)
def test_the_rush_lane_sees_a_broken_promise(rush_lane, result, faults):
    assert len(rush_lane.inexact(_KEPT | result, _PROMISE)) == faults


def _late(booked: int) -> dict[str, int]:
    return _KEPT | {"booked": booked, "pending": 100 - booked}


@pytest.mark.parametrize(
    ("results", "played", "faults"),
    [
        ([_late(90), _late(100)], 2, 0),
        ([_late(90)] * 5, 5, 1),
        ([_late(90)] * 4 + [_late(100)], 5, 0),
        ([_late(90), _late(90) | {"oversold": 1}], 2, 1),
    ],
)
def test_a_late_rush_is_played_again_and_a_wrong_one_is_not(rush_lane, monkeypatch, results, played, faults):
    left = list(results)
    monkeypatch.setattr(rush_lane, "play", lambda options: left.pop(0))
    rests: list[float] = []
    monkeypatch.setattr(rush_lane.time, "sleep", rests.append)
    assert len(rush_lane.tried(("--seats", "100"), {"booked + pending": 100}, {"pending": 0})) == faults
    assert len(results) - len(left) == played
    assert rests == [0, *[rush_lane.REST_S] * (played - 1)]


@pytest.mark.parametrize(
    ("booked", "pending", "second", "faults"),
    [
        (419, 81, {"booked": 169, "pending": 81}, 0),
        (418, 81, {"booked": 168, "pending": 81}, 2),
        (500, 0, {"booked": 250, "pending": 0}, 1),
    ],
)
def test_the_rush_lane_adds_up_and_looks_at_the_second_rush(rush_lane, booked, pending, second, faults):
    result = _KEPT | {"booked": booked, "pending": pending, "rushes": [{}, second]}
    assert len(rush_lane.inexact(result, _REPEATED)) == faults


def test_the_rush_lane_counts_how_it_ended_for_those_who_had_to_wait(rush_lane):
    lines = ['{"kind":"run"}', '{"kind":"answer","status":202}']
    lines += [f'{{"kind":"ending","state":"{state}"}}' for state in ("booked", "booked", "refused", "lost")]
    assert rush_lane.ends({"booked": 5}, "\n".join(lines)) == {"confirmed": 7, "told": 1}


def test_the_rush_lane_plays_every_rush_that_the_issues_name(rush_lane):
    plans = [" ".join(plan) for plan, *_ in rush_lane.MAIN + rush_lane.OTHERS + rush_lane.FAULTED]
    for options in ("--processes 4", "--exams 5", "--repeat 2", "--double"):
        assert any(options in plan for plan in plans), options
    assert [plan[-8:] for plan in plans if "429=0.2" in plan] == [f"--seed {seed}" for seed in (1, 2, 3, 4, 5)]
