"""The dump holds every table of one instant; a strange database is told in one line."""

import asyncpg
import pytest

from lastseat.embedded.ports import free_port
from lastseat.errors import SetupError, Unavailable
from lastseat.stores.dump import dump_ledger, ledger_view

pytestmark = pytest.mark.embedded


async def run(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


async def test_every_table_is_in_the_dump(schema_database_url: str):
    await run(
        schema_database_url,
        "insert into hubspot_sync.hubspot_mock_exams (hubspot_id, mock_exam_name, capacity) values ('7', 'É', 3)",
    )
    dump = await dump_ledger(schema_database_url)
    assert {"hubspot_mock_exams", "hubspot_bookings", "hubspot_contacts", "claims", "outbox", "audit_log"} <= set(
        dump
    )
    (exam,) = dump["hubspot_mock_exams"]
    assert (exam["hubspot_id"], exam["mock_exam_name"], exam["capacity"], exam["seats_taken"]) == ("7", "É", 3, 0)


async def test_a_table_that_comes_later_is_not_forgotten(schema_database_url: str):
    await run(schema_database_url, 'create table hubspot_sync."Later" (word text)')
    await run(schema_database_url, """insert into hubspot_sync."Later" values ('seen')""")
    assert (await dump_ledger(schema_database_url))["Later"] == [{"word": "seen"}]


async def test_rows_that_somebody_must_act_on_are_counted(schema_database_url: str):
    async with ledger_view(schema_database_url) as view:
        assert await view.unfinished() == 0
        states = ("waiting", "sent", "mirrored", "announced", "done", "aside", "dropped")
        await run(
            schema_database_url,
            *(f"insert into hubspot_sync.outbox (kind, state) values ('create', '{state}')" for state in states),
        )
        assert await view.unfinished() == 3
        await run(schema_database_url, "update hubspot_sync.outbox set verify_at = now() where state = 'announced'")
        assert await view.unfinished() == 4


async def test_a_database_without_our_tables_is_named_with_the_way_out(database_url: str):
    with pytest.raises(SetupError, match=r"does not have Lastseat's tables\. Run `lastseat schema apply`"):
        await dump_ledger(database_url)


async def test_a_database_that_is_away_is_named_without_its_password():
    url = f"postgresql://me:secret-word@127.0.0.1:{free_port()}/x"
    with pytest.raises(
        Unavailable, match=r"Cannot reach Postgres at 127\.0\.0\.1:\d+: .*Check SUPABASE_DB_URL"
    ) as said:
        await dump_ledger(url)
    assert "secret-word" not in str(said.value)
