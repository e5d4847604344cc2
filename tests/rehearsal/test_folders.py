"""The demo and the service never share a folder, and neither takes one that the other has filled."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lastseat.cli import main, running
from lastseat.cli.folders import DEMO, USE, demo_folder, service_folder, use_of
from lastseat.embedded.ports import free_port
from lastseat.errors import SetupError
from lastseat.rehearsal.tokens import SECRET_FILE

NAMES = ("SUPABASE_DB_URL", "SUPABASE_URL", "SUPABASE_SERVICE_KEY", "REDIS_URL", "HUBSPOT_ACCESS_TOKEN")
REAL = {"HUBSPOT_ACCESS_TOKEN": "pat-na1-real", "SUPABASE_JWT_SECRET": "a-secret-of-this-test-that-is-long-enough"}


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def lastseat(folder: Path, *arguments: str, **environment: str) -> Result:
    environment["LASTSEAT_DATA_DIR"] = str(folder)
    return CliRunner().invoke(main, list(arguments), env=environment, prog_name="lastseat")


def says(result: Result, *words: str) -> None:
    assert result.exit_code == 2, (result.output, result.exception)
    (line,) = result.stderr.strip().splitlines()
    assert [word for word in words if word not in line] == []


def test_the_demo_has_a_folder_of_its_own_below_the_services(open_folder: Path):
    assert service_folder(open_folder) == open_folder
    assert demo_folder(open_folder) == open_folder / DEMO
    assert (use_of(open_folder), use_of(open_folder / DEMO)) == ("service", "demo")
    assert (service_folder(open_folder), demo_folder(open_folder)) == (open_folder, open_folder / DEMO)


@pytest.mark.parametrize("left", [SECRET_FILE, "hubspot"])
def test_a_service_does_not_begin_with_what_an_earlier_demo_left(open_folder: Path, left: str):
    """Demos kept their data in the data folder itself before they had a folder of their own."""
    (open_folder / "postgres").mkdir()
    (open_folder / left).mkdir()
    says(lastseat(open_folder, "serve", "--port", str(free_port()), **REAL), f"{open_folder} holds", "of a demo")
    says(lastseat(open_folder, "backfill", **REAL), f"{open_folder} holds", "Set LASTSEAT_DATA_DIR")
    assert {path.name for path in open_folder.iterdir()} == {"postgres", left}


def test_a_service_does_not_begin_in_the_folder_of_todays_demo(open_folder: Path):
    folder = demo_folder(open_folder)
    says(lastseat(folder, "serve", "--port", str(free_port()), **REAL), f"{folder} holds the data of a demo")


def test_a_demo_does_not_begin_in_a_services_folder(open_folder: Path):
    for folder in (open_folder / "marked" / DEMO, open_folder / "older" / DEMO):
        folder.mkdir(parents=True, mode=0o755)
    service_folder(open_folder / "marked" / DEMO)
    (open_folder / "older" / DEMO / "postgres").mkdir()
    for name in ("marked", "older"):
        with pytest.raises(SetupError, match="holds the data of a service, which no demo may touch"):
            demo_folder(open_folder / name)
    says(lastseat(open_folder / "older", "demo", "--no-rush"), "holds the data of a service")
    assert not (open_folder / "older" / DEMO / USE).exists()


def test_what_runs_is_found_in_the_data_folder_and_below_it(open_folder: Path):
    nothing = lastseat(open_folder, "doctor")
    assert (nothing.exit_code, "Nothing to check" in nothing.stderr) == (1, True)
    with running.Noting(demo_folder(open_folder)) as noting:
        noting.note(1, {"SUPABASE_DB_URL": f"postgresql://x@127.0.0.1:{free_port()}/x"})
        for arguments in (("doctor",), ("doctor", "--data", str(open_folder))):
            says(lastseat(open_folder, *arguments), "cannot be reached")
        says(lastseat(open_folder, "backfill"), "HUBSPOT_ACCESS_TOKEN is not set")


def test_who_is_refused_leaves_the_note_of_who_runs(tmp_path: Path):
    with running.Noting(tmp_path) as noting:
        noting.note(1, {})
        other = (tmp_path / running.NOTE).read_text().replace(f'"pid":{os.getpid()}', f'"pid":{os.getppid()}')
        (tmp_path / running.NOTE).write_text(other)
    assert (tmp_path / running.NOTE).read_text() == other
    with running.Noting(tmp_path) as noting:
        noting.note(1, {})
    assert not (tmp_path / running.NOTE).exists()
