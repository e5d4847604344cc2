"""The ways to one and the same set of SQL functions, as the contract suite's parameter."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from lastseat.stores.postgres import PostgresDatabase
from lastseat.stores.postgrest import PostgrestDatabase
from tests.contract.faults import FaultProxy
from tests.contract.servers import IN_LANE, Servers

Transport = PostgresDatabase | PostgrestDatabase
STATEMENT_DONE: Final = b"s\0\0\0\4"  # how Postgres ends the reply to a call that asks for one row

ALWAYS: Final = ("postgres 18", "postgres 16")
LANE: Final = ("postgres 17", "pgbouncer", "postgrest, service key", "gateway, service key", "gateway, secret key")
NAMES: Final = ALWAYS + LANE if IN_LANE else ALWAYS
DIRECT: Final = tuple(name for name in NAMES if name.startswith(("postgres ", "pgbouncer")))

_EMPTY = """
do $$
declare
    name regclass;
begin
    -- Few rows, many tables: to delete them is several times cheaper than to truncate.
    for name in select c.oid from pg_class c where c.relnamespace = 'hubspot_sync'::regnamespace and c.relkind = 'r'
                   and c.relname not in ('schema_migrations', 'schema_functions', 'relay_lease')
    loop
        execute format('delete from %s', name);
    end loop;
    update hubspot_sync.relay_lease set holder = null, term = 0, expires_at = '-infinity';
end
$$
"""


@dataclass(frozen=True)
class Way:
    """`owner_url` leads straight to the database, as its owner; `url` is what the transport talks to."""

    name: str
    owner_url: str
    url: str
    key: str = ""
    rest_path: str = ""

    @property
    def is_rest(self) -> bool:
        return bool(self.key)

    def open(self, *, connections: int = 6, timeout_s: float = 5.0) -> Transport:
        """A new transport; close it."""
        if not self.is_rest:
            return PostgresDatabase(self.url, connections=connections, timeout_s=timeout_s)
        return PostgrestDatabase(
            self.url, self.key, rest_path=self.rest_path, connections=connections, timeout_s=timeout_s
        )

    def proxy(self) -> FaultProxy:
        """A proxy that stands before the server of this way."""
        port = urlsplit(self.url).port
        assert port is not None
        return FaultProxy(port, end_of_reply=b"" if self.is_rest else STATEMENT_DONE)

    def through(self, proxy: FaultProxy) -> "Way":
        """The same way, through the proxy."""
        place = urlsplit(self.url)
        netloc = f"{place.netloc.rpartition(':')[0]}:{proxy.port}"
        url = urlunsplit(place._replace(netloc=netloc))
        return Way(self.name, self.owner_url, url, self.key, self.rest_path)

    async def rows(self, query: str, *args: object) -> list[asyncpg.Record]:
        """Look straight into the database."""
        connection = await asyncpg.connect(self.owner_url)
        try:
            return await connection.fetch(query, *args)
        finally:
            await connection.close()

    async def empty(self) -> None:
        """Every table as after the schema was applied."""
        await self.rows(_EMPTY)


def way_to(name: str, servers: Servers, postgres_18: Callable[[], str]) -> Way:
    """Start what this way needs."""
    match name:
        case "postgres 18":
            url = postgres_18()
            return Way(name, url, url)
        case "postgres 16" | "postgres 17":
            url = servers.postgres(int(name[-2:]))
            return Way(name, url, url)
        case "pgbouncer":
            return Way(name, servers.postgres(17), servers.pgbouncer())
        case "postgrest, service key":
            behind = servers.postgrest()
            return Way(name, servers.postgres(17), behind.url, behind.key("service_role"))
        case _:
            gateway = servers.gateway()
            key = gateway.secret_key if name == "gateway, secret key" else gateway.legacy_key
            return Way(name, servers.postgres(17), gateway.url, key, "/rest/v1")
