"""The command line says what is wrong in one line, with the right exit code, and never with a traceback."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import click
import jwt
import pytest
from click.testing import CliRunner, Result

from lastseat.cli import main
from lastseat.embedded.ports import free_port
from lastseat.rehearsal.tokens import SECRET_FILE
from tests.rehearsal.good_run import GoodRun

SECRET = "a-secret-of-the-demo-that-is-long-enough"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("SUPABASE_DB_URL", "SUPABASE_URL", "SUPABASE_JWT_SECRET", "REDIS_URL", "HUBSPOT_ACCESS_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("LASTSEAT_DATA_DIR", str(folder))
    # As root the data folder must be one that Postgres's account can pass, which pytest's own folders are not.
    monkeypatch.setattr("lastseat.cli.people.data_folder", lambda _folder: folder)
    monkeypatch.setattr("lastseat.cli.checking.data_folder", lambda _folder: folder)


def lastseat(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(main, list(arguments), env=environment, prog_name="lastseat")


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def says(result: Result, exit_code: int, *words: str) -> None:
    assert result.exit_code == exit_code, result.output
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert all(word in result.stderr for word in words), result.stderr


COMMANDS = ["demo", "serve", "rush", "doctor", "schema", "schema apply", "schema status", "schema print", "token"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_and_every_option_has_help(command: str):
    assert lastseat(*command.split(), "--help").exit_code == 0
    found: click.Command = main
    for word in command.split():
        assert isinstance(found, click.Group)
        found = found.commands[word]
    assert found.help
    assert [option.name for option in found.params if isinstance(option, click.Option) and not option.help] == []


def test_the_help_begins_with_the_command_for_newcomers():
    result = lastseat("--help")
    assert "Start with `lastseat demo`" in result.output
    assert all(f"\n  {name} " in result.output for name in ("demo", "serve", "rush", "doctor", "schema", "token"))


def test_a_port_in_use_is_said_with_the_way_out(taken_port: int):
    result = lastseat("serve", "--port", str(taken_port), HUBSPOT_ACCESS_TOKEN="x", SUPABASE_JWT_SECRET=SECRET)
    says(result, 2, f"127.0.0.1:{taken_port}", "in use", "--port")
    says(lastseat("demo", "--port", str(taken_port)), 2, str(taken_port), "in use")


def test_serving_without_a_hubspot_token_or_a_secret_is_refused():
    port = str(free_port())
    says(lastseat("serve", "--port", port), 2, "HUBSPOT_ACCESS_TOKEN", "lastseat demo")
    says(lastseat("serve", "--port", port, HUBSPOT_ACCESS_TOKEN="x"), 2, "SUPABASE_JWT_SECRET")


def test_serving_without_its_postgres_is_refused_and_names_it():
    postgres = free_port()
    result = lastseat(
        *("serve", "--port", str(free_port())),
        HUBSPOT_ACCESS_TOKEN="x",
        SUPABASE_JWT_SECRET=SECRET,
        SUPABASE_DB_URL=f"postgresql://me:secret-word@127.0.0.1:{postgres}/x",
        REDIS_URL="redis://127.0.0.1:1",
    )
    says(result, 2, "Postgres", str(postgres), "SUPABASE_DB_URL")
    assert "secret-word" not in result.output


def test_a_wrong_setting_names_its_variable():
    says(lastseat("serve", LASTSEAT_PROCESSES="many"), 2, "LASTSEAT_PROCESSES")


@pytest.mark.parametrize(
    "arguments",
    [("--students", "0"), ("--seats", "x"), ("--exams", "-1"), ("--processes", "999"), ("--transport", "carrier")],
)
def test_an_impossible_rush_is_refused_before_anything_starts(arguments: tuple[str, str]):
    result = lastseat("rush", *arguments)
    assert result.exit_code == 2
    assert arguments[0] in result.stderr


def test_a_rush_does_not_write_over_other_files(tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("years of work")
    says(lastseat("rush", "--keep", str(tmp_path)), 2, "holds other files", "--keep")
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_token_is_made_for_the_demo_only(tmp_path: Path):
    says(lastseat("token", "--staff"), 2, "No demo has run", "lastseat demo")
    says(lastseat("token", "--staff", SUPABASE_JWT_SECRET=SECRET), 2, "No demo has run")
    (tmp_path / "data" / "demo").mkdir()
    (tmp_path / "data" / "demo" / SECRET_FILE).write_text(SECRET + "\n")
    staff = lastseat("token", "--staff").output.strip()
    claims = jwt.decode(staff, SECRET, algorithms=["HS256"], audience="authenticated")
    assert "exams.edit" in claims["app_metadata"]["permissions"]
    student = lastseat("token", "--contact", "34000000001").output.strip()
    claims = jwt.decode(student, SECRET, algorithms=["HS256"], audience="authenticated")
    assert claims["app_metadata"]["contact_id"] == "34000000001"
    assert claims["app_metadata"]["permissions"] == []


@pytest.mark.parametrize("arguments", [(), ("--staff", "--contact", "1")])
def test_a_token_is_for_one_person(arguments: tuple[str, ...]):
    assert lastseat("token", *arguments).exit_code == 2


def test_a_token_for_no_record_id_is_refused():
    says(lastseat("token", "--contact", "Robert'); DROP"), 1, "digits only")


def test_the_doctor_with_nothing_to_check_fails(tmp_path: Path):
    says(lastseat("doctor"), 1, "Nothing to check")
    says(lastseat("doctor", "--data", str(tmp_path)), 1, "Nothing to check")
    run = GoodRun()
    run.answers, run.endings, run.calls, run.records, run.gates = [], [], [], [], []
    run.ledger = {}
    folder = run.write(tmp_path / "empty")
    says(lastseat("doctor", "--data", str(folder)), 1, "Nothing to check")


def test_the_doctor_says_what_it_saw_of_a_kept_run(tmp_path: Path):
    result = lastseat("doctor", "--data", str(GoodRun().write(tmp_path / "kept")))
    assert result.exit_code == 0, result.output
    assert "2 bookings, 2 claims" in result.stdout
    assert all(f"I{n}  holds" in result.stdout for n in range(1, 10))


def test_the_doctor_explains_what_is_broken_and_fails(tmp_path: Path):
    run = GoodRun()
    run.ledger["hubspot_mock_exams"][0]["seats_taken"] = 1
    run.gates.clear()
    folder = str(run.write(tmp_path / "kept"))
    result = lastseat("doctor", "--data", folder)
    assert result.exit_code == 1
    assert "I2  BROKEN" in result.stdout
    assert "counts 1 seats taken, but 2 bookings hold one" in result.stdout
    body = json.loads(lastseat("doctor", "--data", folder, "--json").stdout)
    assert body["healthy"] is False
    assert [one["invariant"] for one in body["invariants"] if one["broken"]] == ["I2"]


def test_the_schema_is_printed_without_a_database():
    result = lastseat("schema", "print")
    assert result.exit_code == 0
    assert "create table hubspot_sync.claims" in result.stdout
    says(lastseat("schema", "apply"), 2, "No database is named")


@pytest.mark.embedded
def test_the_schema_is_applied_once_and_its_status_says_so(database_url: str):
    assert lastseat("schema", "status", "--url", database_url).exit_code == 1
    first = lastseat("schema", "apply", "--url", database_url)
    assert "Applied" in first.stdout
    assert "up to date" in lastseat("schema", "apply", SUPABASE_DB_URL=database_url).stdout
    status = lastseat("schema", "status", "--url", database_url, "--json")
    assert status.exit_code == 0
    assert json.loads(status.stdout)["current"] is True


@pytest.mark.parametrize("command", ["rush", "torture"])
def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path, command: str):
    (tmp_path / "file").touch()
    for place in (tmp_path / "file" / "below", Path("/proc/none")):
        says(lastseat(command, "--keep", str(place)), 2, "Cannot use", str(place), "Give --keep")


def test_an_address_of_hubspot_without_its_scheme_is_one_line():
    says(
        lastseat("serve", HUBSPOT_BASE_URL="api.hubapi.com"), 2, "HUBSPOT_BASE_URL", "such as https://api.hubapi.com"
    )


async def nothing_played(*_: object) -> None:
    return


def test_a_demo_on_any_port_speaks_of_no_port_that_is_taken(open_folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lastseat.cli.plays._played", nothing_played)
    result = lastseat("demo", LASTSEAT_PORT="0", LASTSEAT_DATA_DIR=str(open_folder))
    assert (result.exit_code, result.stderr) == (0, "")


def test_a_demo_whose_port_is_taken_says_so(open_folder: Path, taken_port: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lastseat.cli.plays._played", nothing_played)
    result = lastseat("demo", LASTSEAT_PORT=str(taken_port), LASTSEAT_DATA_DIR=str(open_folder))
    says(result, 0, f"Port {taken_port} is taken; the site takes")
