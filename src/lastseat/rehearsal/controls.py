"""Takes one guard away from a stack of our own, to show that the judge sees the harm; never for a real service."""

from collections.abc import Mapping
from typing import Final

from lastseat.stores import schema_store
from lastseat.stores.schema_store import Step

ROW_WAIT: Final = "row-lock"
VERIFY: Final = "verify"
TIGHTENING: Final = "tightening"
GUARDS: Final = (ROW_WAIT, VERIFY)
NEVER_S: Final = 3_000.0

# The pause stands where the wait for the lock was: without it two servers seldom read the same snapshot.
_WITHOUT_ROW_WAIT = """
do $body$
declare
    source text := pg_get_functiondef('lastseat_api.claim(jsonb)'::regprocedure);
    guard constant text :=
        'perform 1 from hubspot_mock_exams where hubspot_id = any (exam_ids) order by hubspot_id for update;';
    reading constant text := '), first_of_key';
begin
    if position(guard in source) = 0 or position(reading in source) = 0 then
        raise exception 'the claim function is not as this control knows it';
    end if;
    execute replace(replace(source, guard, ''), reading, ', pg_sleep(0.1)' || reading);
end
$body$
"""

# What the mirror holds still binds: a change binds when HubSpot has acknowledged it, and not before.
_WITHOUT_TIGHTENING = """
do $body$
begin
    perform 'hubspot_sync.bind_exams(text[])'::regprocedure;
    create or replace function hubspot_sync.bind_exams(exam_ids text[]) returns text[]
        language sql as $$ select '{}'::text[] $$;
end
$body$
"""


def settings_without(guard: str) -> Mapping[str, str]:
    """The settings of servers that do without this guard."""
    return {"LASTSEAT_VERIFY_AFTER_S": str(NEVER_S)} if guard == VERIFY else {}


async def take_away(guard: str, postgres_url: str) -> None:
    """Take the guard out of the database, if that is where it is."""
    if guard == TIGHTENING:
        await schema_store.run(postgres_url, [Step("changes that bind late", _WITHOUT_TIGHTENING)])
    if guard == ROW_WAIT:
        await schema_store.run(postgres_url, [Step("the ledger without its row lock", _WITHOUT_ROW_WAIT)])
