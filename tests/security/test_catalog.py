"""What the catalog says of every table and function, so that a new one cannot be forgotten; each with its control."""

import asyncpg
import pytest

from lastseat.stores.health import health_of
from lastseat.stores.postgres import PostgresDatabase
from tests.security.conftest import PUBLIC_ROLES, signed_in

UNPINNED = """
select p.oid::regprocedure::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace
 where n.nspname in ('hubspot_sync', 'lastseat_api')
   and not exists (select from unnest(p.proconfig) c where c ~ '^search_path=(hubspot_sync|pg_catalog), pg_temp$')
"""
WRONG_RIGHTS = """
select p.oid::regprocedure::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace
 where n.nspname in ('hubspot_sync', 'lastseat_api') and p.prosecdef <> (n.nspname = 'lastseat_api')
"""
UNPROTECTED = """
select c.relname from pg_class c where c.relnamespace = 'hubspot_sync'::regnamespace and c.relkind in ('r', 'p')
   and not (c.relrowsecurity and exists (
       select from pg_policies p where p.schemaname = 'hubspot_sync' and p.tablename = c.relname and p.cmd = 'ALL'
          and p.permissive = 'PERMISSIVE' and p.roles @> '{anon,authenticated}' and p.qual = 'false'
          and p.with_check = 'false'))
"""
LENIENT = """
select tablename || ': ' || policyname from pg_policies
 where schemaname = 'hubspot_sync' and (qual is distinct from 'false' or with_check is distinct from 'false')
"""
# The PRD's own words, for its own schema and for ours.
PRD_QUERY = """
SELECT schemaname, tablename FROM pg_tables WHERE schemaname = '{0}'
AND tablename NOT IN (SELECT tablename FROM pg_policies WHERE schemaname = '{0}')
"""
PLANTED = {
    UNPINNED: "create function hubspot_sync.f() returns int language sql as 'select 1'",
    WRONG_RIGHTS: "create function hubspot_sync.f() returns int language sql security definer as 'select 1'",
    UNPROTECTED: "create table hubspot_sync.forgotten (id int); alter table hubspot_sync.forgotten"
    " enable row level security",
    LENIENT: "create policy open on hubspot_sync.claims to anon using (true)",
    PRD_QUERY.format("hubspot_sync"): "create table hubspot_sync.forgotten (id int)",
}


@pytest.mark.parametrize("query", PLANTED, ids=["search path", "rights", "protected", "policies", "the PRD's query"])
async def test_nothing_is_left_open_and_a_hole_would_be_seen(owner, query):
    assert await owner.fetch(query) == []
    await owner.execute(PLANTED[query])
    assert len(await owner.fetch(query)) == 1


async def test_the_doctors_list_of_unprotected_tables_holds_the_prds_and_more(url, owner):
    database = PostgresDatabase(url, connections=1, timeout_s=5)
    assert (await health_of(database)).unprotected_tables == ["public.older"]
    for statement in (
        "create table public.guarded (id int); alter table public.guarded enable row level security;"
        "create policy closed on public.guarded using (false)",
        "create table public.half (id int); alter table public.half enable row level security",
        "create table public.switched_off (id int); create policy closed on public.switched_off using (false)",
        "create table hubspot_sync.forgotten (id int)",
        "create materialized view hubspot_sync.copied as select * from hubspot_sync.claims",
        "create view hubspot_sync.as_owner as select * from hubspot_sync.claims",
    ):
        await owner.execute(statement)
    found = set((await health_of(database)).unprotected_tables)
    await database.close()
    names = {"public.older", "public.half", "public.switched_off"}
    ours = {"hubspot_sync.forgotten", "hubspot_sync.copied", "hubspot_sync.as_owner"}
    assert found == names | ours
    theirs = {f"{row['schemaname']}.{row['tablename']}" for row in await owner.fetch(PRD_QUERY.format("public"))}
    assert theirs <= found


@pytest.mark.parametrize("role", PUBLIC_ROLES)
async def test_what_the_owner_makes_later_is_closed_from_its_first_moment(url, owner, role):
    for schema_name in ("public", "hubspot_sync", "lastseat_api"):
        await owner.execute(f"create table {schema_name}.later (id serial, name text)")
        await owner.execute(f"create function {schema_name}.later_rule() returns int language sql as 'select 1'")
        await owner.execute(f"create view {schema_name}.later_view as select * from {schema_name}.later")
        # Not the schema's door but the thing itself is to be shut.
        await owner.execute(f"grant usage on schema {schema_name} to {role}")
    async with signed_in(url, owner, role) as connection:
        for schema_name in ("public", "hubspot_sync", "lastseat_api"):
            for statement in (
                f"select * from {schema_name}.later",
                f"insert into {schema_name}.later (name) values ('x')",
                f"select * from {schema_name}.later_view",
                f"select nextval('{schema_name}.later_id_seq')",
                f"select {schema_name}.later_rule()",
            ):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(statement)


@pytest.mark.parametrize("role", PUBLIC_ROLES)
async def test_tables_of_public_that_were_open_before_are_closed(url, owner, role):
    async with signed_in(url, owner, role) as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch("select * from public.older")
    await owner.execute(f"grant select on public.older to {role}")  # the control, and the way back
    async with signed_in(url, owner, role) as connection:
        assert len(await connection.fetch("select * from public.older")) == 1


async def test_the_service_role_keeps_what_it_had_in_public(url, owner):
    async with signed_in(url, owner, "service_role") as connection:
        assert len(await connection.fetch("select * from public.older")) == 1
