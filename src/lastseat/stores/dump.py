"""Copies the whole ledger out for a judge, and says what still waits; never changes a row."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import asyncpg
import msgspec

from lastseat.errors import SetupError, Unavailable

CONNECT_S: Final = 5.0
Dump = dict[str, list[dict[str, Any]]]

_TABLES = """
select relname, oid::regclass::text from pg_class
 where relnamespace = 'hubspot_sync'::regnamespace and relkind in ('r', 'p') order by relname
"""
_UNFINISHED = """
select count(*) from hubspot_sync.outbox where state in ('waiting', 'sent', 'mirrored') or verify_at is not null
"""
_HOLDER = "select holder from hubspot_sync.relay_lease where expires_at > clock_timestamp()"


class LedgerView:
    """A read-only look at the ledger over one connection."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._connection = connection

    async def dump(self) -> Dump:
        """Every table as rows, all of one instant."""
        # One snapshot: seats taken and the rows they stand for are compared, so they must belong together.
        async with self._connection.transaction(isolation="repeatable_read", readonly=True):
            found = await self._connection.fetch(_TABLES)
            return {str(row[0]): await self._rows(str(row[1])) for row in found}

    async def unfinished(self) -> int:
        """How many outbox rows somebody still has to act on."""
        return int(await self._connection.fetchval(_UNFINISHED) or 0)

    async def lease_holder(self) -> str | None:
        """Who holds the relay's lease now; None: nobody does."""
        holder = await self._connection.fetchval(_HOLDER)
        return None if holder is None else str(holder)

    async def _rows(self, table: str) -> list[dict[str, Any]]:
        # The name is the database's own and quoted by it; no value of anybody's stands in the text.
        text = await self._connection.fetchval(
            f"select coalesce(jsonb_agg(to_jsonb(t)), '[]')::text from {table} t"  # noqa: S608  as said above
        )
        return msgspec.json.decode(str(text), type=list[dict[str, Any]])


@asynccontextmanager
async def ledger_view(url: str) -> AsyncGenerator[LedgerView]:
    """Open the ledger, or say in one line why not."""
    place = urlsplit(url)
    where = f"Postgres at {place.hostname}:{place.port or 5432}"
    try:
        connection = await asyncpg.connect(url, timeout=CONNECT_S, statement_cache_size=0)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as problem:
        raise Unavailable(f"Cannot reach {where}: {_said(problem)}. Check SUPABASE_DB_URL.") from problem
    try:
        yield LedgerView(connection)
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError) as problem:
        way_out = "Run `lastseat schema apply` first."
        raise SetupError(f"{where} does not have Lastseat's tables.", way_out=way_out) from problem
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as problem:
        raise Unavailable(f"{where} broke off: {_said(problem)}.") from problem
    finally:
        connection.terminate()


async def dump_ledger(url: str) -> Dump:
    """Every table of the ledger as rows, all of one instant."""
    async with ledger_view(url) as view:
        return await view.dump()


def _said(problem: BaseException) -> str:
    return str(problem).splitlines()[0].rstrip(".") if str(problem) else "no answer in time"
