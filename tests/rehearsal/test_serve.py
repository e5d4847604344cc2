"""`lastseat serve` says its way to Supabase, and refuses a database that it cannot use before it announces itself."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import asyncpg
import pytest
from click.testing import CliRunner, Result

from lastseat.cli import main
from lastseat.embedded.ports import free_port
from lastseat.rehearsal.lines import ask
from tests.rehearsal.rest_stub import RestStub, rest_stub

KEY = "sb_secret_" + "0123456789abcdef"
NAMES = ("SUPABASE_DB_URL", "SUPABASE_URL", "SUPABASE_SERVICE_KEY", "REDIS_URL")
ENOUGH = {
    "HUBSPOT_ACCESS_TOKEN": "pat-x",
    "HUBSPOT_BASE_URL": "http://127.0.0.1:9",
    "SUPABASE_JWT_SECRET": "a-secret-of-this-test-that-is-long-enough",
    "REDIS_URL": "redis://127.0.0.1:9",
}


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)

    def served(*_: object) -> None:
        raise AssertionError("the site was announced")

    monkeypatch.setattr("lastseat.cli.serving._serve", served)


@pytest.fixture
def rest() -> Iterator[RestStub]:
    with rest_stub(KEY) as stub:
        yield stub


def serve(**environment: str) -> Result:
    arguments = ["serve", "--port", str(free_port())]
    return CliRunner().invoke(main, arguments, env={**ENOUGH, **environment}, prog_name="lastseat")


def refused(result: Result, *words: str) -> None:
    assert result.exit_code == 2, (result.output, result.exception)
    (line,) = result.stderr.strip().splitlines()
    assert [word for word in words if word not in line] == []
    assert KEY[7:] not in result.output
    assert "Lastseat is at" not in result.output


def test_a_key_that_the_project_does_not_know_is_refused(rest: RestStub):
    stranger = "sb_secret_" + "f" * 16
    refused(
        serve(SUPABASE_URL=rest.url, SUPABASE_SERVICE_KEY=stranger), "was refused (401: Invalid API key)", "Set it"
    )
    assert rest.asked == ["health"]


def test_a_public_key_is_refused_before_any_call(rest: RestStub):
    refused(
        serve(SUPABASE_URL=rest.url, SUPABASE_SERVICE_KEY="sb_publishable_abc"), "is the public key", "service_role"
    )
    assert rest.asked == []


def test_half_of_the_way_by_rest_is_refused_and_no_store_is_started(rest: RestStub, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lastseat.cli.serving.bring_stores", lambda *_: pytest.fail("a store was started"))
    refused(serve(SUPABASE_URL=rest.url), "SUPABASE_URL is set, SUPABASE_SERVICE_KEY is not.")
    refused(serve(SUPABASE_SERVICE_KEY=KEY), "SUPABASE_SERVICE_KEY is set, SUPABASE_URL is not.")


def test_a_project_that_nobody_answers_for_is_refused():
    address = f"http://127.0.0.1:{free_port()}"
    refused(serve(SUPABASE_URL=address, SUPABASE_SERVICE_KEY=KEY), "cannot be reached", "Check SUPABASE_URL")


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (404, {"code": "PGRST202", "message": "no function"}, ["lastseat schema apply", "lastseat schema print"]),
        (406, {"code": "PGRST106", "message": "The schema must be one of"}, ["exposed schemas"]),
        (503, {"code": "PGRST002", "message": "no connection"}, ["503", "Check SUPABASE_URL"]),
    ],
)
def test_a_project_that_is_not_set_up_is_refused(rest: RestStub, status: int, body: object, words: list[str]):
    rest.refusal = (status, body)
    refused(serve(SUPABASE_URL=rest.url, SUPABASE_SERVICE_KEY=KEY), *words)


async def changed(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(statement)
    await connection.close()


OLDER = "delete from hubspot_sync.schema_functions where name like '7%'"
NEWER = "insert into hubspot_sync.schema_migrations (version, name, sha256) values (9999, '9999_later.sql', 'x')"


@pytest.mark.embedded
@pytest.mark.parametrize("transport", ["direct", "rest"])
@pytest.mark.parametrize(
    ("change", "words"),
    [(OLDER, ["is pending", "lastseat schema apply"]), (NEWER, ["9999_later.sql is unknown", "Use the version"])],
)
def test_a_schema_of_another_version_is_refused(
    schema_database_url: str, transport: str, change: str, words: list[str]
):
    asyncio.run(changed(schema_database_url, change))
    if transport == "direct":
        refused(serve(SUPABASE_DB_URL=schema_database_url), "not this version's", *words)
        return
    with rest_stub(KEY, schema_database_url) as stub:
        refused(serve(SUPABASE_URL=stub.url, SUPABASE_SERVICE_KEY=KEY), "not this version's", *words)


def said_by_a_server(**environment: str) -> str:
    """What `lastseat serve` says until it announces itself; it is stopped then."""
    port = free_port()
    command = [sys.executable, "-m", "lastseat", "serve", "--port", str(port)]
    server = subprocess.Popen(
        command,
        env={**os.environ, **ENOUGH, **environment, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert server.stdout is not None
    try:
        said = ""
        while "Lastseat is at" not in said:
            line = server.stdout.readline()
            assert line, said
            said += line
        while asyncio.run(ask(port, "GET", "/api/health")).status != 200:
            assert server.poll() is None
        server.send_signal(signal.SIGINT)
        return said + server.communicate(timeout=60)[0]
    finally:
        server.kill()
        server.wait()


@pytest.mark.embedded
def test_the_way_to_supabase_is_said_once_at_start_and_the_key_is_not(schema_database_url: str, redis_url: str):
    with rest_stub(KEY, schema_database_url) as stub:
        said = said_by_a_server(SUPABASE_URL=stub.url, SUPABASE_SERVICE_KEY=KEY, REDIS_URL=redis_url)
    place = stub.url.removeprefix("http://")
    assert said.count("Supabase over") == 1
    assert f"Supabase over REST, PostgREST at {place} with the key sb_sec….\n" in said
    assert KEY[:7] not in said
    said = said_by_a_server(SUPABASE_DB_URL=schema_database_url, REDIS_URL=redis_url)
    assert re.findall(r"Supabase over .*", said) == [
        f"Supabase over direct connections, Postgres at {schema_database_url.rpartition('@')[2].partition('/')[0]}."
    ]
