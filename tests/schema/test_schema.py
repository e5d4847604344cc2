"""The schema is applied once, whole or not at all, and an edited past is refused."""

import asyncio
import re
import secrets
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from lastseat.errors import SetupError
from lastseat.stores import schema_store
from lastseat.upkeep import schema
from lastseat.upkeep.schema import Files, SqlFile

_CATALOG = """
select 'routine' as kind, p.oid::regprocedure::text as name, p.xmin::text as written, md5(p::text) as digest
  from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname in ('hubspot_sync', 'lastseat_api')
union all
select 'relation', c.oid::regclass::text, c.xmin::text, md5(c::text)
  from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'hubspot_sync'
union all
select 'column', a.attrelid::regclass || '.' || a.attname, a.xmin::text, md5((a.atttypid, a.attnotnull)::text)
  from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
 where n.nspname = 'hubspot_sync' and a.attnum > 0
union all
select 'policy', polname, xmin::text, md5(p::text) from pg_policy p
union all
select 'constraint', conname, xmin::text, md5(c::text) from pg_constraint c
union all
select 'schema', nspname, xmin::text, coalesce(nspacl::text, '') from pg_namespace
union all
select 'defaults', oid::text, xmin::text, defaclacl::text from pg_default_acl
union all
select 'remembered', name, xmin::text, sha256 from hubspot_sync.schema_migrations
union all
select 'remembered', name, xmin::text, sha256 from hubspot_sync.schema_functions
order by 1, 2
"""


async def _fetch(url: str, query: str, *args: object) -> list[tuple]:
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(query, *args)]
    finally:
        await connection.close()


async def _execute(url: str, sql: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


def _sample(*, table: str = "t", seven: int = 7, names: tuple[str, ...] = ("seven",)) -> Files:
    return Files(
        [SqlFile(1, "0001_first.sql", f"create schema lastseat_api; create table hubspot_sync.{table} (n int);")],
        [
            SqlFile(
                0,
                f"{name}.sql",
                f"create or replace function lastseat_api.{name}() returns int language sql as $$ select {seven} $$;",
            )
            for name in names
        ],
    )


async def _run(url: str, files: Files) -> tuple[schema_store.Applied, schema_store.Applied]:
    return await schema_store.run(url, schema.steps(files))


async def test_a_new_database_gets_everything_and_says_so(database_url):
    assert not (await schema.status_of(database_url)).current
    report = await schema.apply_to(database_url)
    files = schema.load()
    assert report.current
    assert report.changed == [file.name for file in (*files.migrations, *files.functions)]
    assert (await schema.status_of(database_url)).current


async def test_every_function_that_a_file_defines_is_there_and_no_other(schema_database_url):
    defined = {
        name
        for file in schema.load().functions
        for name in re.findall(r"^create (?:or replace )?function lastseat_api\.(\w+)", file.body, re.MULTILINE)
    }
    there = await _fetch(
        schema_database_url, "select proname from pg_proc where pronamespace = 'lastseat_api'::regnamespace"
    )
    assert defined == {name for (name,) in there} != set()


async def test_applying_twice_changes_nothing(schema_database_url):
    before = await _fetch(schema_database_url, _CATALOG)
    report = await schema.apply_to(schema_database_url)
    assert (report.changed, report.dropped) == ([], [])
    assert await _fetch(schema_database_url, _CATALOG) == before


async def test_the_catalog_digest_sees_a_replaced_function(database_url):
    await _run(database_url, _sample())
    before = await _fetch(database_url, _CATALOG)
    await _execute(database_url, _sample().functions[0].body)
    assert await _fetch(database_url, _CATALOG) != before


async def test_an_edited_migration_is_refused_and_named(database_url):
    await _run(database_url, _sample())
    with pytest.raises(SetupError, match=r"Migration 0001_first\.sql was edited after it was applied\.") as caught:
        await _run(database_url, _sample(table="u"))
    assert "\n" not in caught.value.message
    assert await _fetch(database_url, "select to_regclass('hubspot_sync.u')") == [(None,)]


async def test_an_edited_migration_is_refused_in_the_sql_editor_too(database_url):
    await _execute(database_url, schema.printed())
    await _execute(database_url, "update hubspot_sync.schema_migrations set sha256 = 'other' where version = 1")
    with pytest.raises(asyncpg.PostgresError, match=r"Migration 0001_\w+\.sql was edited"):
        await _execute(database_url, schema.printed())


async def test_a_newer_database_is_refused(schema_database_url):
    await _execute(
        schema_database_url, "insert into hubspot_sync.schema_migrations values (9999, '9999_later.sql', 'x')"
    )
    status = await schema.status_of(schema_database_url)
    assert not status.current
    assert status.migrations["9999_later.sql"] == "unknown"
    with pytest.raises(SetupError, match=r"Migration 9999_later\.sql is in the database, but"):
        await schema.apply_to(schema_database_url)


async def test_a_gap_in_the_database_is_refused(database_url):
    await _run(database_url, _sample())
    second = SqlFile(2, "0002_second.sql", "select 2;")
    third = SqlFile(3, "0003_third.sql", "select 3;")
    await _execute(
        database_url, f"insert into hubspot_sync.schema_migrations values (3, '0003_third.sql', '{third.sha256}')"
    )
    files = _sample()
    files.migrations.extend([second, third])
    with pytest.raises(SetupError, match=r"Migration 0002_second\.sql was never applied, but a later one was"):
        await _run(database_url, files)


@pytest.mark.parametrize("name", ["0002_first.sql", "1_first.sql", "0001-first.sql"])
def test_a_gap_in_the_files_is_refused(name):
    with pytest.raises(SetupError, match="out of order"):
        schema.numbered([SqlFile(0, name, "")])


async def test_a_changed_function_is_applied_again(database_url):
    await _run(database_url, _sample(seven=7))
    await _run(database_url, _sample(seven=8))
    assert await _fetch(database_url, "select lastseat_api.seven()") == [(8,)]


async def test_a_function_without_a_file_is_dropped(database_url):
    await _run(database_url, _sample(names=("seven", "eight")))
    before, after = await _run(database_url, _sample(names=("seven",)))
    assert before.routines - after.routines == {"lastseat_api.eight()"}
    assert after.functions.keys() == {"seven.sql"}


async def test_a_new_migration_applies_the_functions_again(database_url):
    files = _sample()
    await _run(database_url, files)
    files.migrations.append(SqlFile(2, "0002_drop.sql", "drop function lastseat_api.seven();"))
    await _run(database_url, files)
    assert await _fetch(database_url, "select lastseat_api.seven()") == [(7,)]


async def test_a_failing_file_is_named_and_leaves_nothing_behind(database_url):
    files = _sample()
    files.migrations.append(SqlFile(2, "0002_broken.sql", "create table hubspot_sync.x (n int); select 1 / 0;"))
    with pytest.raises(SetupError, match=r"0002_broken\.sql failed: division by zero"):
        await _run(database_url, files)
    assert await _fetch(database_url, "select to_regnamespace('hubspot_sync')") == [(None,)]


async def test_two_servers_that_start_together_apply_it_once(database_url):
    reports = await asyncio.gather(*(schema.apply_to(database_url) for _ in range(3)))
    assert sorted(bool(report.changed) for report in reports) == [False, False, True]
    assert all(report.current for report in reports)


async def test_without_its_turn_a_second_run_fails(database_url):
    steps = schema.steps(_sample())
    hasty = [steps[0]._replace(sql=re.sub(r"select pg_advisory\S+\(.*\);", "", steps[0].sql)), *steps[1:]]
    hasty.append(schema_store.Step("a pause", "select pg_sleep(0.2)"))
    assert hasty[0] != steps[0]
    results = await asyncio.gather(*(schema_store.run(database_url, hasty) for _ in range(2)), return_exceptions=True)
    assert any(isinstance(result, SetupError) for result in results)


async def test_the_printed_sql_may_be_pasted_twice(database_url):
    await _execute(database_url, schema.printed())
    before = await _fetch(database_url, _CATALOG)
    await _execute(database_url, schema.printed())
    assert await _fetch(database_url, _CATALOG) == before
    assert (await schema.status_of(database_url)).current


async def test_postgrest_is_told_only_when_something_changed(database_url):
    heard = []
    listener = await asyncpg.connect(database_url)
    await listener.add_listener("pgrst", lambda *args: heard.append(args[-1]))
    await _run(database_url, _sample())
    await _run(database_url, _sample())
    await listener.execute("select 1")
    await listener.close()
    assert heard == ["reload schema"]


async def test_a_prepared_call_lives_through_a_changed_function(database_url):
    await _run(database_url, _sample(seven=7))
    connection = await asyncpg.connect(database_url)
    statement = await connection.prepare("select lastseat_api.seven()")
    assert await statement.fetchval() == 7
    await _run(database_url, _sample(seven=8))
    assert await statement.fetchval() == 8
    await connection.close()


async def test_nobody_but_the_owner_reads_what_was_applied(schema_database_url):
    rows = await _fetch(
        schema_database_url,
        "select c.relname, c.relrowsecurity, has_table_privilege(r.role, c.oid, 'select')"
        "  from pg_class c, unnest(array['anon', 'authenticated', 'service_role']) as r (role)"
        " where c.oid in ('hubspot_sync.schema_migrations'::regclass, 'hubspot_sync.schema_functions'::regclass)",
    )
    assert len(rows) == 6
    assert all(secured and not readable for _, secured, readable in rows)


async def test_an_unreachable_database_is_one_line_without_the_password():
    with pytest.raises(SetupError, match=r"Postgres at 127\.0\.0\.1:1 cannot be used: .*SUPABASE_DB_URL") as caught:
        await schema.apply_to("postgresql://postgres:hidden@127.0.0.1:1/postgres")
    assert "hidden" not in caught.value.message
    assert "\n" not in caught.value.message


@pytest.fixture
async def plain_role(schema_database_url):
    """A role that owns nothing, in a cluster where the schema's own roles are there, as on Supabase."""
    name = f"plain_{secrets.token_hex(4)}"
    await _execute(schema_database_url, f"create role {name} login password 'plain' createrole")
    yield name
    await _execute(schema_database_url, f"drop owned by {name}; drop role {name}")


def _as_role(url: str, role: str) -> str:
    place = urlsplit(url)
    return urlunsplit(place._replace(netloc=f"{role}:plain@{place.hostname}:{place.port}"))


async def test_an_owner_that_is_no_superuser_can_apply_it(database_url, plain_role):
    await _execute(database_url, f'alter database "{urlsplit(database_url).path[1:]}" owner to {plain_role}')
    report = await schema.apply_to(_as_role(database_url, plain_role))
    assert report.current
    await _execute(database_url, f"reassign owned by {plain_role} to current_user; drop owned by {plain_role}")


async def test_a_role_without_rights_is_told_in_one_line(schema_database_url, plain_role):
    for work in (schema.apply_to, schema.status_of):
        with pytest.raises(SetupError, match="permission denied") as caught:
            await work(_as_role(schema_database_url, plain_role))
        assert "\n" not in caught.value.message


async def test_a_connection_that_breaks_is_told_in_one_line(database_url):
    steps = schema.steps(_sample())
    steps.insert(3, schema_store.Step("the cut", "select pg_terminate_backend(pg_backend_pid())"))
    with pytest.raises(SetupError, match="terminating connection") as caught:
        await schema_store.run(database_url, steps)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("url", ["postgresql://127.0.0.1:port/x", "mysql://127.0.0.1/x", "nonsense"])
async def test_what_is_no_database_url_is_told_in_one_line(url):
    with pytest.raises(SetupError, match="SUPABASE_DB_URL"):
        await schema.status_of(url)
