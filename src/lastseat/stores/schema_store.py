"""Runs the schema's steps in one transaction and reads what was applied; never decides what a step says."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import asyncpg

from lastseat.errors import SetupError

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]

_CONNECT_TIMEOUT_S = 10.0
_CLOSE_TIMEOUT_S = 5.0
_STEP_TIMEOUT_S = 300.0
_REFUSED = "LS100"


class Step(NamedTuple):
    """A piece of SQL and the name to give when it fails."""

    name: str
    sql: str


class Applied(NamedTuple):
    """What a database remembers: digests of migrations by version and of function files by name, routines there."""

    migrations: dict[int, tuple[str, str]]
    functions: dict[str, str]
    routines: frozenset[str]


async def read(url: str) -> Applied:
    """What was applied to this database; everything empty when it is new."""
    async with _connected(url) as connection:
        # A transaction pooler keeps one server for a transaction only, and a query is two trips.
        await connection.execute("begin read only")
        return await _applied(connection)


async def run(url: str, steps: Sequence[Step]) -> tuple[Applied, Applied]:
    """Run all steps or none; return what was applied before and after.

    The first step takes the turn, so "before" is read after it and no other run can come between.
    """
    async with _connected(url) as connection:
        # Crash: whatever ends this before the commit ends the connection, and with it the transaction.
        await connection.execute("begin")
        await _step(connection, steps[0])
        before = await _applied(connection)
        for step in steps[1:]:
            await _step(connection, step)
        after = await _applied(connection)
        await connection.execute("commit")
        return before, after


async def _step(connection: "Connection", step: Step) -> None:
    try:
        await connection.execute(step.sql, timeout=_STEP_TIMEOUT_S)
    except asyncpg.PostgresError as error:
        if error.sqlstate == _REFUSED:
            raise SetupError(
                str(error), way_out="Use the version of Lastseat that this database was set up with."
            ) from error
        line = str(error).splitlines()[0]
        raise SetupError(
            f"The schema was not changed: {step.name} failed: {line}.",
            way_out="The role of SUPABASE_DB_URL must own the schemas; `lastseat schema print` shows the SQL.",
        ) from error


async def _applied(connection: "Connection") -> Applied:
    if await connection.fetchval("select to_regclass('hubspot_sync.schema_migrations') is null"):
        return Applied({}, {}, frozenset())
    migrations = await connection.fetch("select version, name, sha256 from hubspot_sync.schema_migrations")
    functions = await connection.fetch("select name, sha256 from hubspot_sync.schema_functions")
    routines = await connection.fetch(
        "select p.oid::regprocedure::text as name from pg_proc p join pg_namespace n on n.oid = p.pronamespace"
        " where n.nspname = 'lastseat_api'"
    )
    return Applied(
        {row["version"]: (row["name"], row["sha256"]) for row in migrations},
        {row["name"]: row["sha256"] for row in functions},
        frozenset(row["name"] for row in routines),
    )


@asynccontextmanager
async def _connected(url: str) -> AsyncGenerator["Connection"]:
    place = urlsplit(url).netloc.rpartition("@")[2] or "SUPABASE_DB_URL"
    try:
        # A transaction pooler gives each transaction another server: nothing may be prepared ahead.
        connection = await asyncpg.connect(url, timeout=_CONNECT_TIMEOUT_S, statement_cache_size=0)
        try:
            yield connection
        finally:
            await connection.close(timeout=_CLOSE_TIMEOUT_S)
    except (OSError, TimeoutError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        said = (str(error) or "no answer").splitlines()[0].rstrip(".")
        raise SetupError(
            f"Postgres at {place} cannot be used: {said}.",
            way_out="Check SUPABASE_DB_URL, that the database runs, and that its role owns the schemas.",
        ) from error
