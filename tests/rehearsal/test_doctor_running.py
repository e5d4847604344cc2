"""The doctor of a running service says its transport, its schema and what lies open, over REST too."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from click.testing import CliRunner, Result

from lastseat.cli import main, running
from lastseat.rehearsal.kept import calls_so_far
from tests.rehearsal.rest_stub import RestStub, rest_stub

pytestmark = pytest.mark.embedded
KEY = "sb_secret_" + "0123456789abcdef"
EXAM = """
insert into hubspot_sync.hubspot_mock_exams (hubspot_id, mock_exam_name, capacity, exam_date)
values ('7', 'Ahead', 3, current_date + 7)
"""
OPENED = "grant select on hubspot_sync.claims to anon"
BARE = "create table hubspot_sync.forgotten (id int)"
THEIRS = "create table public.older (id int)"
NAMES = ("SUPABASE_DB_URL", "SUPABASE_URL", "SUPABASE_SERVICE_KEY", "REDIS_URL", "HUBSPOT_ACCESS_TOKEN")


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("lastseat.cli.checking.SECOND_LOOK_S", 0.0)


@pytest.fixture
def rest(schema_database_url: str) -> Iterator[RestStub]:
    with rest_stub(KEY, schema_database_url) as stub:
        yield stub


def run(url: str, *statements: str) -> None:
    async def ran() -> None:
        connection = await asyncpg.connect(url)
        for statement in statements:
            await connection.execute(statement)
        await connection.close()

    asyncio.run(ran())


def doctor(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(main, ["doctor", *arguments], env=environment, prog_name="lastseat")


def over(rest: RestStub) -> dict[str, str]:
    return {"SUPABASE_URL": rest.url, "SUPABASE_SERVICE_KEY": KEY}


def test_over_rest_it_checks_what_lies_ahead(rest: RestStub, schema_database_url: str):
    run(schema_database_url, EXAM)
    result = doctor(**over(rest))
    assert result.exit_code == 0, result.output
    place = rest.url.removeprefix("http://")
    assert f"Supabase over REST, PostgREST at {place} with the key sb_sec…; its server is " in result.stdout
    assert "Schema: this version's.\nOpen to the public: nothing of ours.\nSeen: 1 exams" in result.stdout
    assert "I2  holds " in result.stdout
    assert "with SUPABASE_DB_URL it sees everything" in result.stderr
    assert KEY[:7] not in result.output
    run(schema_database_url, "update hubspot_sync.hubspot_mock_exams set seats_taken = 1")
    broken = doctor(**over(rest))
    assert (broken.exit_code, "I2  BROKEN" in broken.stdout) == (1, True)


def test_with_no_exam_it_says_the_health_and_that_there_is_nothing_to_check(rest: RestStub):
    result = doctor(**over(rest))
    assert result.exit_code == 1
    assert "Schema: this version's." in result.stdout
    assert "Nothing to check" in result.stderr


def test_a_key_that_is_refused_is_one_line(rest: RestStub):
    result = doctor(**over(rest) | {"SUPABASE_SERVICE_KEY": KEY + "0"})
    assert (result.exit_code, result.stdout) == (2, "")
    assert "SUPABASE_SERVICE_KEY was refused" in result.stderr.splitlines()[-1]


@pytest.mark.parametrize("transport", ["direct", "rest"])
def test_what_of_ours_lies_open_breaks_a_promise_and_what_is_not_ours_is_a_note(
    rest: RestStub, schema_database_url: str, transport: str
):
    environment = over(rest) if transport == "rest" else {"SUPABASE_DB_URL": schema_database_url}
    run(schema_database_url, EXAM, THEIRS)
    result = doctor(**environment)
    assert result.exit_code == 0, result.output
    assert "of others, not ours to close: public.older" in result.stdout
    assert "note: public.older, which is not ours" in result.stdout
    run(schema_database_url, OPENED, BARE)
    result = doctor(**environment)
    assert result.exit_code == 1
    assert "I9  BROKEN" in result.stdout
    assert "table hubspot_sync.forgotten (no row level security) is open" in result.stdout
    assert "table hubspot_sync.claims (to anon) is open" in result.stdout
    body = json.loads(doctor("--json", **environment).stdout)
    assert body["supabase"]["exposed"] == ["table hubspot_sync.claims (to anon)"]
    assert body["supabase"]["unprotected_tables"] == ["hubspot_sync.forgotten", "public.older"]


def test_a_schema_of_another_version_is_told_and_fails(schema_database_url: str):
    run(schema_database_url, EXAM, "update hubspot_sync.schema_functions set sha256 = 'x' where name like '10_%'")
    result = doctor(SUPABASE_DB_URL=schema_database_url)
    assert result.exit_code == 1
    assert "Schema: BROKEN  The database's schema is not this version's: 10_claim.sql is changed." in result.stdout
    body = json.loads(doctor("--json", SUPABASE_DB_URL=schema_database_url).stdout)
    assert (body["healthy"], body["supabase"]["schema"]["differs"]) == (False, {"10_claim.sql": "changed"})


def test_a_log_that_is_still_written_is_read_up_to_its_last_whole_line(tmp_path: Path):
    log = tmp_path / "requests.jsonl"
    whole = b'{"seq":1,"arrived_at":1.5,"operation":"list","status":200}\n'
    log.write_bytes(whole + whole[:20])
    assert [(call.at, call.kind) for call in calls_so_far(log)] == [(1.5, "read")]


@pytest.mark.parametrize(("apart_s", "exit_code", "state"), [(1.0, 0, "holds "), (0.5, 1, "BROKEN")])
def test_of_a_demo_it_counts_the_calls_that_its_emulator_heard(
    schema_database_url: str, tmp_path: Path, apart_s: float, exit_code: int, state: str
):
    run(schema_database_url, EXAM)
    (tmp_path / "hubspot").mkdir()
    line = '{"seq":1,"arrived_at":%f,"operation":"batch_upsert","status":200}\n'
    (tmp_path / "hubspot" / "requests.jsonl").write_text("".join(line % (n * apart_s) for n in range(15)))
    with running.Noting(tmp_path) as noting:
        noting.note(1, {"SUPABASE_DB_URL": schema_database_url, "HUBSPOT_RATE_LIMIT": "10"})
        result = doctor("--data", str(tmp_path))
    assert result.exit_code == exit_code, result.output
    assert f"I8  {state}" in result.stdout
    assert "15 HubSpot calls" in result.stdout
