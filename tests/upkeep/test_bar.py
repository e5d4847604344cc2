"""The progress line: how far it is on a terminal, and not a byte anywhere else."""

import sys
from datetime import UTC, datetime

import pytest

from lastseat.cli.upkeep import BAR, Bar
from lastseat.upkeep.backfill import PASSES, Progress


def at(step: int, **read: dict[str, int]) -> Progress:
    return Progress(run="r", portal="p", since=datetime.now(UTC), step=step, read=read)


def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Bar:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    return Bar()


def test_a_known_number_gives_a_bar_and_an_unknown_one_a_count(capsys, monkeypatch):
    bar = on_a_terminal(monkeypatch)
    bar.known = {"bookings": 200}
    bar.show(at(PASSES.index(("bookings", False)), bookings={"live": 50, "archived": 0}))
    bar.show(at(PASSES.index(("contacts", False)), contacts={"live": 1_300, "archived": 0}))
    bar.show(at(PASSES.index(("bookings", True)), bookings={"live": 50, "archived": 7}))
    bar.show(at(len(PASSES), bookings={"live": 50, "archived": 9}))
    bar.wait(12.4)
    bar.wait(0.1)
    bar.end()
    lines = [line.replace("\x1b[K", "").strip() for line in capsys.readouterr().err.split("\r")[1:]]
    assert lines[0] == f"bookings [{'#' * (BAR // 4):{BAR}}] 50 of about 200"
    assert lines[1:4] == ["contacts: 1,300", "archived bookings: 7", "archived bookings: 9"]
    assert lines[4] == "HubSpot's calls are needed for bookings; going on in 12 s"
    assert len(lines) == 5


def test_more_than_there_were_last_time_fill_the_bar(capsys, monkeypatch):
    bar = on_a_terminal(monkeypatch)
    bar.known = {"exams": 10}
    bar.show(at(0, exams={"live": 40, "archived": 0}))
    assert f"[{'#' * BAR}] 40 of about 40" in capsys.readouterr().err


def test_where_stderr_is_no_terminal_nothing_is_written(capsys: pytest.CaptureFixture[str]):
    bar = Bar()
    bar.show(at(0))
    bar.wait(60)
    bar.end()
    assert capsys.readouterr() == ("", "")
