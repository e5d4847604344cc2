"""The commands an operator types: results on stdout, one line for what is wrong, and the right exit code."""

import json
from contextlib import ExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hubspot_emulator.seeding import Seed, SeedRecord
from lastseat.cli import main, tools
from lastseat.cli.running import Running
from lastseat.cli.serving import Stores
from lastseat.errors import SetupError
from tests.hubspot_client.doubles import BOOKINGS, CONTACTS, EXAMS, Portal
from tests.upkeep.world import EXAM

pytestmark = pytest.mark.embedded
ACTIVE = {"is_active": "Active", "booking_status": "confirmed"}


class Shell:
    """The command line over a portal, a ledger and a Valkey."""

    def __init__(self, portal: Portal, database_url: str, redis_url: str) -> None:
        self.portal = portal
        self.environment = {
            "HUBSPOT_BASE_URL": portal.url,
            "HUBSPOT_ACCESS_TOKEN": "pat-demo",
            "HUBSPOT_RATE_LIMIT": "10000",
            "SUPABASE_DB_URL": database_url,
            "REDIS_URL": redis_url,
            "LASTSEAT_BACKOFF_FIRST_S": "0.01",
        }

    def run(self, *arguments: str, **more: str) -> Result:
        return CliRunner().invoke(main, list(arguments), env={**self.environment, **more}, prog_name="lastseat")

    def sow(self, kind: str, *records: dict[str, str]) -> list[str]:
        wanted = Seed(objects={kind: [SeedRecord(properties=record) for record in records]})
        return self.portal.emulator.sow(wanted)[kind]


@pytest.fixture
def shell(portal_beside: Portal, schema_database_url: str, redis_url: str) -> Shell:
    return Shell(portal_beside, schema_database_url, redis_url)


def test_backfill_says_what_it_read_and_what_is_odd(shell: Shell):
    [small] = shell.sow(EXAMS, {**EXAM, "capacity": "1"})
    [contact] = shell.sow(CONTACTS, {"email": "a@b.example"})
    shell.sow(
        BOOKINGS,
        *({"booking_id": f"b{n}", **ACTIVE, "mock_exam_id": small, "contact_id": contact} for n in range(2)),
        {"booking_id": "stray", **ACTIVE, "contact_id": "404"},
    )
    done = shell.run("backfill")
    assert (done.exit_code, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("Read from HubSpot: 1 exams, 1 contacts, 3 bookings; 0 archived records; ")
    assert lines[1] == "The database now holds 3 bookings, 3 of them hold a seat."
    assert "Not taken as they are: 1" in lines
    assert "Exams oversold when they came in: 1" in lines
    assert "Students with several bookings in one exam: 1" in lines
    assert "Bookings of unknown contacts: 1" in lines
    assert json.loads(shell.run("backfill", "--json").stdout)["survey"]["doubles"]["count"] == 1


def test_many_findings_are_counted_and_the_first_are_told(shell: Shell):
    shell.sow(BOOKINGS, *({"booking_id": f"b{n}", **ACTIVE} for n in range(30)))
    lines = shell.run("backfill").stdout.splitlines()
    assert "Not taken as they are: 60" in lines
    assert "  … and 40 more" in lines


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"HUBSPOT_ACCESS_TOKEN": "pat-wrong"}, "HubSpot does not accept HUBSPOT_ACCESS_TOKEN."),
        ({"HUBSPOT_BOOKING_TYPE": "2-1"}, "HUBSPOT_BOOKING_TYPE=2-1 is no object type of this portal"),
        (
            {"HUBSPOT_BOOKING_KEY": "student_id"},
            "is not unique. HubSpot can make values unique only in a new property",
        ),
    ],
)
def test_what_must_be_set_up_first_is_one_line_and_exit_2(shell: Shell, more: dict[str, str], says: str):
    for command in (["backfill"], ["sync", "exams"]):
        if command == ["sync", "exams"] and "HUBSPOT_ACCESS_TOKEN" not in more:
            continue
        refused = shell.run(*command, **more)
        assert (refused.exit_code, refused.stdout) == (2, "")
        [line] = refused.stderr.strip().splitlines()
        assert says in line
        assert "pat-wrong" not in line


def test_a_database_without_the_schema_is_one_line_and_exit_2(shell: Shell, database_url: str):
    refused = shell.run("backfill", SUPABASE_DB_URL=database_url)
    assert refused.exit_code == 2
    assert "Run `lastseat schema apply`" in refused.stderr


def test_sync_says_how_many_in_the_prds_words(shell: Shell):
    [exam] = shell.sow(EXAMS, EXAM)
    shell.sow(BOOKINGS, {"booking_id": "b", **ACTIVE, "mock_exam_id": exam, "contact_id": "7"})
    assert shell.run("sync", "exams").stdout == "Synced 1 exams.\n"
    done = json.loads(shell.run("sync", "bookings", "--exam", exam, "--json").stdout)
    assert (done["message"], done["archived"]) == ("Synced 0 bookings", 0)
    shell.run("backfill")
    assert shell.run("sync", "bookings", "--exam", exam).stdout == "Synced 1 bookings.\n"


def test_sync_of_a_wrong_exam_is_one_line(shell: Shell):
    for exam_id, says in (("404", "There is no such exam."), ("x", "'x' is not a HubSpot record id: digits only.")):
        refused = shell.run("sync", "bookings", "--exam", exam_id)
        assert (refused.exit_code, refused.stderr) == (1, f"lastseat: {says}\n")


BARE = ("SUPABASE_DB_URL", "SUPABASE_URL", "REDIS_URL", "HUBSPOT_ACCESS_TOKEN")


@pytest.fixture
def no_stores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    for name in BARE:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(tools, "data_folder", lambda *_args, **_more: tmp_path)
    monkeypatch.setattr(tools, "bring_stores", lambda *_args: pytest.fail("no store may be started here"))
    return monkeypatch


DEMO = {"SUPABASE_DB_URL": "postgresql://d/1", "REDIS_URL": "redis://d", "HUBSPOT_ACCESS_TOKEN": "pat-demo"}


def noted(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    monkeypatch.setattr(tools.running, "read_note", lambda _folder: Running(port=1, pid=1, environment=environment))


def test_without_settings_the_stores_of_what_runs_here_are_used(no_stores: pytest.MonkeyPatch):
    noted(no_stores, DEMO)
    with ExitStack() as open_stores:
        settings = tools.settings_with_stores(open_stores)
    assert settings.supabase_db_url is not None
    assert settings.supabase_db_url.get_secret_value() == "postgresql://d/1"


def test_a_real_portal_is_not_read_into_the_demos_database(no_stores: pytest.MonkeyPatch):
    noted(no_stores, DEMO)
    no_stores.setenv("HUBSPOT_ACCESS_TOKEN", "pat-na1-real")
    with ExitStack() as open_stores, pytest.raises(SetupError, match="A demo runs in the data folder"):
        tools.settings_with_stores(open_stores)


def test_where_nothing_runs_the_embedded_stores_are_started(no_stores: pytest.MonkeyPatch, tmp_path: Path):
    applied: list[str] = []

    async def apply_to(url: str) -> None:
        applied.append(url)

    found = {"SUPABASE_DB_URL": "postgresql://e/1", "REDIS_URL": "redis://e"}
    no_stores.setattr(tools, "bring_stores", lambda *_args: Stores(tmp_path, found))
    no_stores.setattr(tools.schema, "apply_to", apply_to)
    no_stores.setenv("HUBSPOT_ACCESS_TOKEN", "pat-na1-real")
    with ExitStack() as open_stores:
        settings = tools.settings_with_stores(open_stores)
    assert applied == ["postgresql://e/1"]
    assert settings.redis_url is not None


def test_without_a_token_nothing_begins(no_stores: pytest.MonkeyPatch):
    noted(no_stores, {"SUPABASE_DB_URL": "postgresql://d/1", "REDIS_URL": "redis://d"})
    refused = CliRunner().invoke(main, ["backfill"])
    assert (refused.exit_code, len(refused.stderr.splitlines())) == (2, 1)
    assert "HUBSPOT_ACCESS_TOKEN is not set." in refused.stderr
