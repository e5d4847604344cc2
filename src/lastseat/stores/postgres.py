"""Calls the SQL functions over direct Postgres connections; never builds SQL from values and never retries."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import asyncpg

from lastseat.errors import LastseatError, SetupError, Unavailable, Uncertain
from lastseat.stores.sqlstates import Shut, meaning_of

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]
    Pool = asyncpg.Pool[asyncpg.Record]

_TRANSACTION_POOLER_PORT = 6543  # Supabase's pooler in transaction mode
_NAMED_STATEMENTS = 100
_REFUSALS = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError)
_TROUBLES = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
_CANCEL_S = 0.5  # Limit: how long a call that was given up may take to end before its connection is cut
_CLOSE_S = 2.0


class _StatelessConnection(asyncpg.Connection):
    """A connection whose return to the pool costs nothing: no function leaves session state behind."""

    async def reset(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109  # the signature is asyncpg's
        """Skip the RESET round trip (measured: +40 to 65 % per query)."""


class PostgresDatabase:
    """Port Database over an asyncpg pool; direct, session pooler or transaction pooler."""

    def __init__(self, url: str, *, connections: int, timeout_s: float) -> None:
        self._url = url
        self._place = _place(url)
        self._connections = connections
        self._timeout_s = timeout_s
        self._pooled = False
        self._pool: Pool | None = None
        self._opening = asyncio.Lock()

    @property
    def name(self) -> str:
        """What is used and where, without the password."""
        return f"Postgres at {self._place}" + (" through a pooler" if self._pooled else "")

    @property
    def described(self) -> str:
        """The same in words for an operator: which transport this is."""
        return f"direct connections, {self.name}"

    @property
    def setting(self) -> str:
        """The setting that leads here, for advice."""
        return "SUPABASE_DB_URL"

    async def call(self, function: str, args: bytes) -> bytes:
        """Run `lastseat_api.<function>(args)` as one statement, thus one transaction."""
        sent = False
        try:
            async with self._connection() as connection:
                sent = True
                answer = await connection.fetchval(
                    f"select lastseat_api.{function}($1::jsonb)::text",  # names come from our code only
                    args.decode(),
                    timeout=self._timeout_s,
                )
                return str(answer).encode()
        except _TROUBLES as error:
            raise self._answered(error, function) if sent else self._unopened(error, function) from error

    async def close(self) -> None:
        """Close the pool; a call that is under way is cut after a moment."""
        if self._pool is None:
            return
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator["asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"]:
        pool = self._pool or await self._open()
        connection = await pool.acquire(timeout=self._timeout_s)
        try:
            yield connection
        except asyncpg.InternalClientError:
            # Crash: Postgres said that it ends, the end itself is not here yet; the next caller must not meet it.
            connection.terminate()
            raise
        finally:
            await pool.release(connection, timeout=_CANCEL_S)

    async def _open(self) -> "Pool":
        async with self._opening:
            if self._pool is None:
                self._pooled = self._place.endswith(f":{_TRANSACTION_POOLER_PORT}") or await self._finds_a_pooler()
                self._pool = await asyncpg.create_pool(
                    self._url,
                    min_size=1,
                    max_size=self._connections,
                    statement_cache_size=0 if self._pooled else _NAMED_STATEMENTS,
                    connection_class=_StatelessConnection,
                    timeout=self._timeout_s,
                )
            return self._pool

    async def _finds_a_pooler(self) -> bool:
        """Whether somebody stands between: then the process that answers is not the one that greeted us.

        Race: behind a transaction pooler each transaction may meet another server, where a named statement is
        missing, or worse, is another client's of the same name. So none is named there, at a trip more per call.
        """
        connection: Connection = await asyncpg.connect(self._url, timeout=self._timeout_s, statement_cache_size=0)
        try:
            answering = await connection.fetchval("select pg_backend_pid()", timeout=self._timeout_s)
            return answering != connection.get_server_pid()
        finally:
            connection.terminate()

    def _answered(self, error: Exception, function: str) -> LastseatError:
        where, state = f"{self.name}, {function}", getattr(error, "sqlstate", None)
        if isinstance(error, asyncpg.PostgresError) and isinstance(state, str):
            return meaning_of(state, str(error), where)
        return Uncertain(f"{where}: the reply was lost ({type(error).__name__})")

    def _unopened(self, error: Exception, function: str) -> LastseatError:
        """Nothing was sent, whatever it was."""
        where = f"{self.name}, {function}"
        line = str(error).splitlines()[0] if str(error) else "no answer in time"
        if isinstance(error, _REFUSALS):
            return Shut(f"{where}: {line}", way_out="Check the user, password and database in SUPABASE_DB_URL.")
        return Unavailable(f"{where}: cannot be reached ({type(error).__name__}: {line})", unsent=True)


def _place(url: str) -> str:
    try:
        place = urlsplit(url)
        port = place.port or 5432
    except ValueError as error:
        raise SetupError(
            "SUPABASE_DB_URL cannot be understood.",
            way_out="Set it to postgresql://user:password@host:port/database.",
        ) from error
    return f"{place.hostname}:{port}"
