"""A database as a Supabase project has it, with an older app in it, and our schema applied on top."""

import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from lastseat.stores.hubspot_codec import Codec
from lastseat.stores.ledger import Ledger
from lastseat.stores.postgres import PostgresDatabase
from lastseat.upkeep import schema
from tests.contract.servers import IN_LANE, Servers
from tests.embedded_stack import Databases

collect_ignore = [] if IN_LANE else ["test_rest.py"]
PUBLIC_ROLES = ("anon", "authenticated")

# Supabase's own roles and its defaults for schema public, and an app that used them before us.
SUPABASE = """
do $$
declare
    name text;
begin
    foreach name in array array['anon', 'authenticated', 'service_role', 'authenticator'] loop
        if not exists (select from pg_roles where rolname = name) then
            execute format('create role %I nologin noinherit', name);
        end if;
    end loop;
end
$$;
alter role service_role bypassrls;
alter role authenticator login;
grant anon, authenticated, service_role to authenticator;
grant usage on schema public to anon, authenticated, service_role;
alter default privileges in schema public grant all on tables to anon, authenticated, service_role;
alter default privileges in schema public grant all on functions to anon, authenticated, service_role;
alter default privileges in schema public grant all on sequences to anon, authenticated, service_role;
create table public.older (id serial, note text);
insert into public.older (note) values ('of another app');
create function public.older_rule() returns int language sql as 'select 1';
"""


async def as_on_supabase(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(SUPABASE)
    finally:
        await connection.close()
    await schema.apply_to(url)


@pytest.fixture
def url(databases: Databases) -> Iterator[str]:
    url = databases.fresh(as_on_supabase)
    yield url
    databases.drop(url)


@pytest.fixture
async def owner(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    yield connection
    await connection.close()


@asynccontextmanager
async def signed_in(url: str, owner: asyncpg.Connection, role: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection as PostgREST makes it: signs in as `authenticator`, then becomes the role."""
    word = secrets.token_hex(8)
    await owner.execute(f"alter role authenticator login password '{word}'")
    place = urlsplit(url)
    connection = await asyncpg.connect(
        urlunsplit(place._replace(netloc=f"authenticator:{word}@{place.hostname}:{place.port}"))
    )
    try:
        await connection.execute(f'set role "{role}"')
        yield connection
    finally:
        await connection.close()


@pytest.fixture
async def ledger(url: str) -> AsyncIterator[Ledger]:
    database = PostgresDatabase(url, connections=4, timeout_s=5)
    yield Ledger(database, Codec("America/Toronto"), timezone="America/Toronto", verify_after_s=60)
    await database.close()


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    servers = Servers()
    yield servers
    servers.close()
