"""What each of Supabase's roles can do, tried by signing in as it: call the functions as the service, or nothing."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from lastseat.stores.health import health_of
from lastseat.stores.postgres import PostgresDatabase
from lastseat.upkeep import schema
from tests.contract.words import exam, wish
from tests.security.conftest import signed_in

DENIED = asyncpg.InsufficientPrivilegeError
RELATIONS = """
select c.relname, c.relkind = 'r' as is_table from pg_class c
 where c.relnamespace = 'hubspot_sync'::regnamespace and c.relkind in ('r', 'v', 'm')
"""
FUNCTIONS = """
select p.oid::regprocedure::text as signature, n.nspname, p.proname, pg_get_function_arguments(p.oid) as arguments,
       (select string_agg(format('null::%s', format_type(t, null)), ', ' order by o)
          from unnest(p.proargtypes) with ordinality x (t, o)) as nulls
  from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname in ('hubspot_sync', 'lastseat_api')
"""
# What an operator runs who follows a guide on exposing a schema to the world.
GUIDE = """
grant usage on schema {0} to anon, authenticated, service_role;
grant all on all tables in schema {0} to anon, authenticated, service_role;
grant all on all routines in schema {0} to anon, authenticated, service_role;
grant all on all sequences in schema {0} to anon, authenticated, service_role;
"""


@pytest.fixture(params=["anon", "authenticated", "service_role"])
async def somebody(request: pytest.FixtureRequest, url: str, owner) -> AsyncIterator[tuple[str, asyncpg.Connection]]:
    async with signed_in(url, owner, request.param) as connection:
        yield request.param, connection


async def denied(connection: asyncpg.Connection, statement: str) -> bool:
    try:
        await connection.execute(statement)
    except DENIED:
        return True
    except asyncpg.PostgresError as error:
        raise AssertionError(f"{statement}: let in, and failed by itself: {error}") from error
    return False


async def test_no_role_reads_or_writes_a_table(somebody, owner):
    _, connection = somebody
    relations = await owner.fetch(RELATIONS)
    assert len(relations) > 10
    open_to = []
    for name, is_table in relations:
        statements = [f"select * from hubspot_sync.{name}", f"delete from hubspot_sync.{name}"]
        if is_table:
            statements += [
                f"insert into hubspot_sync.{name} default values",
                f"truncate hubspot_sync.{name}",
                f"do $$ begin lock table hubspot_sync.{name}; end $$",
                f"copy hubspot_sync.{name} to stdout",
                f"drop table hubspot_sync.{name}",
            ]
        open_to += [statement for statement in statements if not await denied(connection, statement)]
    assert open_to == []


async def test_no_role_sees_or_makes_anything_in_our_schemas(somebody):
    _, connection = somebody
    for schema_name in ("hubspot_sync", "lastseat_api"):
        assert await denied(connection, f"create table {schema_name}.mine (id int)")
        body = "returns int language sql as 'select 1'"
        assert await denied(connection, f"create function {schema_name}.mine() {body}")


async def test_functions_are_called_by_the_service_role_only(somebody, owner):
    role, connection = somebody
    wrongly: list[str] = []
    for function in await owner.fetch(FUNCTIONS):
        is_ours = function["nspname"] == "lastseat_api"
        call = f"select {function['nspname']}.{function['proname']}({function['nulls'] or ''})"
        async with connection.transaction():
            await connection.execute("savepoint before")
            try:
                await connection.execute(call)
                let_in = True
            except DENIED:
                let_in = False
            except asyncpg.PostgresError:
                let_in = True
            await connection.execute("rollback to before")
        if let_in != (role == "service_role" and is_ours):
            wrongly.append(function["signature"])
    assert wrongly == []


async def test_a_stranger_with_a_login_of_his_own_reaches_nothing(url, owner):
    await owner.execute("create role passer_by nologin; grant passer_by to authenticator")
    try:
        async with signed_in(url, owner, "passer_by") as connection:
            assert await denied(connection, "select * from hubspot_sync.hubspot_bookings")
            assert await denied(connection, "select lastseat_api.exams('{}')")
    finally:
        await owner.execute("revoke passer_by from authenticator; drop role passer_by")


async def test_the_role_that_signs_in_reaches_nothing_before_it_becomes_another(url, owner):
    async with signed_in(url, owner, "authenticator") as connection:
        assert await denied(connection, "select * from hubspot_sync.claims")
        assert await denied(connection, "select lastseat_api.exams('{}')")


async def test_the_service_role_cannot_slip_its_own_tables_and_operators_under_a_function(url, owner, ledger):
    await ledger.mirror(exams=[exam(capacity=7)])
    async with signed_in(url, owner, "service_role") as connection:
        await connection.execute("create temp table hubspot_mock_exams (hubspot_id text, capacity int)")
        await connection.execute("insert into hubspot_mock_exams values ('501', 999)")
        await connection.execute(
            "create function pg_temp.gate_of(text) returns jsonb language sql as $$select '{}'::jsonb $$"
        )
        await connection.execute("set search_path = pg_temp, public")
        found = await connection.fetchval('select lastseat_api.gates(\'{"exam_ids": ["501"]}\')::text')
    assert '"capacity": 7' in found


async def test_row_level_security_denies_even_a_role_that_was_granted_everything(url, owner, ledger):
    """The second wall: with every grant given by hand, the policies still show and take nothing."""
    await ledger.mirror(exams=[exam()])
    await ledger.claim([wish("1")])
    await owner.execute(GUIDE.format("hubspot_sync"))
    async with signed_in(url, owner, "authenticated") as connection:
        for name, is_table in await owner.fetch(RELATIONS):
            assert await connection.fetch(f"select * from hubspot_sync.{name}") == []
            if is_table:
                assert await connection.execute(f"delete from hubspot_sync.{name}") == "DELETE 0"
        assert await denied(connection, "insert into hubspot_sync.cursors (name, value) values ('x', '{}')")
    await owner.execute('drop policy "Deny direct access to claims" on hubspot_sync.claims')
    await owner.execute('create policy "open" on hubspot_sync.claims to authenticated using (true)')
    async with signed_in(url, owner, "authenticated") as connection:
        assert len(await connection.fetch("select * from hubspot_sync.claims")) == 1  # the control


async def test_grants_made_by_hand_are_reported_and_taken_back(url, owner):
    database = PostgresDatabase(url, connections=1, timeout_s=5)
    assert (await health_of(database)).exposed == []
    await owner.execute(GUIDE.format("lastseat_api") + GUIDE.format("hubspot_sync"))
    exposed = (await health_of(database)).exposed
    for words in (
        "schema lastseat_api (to anon)",
        "table hubspot_sync.hubspot_bookings (to anon)",
        "table hubspot_sync.claims (to service_role)",
        "function lastseat_api.claim(jsonb) (to authenticated)",
        "sequence hubspot_sync.outbox_outbox_id_seq (to anon)",
    ):
        assert words in exposed
    await schema.apply_to(url)
    assert (await health_of(database)).exposed == []
    await owner.execute("grant select (student_email) on hubspot_sync.hubspot_bookings to anon")
    assert (await health_of(database)).exposed == ["table hubspot_sync.hubspot_bookings (to anon)"]
    await database.close()
