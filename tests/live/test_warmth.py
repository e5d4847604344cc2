"""The connections of a process are open, and have their plans, before a rush needs them."""

import asyncio

import asyncpg
import pytest

from lastseat.errors import Unavailable
from lastseat.settings import Settings
from lastseat.upkeep import warmth
from lastseat.web.app import create_app
from lastseat.wire import build
from tests.reads.waiting import until
from tests.web.caller import running
from tests.web.fakes import SECRET

# What a rush calls, by the functions whose statements are its work.
RUSH = {
    "claim",
    "judge",
    "answers_json",
    "lookup",
    "outcomes",
    "settle_rows",
    "mirror_bookings",
    "facts_written",
    "due",
}
TABLES = ("claims", "outbox", "hubspot_bookings", "hubspot_mock_exams", "audit_log", "relay_lease")
COUNTED = "select " + ", ".join(f"(select count(*) from hubspot_sync.{table})" for table in TABLES)
OPEN = """
select count(*) from pg_stat_activity
 where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()
"""


@pytest.fixture
async def onlooker(schema_database_url: str):
    connection = await asyncpg.connect(schema_database_url)
    yield connection
    await connection.close()


@pytest.mark.embedded
@pytest.mark.parametrize("warmed", [True, False])
async def test_all_connections_are_open_before_anybody_asks(
    onlooker: asyncpg.Connection,
    schema_database_url: str,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
    warmed: bool,
):
    if not warmed:  # the negative control
        monkeypatch.setattr(warmth.Warmth, "_warm", lambda self: asyncio.sleep(0))
    settings = Settings(
        supabase_db_url=schema_database_url,
        redis_url=redis_url,
        supabase_jwt_secret=SECRET,
        hubspot_access_token="pat-x",
        postgres_pool=5,
    )

    async def all_open() -> bool:
        return await onlooker.fetchval(OPEN) == settings.postgres_pool

    async with running(create_app(build(settings))):
        if warmed:
            await until(all_open)
        else:
            await asyncio.sleep(1)
            assert not await all_open()


async def test_warming_calls_what_a_rush_calls_and_changes_nothing(onlooker: asyncpg.Connection):
    before = await onlooker.fetchrow(COUNTED)
    async with onlooker.transaction():
        await onlooker.execute("set local track_functions = 'all'")
        assert await onlooker.fetchval("select lastseat_api.warm('{}')::text") == "{}"
        called = {row["funcname"] for row in await onlooker.fetch("select funcname from pg_stat_xact_user_functions")}
    assert called >= RUSH
    assert await onlooker.fetchrow(COUNTED) == before


async def test_a_database_that_is_away_is_warmed_when_it_is_back(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(warmth, "AGAIN_S", 0.01)
    asked: list[str] = []

    class Away:
        async def call(self, function: str, args: bytes) -> bytes:
            asked.append(function)
            if len(asked) <= 4:
                raise Unavailable("Postgres cannot be reached")
            return b"{}"

    task = asyncio.create_task(warmth.Warmth(Away(), connections=2).run())
    await until(lambda: asyncio.sleep(0, len(asked) >= 8))
    assert not task.done()
    task.cancel()
    assert set(asked) == {"warm"}
