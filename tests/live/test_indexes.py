"""Every read function finds its rows by an index, over both kinds of lists, in a school with 20,000 bookings."""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest

from lastseat.model import ClaimRequest, ContactId, ExamId
from lastseat.stores.care import Care
from lastseat.stores.hubspot_codec import Codec
from lastseat.stores.ledger import Ledger

# A school of some years: 2,000 exams, 20,000 bookings, 4,000 students; 300 claims without a record, 199 set aside.
SCHOOL = """
insert into hubspot_sync.hubspot_mock_exams (hubspot_id, mock_exam_name, mock_type, location, exam_date, start_time,
                                             end_time, capacity, is_active, starts_at, seats_taken)
select (50000 + n)::text, 'Mock ' || n, 'Mini-mock', 'Calgary', current_date - 1980 + n, '09:00', '11:00', 20,
       case when n % 40 = 0 then 'inactive' else 'active' end, now() - interval '1980 days' + n * interval '1 day', 10
  from generate_series(1, 2000) n;
insert into hubspot_sync.hubspot_contacts (hubspot_id, student_id, firstname, lastname, email)
select (70000 + n)::text, 'TRAINEE' || n, 'F' || n, 'L' || n, n || '@students.example'
  from generate_series(1, 4000) n;
create temporary table booked as
select n, (90000 + n)::text as hubspot_id, 'LS-' || n as reference, (n + n / 4000) % 2000 as day,
       (50001 + (n + n / 4000) % 2000)::text as exam_id, (70001 + n % 4000)::text as contact_id
  from generate_series(1, 20000) n;
insert into hubspot_sync.hubspot_bookings (hubspot_id, booking_key, booking_id, mock_exam_id, contact_id, student_id,
                                           student_name, booking_status, is_active, exam_date, archived_at)
select hubspot_id, reference, reference, exam_id, contact_id, 'T' || n, 'N' || n, 'confirmed', 'Active',
       current_date - 1979 + day, case when n % 500 = 0 then now() end
  from booked;
insert into hubspot_sync.claims (claim_id, booking_id, exam_id, contact_id, caller, request_id, state, hubspot_id,
                                 idempotency_key)
select gen_random_uuid(), reference, exam_id, contact_id, 'student:' || n, 'r', 'booked', hubspot_id, 'k' || n
  from booked;
insert into hubspot_sync.claims (claim_id, booking_id, exam_id, contact_id, caller, request_id, state, properties)
select ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid, 'LS-open-' || n, (51990 + n % 5)::text,
       (80000 + n)::text, 'student:x' || n, 'r', 'open', '{"student_name": "Zoë"}' from generate_series(1, 300) n;
insert into hubspot_sync.outbox (kind, state, claim_id, booking_id, exam_id, contact_id)
select 'create', case when n > 19900 then 'waiting' else 'done' end, gen_random_uuid(), reference, exam_id, contact_id
  from booked;
insert into hubspot_sync.outbox (kind, state, change_id, exam_id, fields)
select 'exam_update', 'mirrored', ('00000000-0000-0000-0002-' || lpad(n::text, 12, '0'))::uuid, (50000 + n)::text,
       '{}'
  from generate_series(1, 2000) n;
update hubspot_sync.outbox set state = 'aside', last_error = 'refused', done_at = now()
 where kind = 'create' and state = 'done' and outbox_id % 100 = 0;
"""
TABLES = ("hubspot_bookings", "hubspot_mock_exams", "hubspot_contacts", "claims", "outbox", "audit_log")
# What this connection did in its transaction so far; nobody else's work is in it.
READ = """
select (select coalesce(sum(seq_tup_read), 0) from pg_stat_xact_user_tables where schemaname = 'hubspot_sync')
     + (select coalesce(sum(pg_stat_get_xact_tuples_returned(indexrelid)), 0) from pg_stat_user_indexes
         where schemaname = 'hubspot_sync')
"""
SCANS = "select sum(seq_scan) from pg_stat_xact_user_tables where schemaname = 'hubspot_sync' and relname = any ($1)"
BODY = """
select p.prosrc, l.lanname = 'sql' as explains, coalesce(p.proconfig, '{}') as config
  from pg_proc p join pg_namespace n on n.oid = p.pronamespace join pg_language l on l.oid = p.prolang
 where n.nspname = 'lastseat_api' and p.proname = $1
"""
ROWS_MOST = 1_000
# Functions of several statements, or whose one statement calls others: what these read is in the counters.
IN_STEPS = {"gates", "outcomes", "lookup"}
# Limit: the total of a page counts every entry of an index, and a deep page passes those before it. As measured; one
# table more would be seen.
ROWS_COUNTED = {
    "all bookings": 21_000,
    "all bookings, across": 21_000,
    "all bookings, deep": 36_000,
    "all exams": 2_500,
    "all exams, deep": 4_500,
}

Read = Callable[[Ledger], Awaitable[object]]


def claim(number: int) -> ClaimRequest:
    return ClaimRequest(
        claim_id=f"00000000-0000-0000-0001-{number:012d}",
        booking_id=f"LS-new-{number}",
        exam_id=ExamId("51995"),
        contact_id=ContactId(str(81000 + number)),
        caller=f"student:{number}",
        request_id="r",
        properties={},
        key=f"key-{number}",
    )


def care(ledger: Ledger) -> Care:
    """What staff asks beside the ledger, over the same connection."""
    return Care(ledger._database)


READS: dict[str, Read] = {
    "exams": lambda ledger: ledger.exams(),
    "exam": lambda ledger: ledger.exam(ExamId("51990")),
    "gates of all that lie ahead": lambda ledger: ledger.gates(),
    "gates of some": lambda ledger: ledger.gates([ExamId("51990"), ExamId("51991")]),
    "bookings": lambda ledger: ledger.bookings(ContactId("70100")),
    "bookings of an open claim": lambda ledger: ledger.bookings(ContactId("80100")),
    "booking by our id": lambda ledger: ledger.booking("LS-777"),
    "booking by HubSpot's id": lambda ledger: ledger.booking("90777"),
    "booking of an open claim": lambda ledger: ledger.booking("LS-open-7"),
    "no such booking": lambda ledger: ledger.booking("LS-none"),
    "all bookings": lambda ledger: ledger.all_bookings(offset=0, limit=100),
    "all bookings, across": lambda ledger: ledger.all_bookings(offset=280, limit=100),
    "all bookings, deep": lambda ledger: ledger.all_bookings(offset=15_000, limit=20),
    "an exam's bookings": lambda ledger: ledger.exam_bookings(ExamId("51990"), offset=0, limit=100),
    "an exam's bookings, deep": lambda ledger: ledger.exam_bookings(ExamId("51990"), offset=60, limit=20),
    "bookings of no such exam": lambda ledger: ledger.exam_bookings(ExamId("1"), offset=0, limit=20),
    "all exams": lambda ledger: ledger.all_exams(offset=0, limit=100),
    "all exams, deep": lambda ledger: ledger.all_exams(offset=1_500, limit=20),
    "staff's exam": lambda ledger: ledger.staff_exam(ExamId("51990")),
    "what was set aside": lambda ledger: care(ledger).set_aside(offset=0, limit=20),
    "what was set aside, deep": lambda ledger: care(ledger).set_aside(offset=180, limit=20),
    "how far a change is": lambda ledger: ledger.exam_change("00000000-0000-0000-0002-000000000001"),
    "outcomes": lambda ledger: ledger.outcomes(["00000000-0000-0000-0000-000000000007"]),
    "lookup": lambda ledger: ledger.lookup([claim(n) for n in range(20)]),
}


class OneConnection:
    """Port Database over one connection, whose counters can be read at once."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self.called: dict[tuple[str, str], None] = {}

    async def call(self, function: str, args: bytes) -> bytes:
        self.called[function, args.decode()] = None
        answer = await self._connection.fetchval(f"select lastseat_api.{function}($1::jsonb)::text", args.decode())
        return answer.encode()


@pytest.fixture(scope="module")
def school_url(databases) -> str:
    """One school for all reads of this module; nobody writes to it."""
    return databases.fresh(_fill)


async def _fill(url: str) -> None:
    from lastseat.upkeep import schema

    await schema.apply_to(url)
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(SCHOOL)
        await connection.execute("vacuum analyze")
    finally:
        await connection.close()


@pytest.fixture
async def connection(school_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(school_url)
    yield connection
    await connection.close()


async def cost(connection: asyncpg.Connection, work: Callable[[], Awaitable[object]]) -> tuple[int, int]:
    """How many scans of whole tables this took, and how many rows and index entries were read."""
    async with connection.transaction():
        before = await connection.fetchval(SCANS, TABLES), await connection.fetchval(READ)
        await work()
        after = await connection.fetchval(SCANS, TABLES), await connection.fetchval(READ)
    return int(after[0] - before[0]), int(after[1] - before[1])


async def explained(connection: asyncpg.Connection, function: str, args: str) -> list[dict] | None:
    """EXPLAIN ANALYZE of a function's body: every node of its plan that reads a table. None: not in SQL alone."""
    body = await connection.fetchrow(BODY, function)
    if not body["explains"]:
        return None
    transaction = connection.transaction()
    await transaction.start()
    for name, _, value in (setting.partition("=") for setting in body["config"]):
        await connection.execute(f"set local {name} = {value}")
    await connection.execute("prepare body (jsonb) as " + re.sub(r"\bargs\b", "$1", body["prosrc"]))
    literal = args.replace("'", "''")
    text = await connection.fetchval(f"explain (analyze, format json) execute body ('{literal}')")
    await connection.execute("deallocate body")
    await transaction.rollback()
    todo, found = [json.loads(text)[0]["Plan"]], []
    while todo:
        node = todo.pop()
        todo += node.get("Plans", [])
        if "Relation Name" in node or "Index Name" in node:
            found.append(node)
    return found


def ledger_over(database: OneConnection) -> Ledger:
    return Ledger(database, Codec("America/Toronto"), timezone="America/Toronto", verify_after_s=60)


@pytest.mark.parametrize("read", READS)
async def test_a_read_finds_its_rows_by_an_index_and_looks_at_few(connection: asyncpg.Connection, read: str):
    ledger = ledger_over(OneConnection(connection))
    # More often than Postgres plans anew: the plan that is kept is tried too.
    for _ in range(8):
        scans, rows = await cost(connection, lambda: READS[read](ledger))
        assert scans == 0
        assert 0 < rows <= ROWS_COUNTED.get(read, ROWS_MOST) or read in (
            "no such booking",
            "bookings of no such exam",
        )


@pytest.mark.parametrize("read", READS)
async def test_explain_shows_an_index_under_every_table(connection: asyncpg.Connection, read: str):
    database = OneConnection(connection)
    await READS[read](ledger_over(database))
    for function, args in database.called:
        nodes = await explained(connection, function, args)
        if nodes is None:
            assert function in IN_STEPS
        else:
            assert nodes or function in IN_STEPS, "a body that reads no table itself"
            assert [node for node in nodes if node["Node Type"] == "Seq Scan"] == []


async def test_a_scan_would_be_seen(connection: asyncpg.Connection):
    """Also within a function, also with sequential scans forbidden."""
    transaction = connection.transaction()
    await transaction.start()
    odd = (
        "create function lastseat_api.{name}(args jsonb) returns jsonb language sql stable security definer {how}"
        " as $$select to_jsonb(count(*)) from hubspot_sync.hubspot_bookings where {what}$$"
    )
    await connection.execute(odd.format(name="odd", how="", what="student_name like '%7'"))
    await connection.execute(odd.format(name="odder", how="set enable_seqscan = off", what="archived_at is null"))
    await transaction.commit()
    try:
        database = OneConnection(connection)
        assert await cost(connection, lambda: database.call("odd", b"{}")) == (1, 20_000)
        assert [node["Node Type"] for node in await explained(connection, "odd", "{}") or []] == ["Seq Scan"]
        scans, rows = await cost(connection, lambda: database.call("odder", b"{}"))
        assert scans == 0
        assert rows > ROWS_MOST
    finally:
        await connection.execute("drop function lastseat_api.odd; drop function lastseat_api.odder")


async def test_the_sync_status_counts_three_tables_and_finds_the_open_rows_by_an_index(
    connection: asyncpg.Connection,
):
    nodes = await explained(connection, "sync_status", "{}") or []
    outbox = [
        node for node in nodes if node.get("Relation Name") == "outbox" or "outbox" in node.get("Index Name", "")
    ]
    assert {node.get("Index Name") for node in outbox if "Index Name" in node} == {"outbox_open", "outbox_aside"}
    assert [node for node in outbox if node["Node Type"] == "Seq Scan"] == []
    scanned = {node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"} - {
        "cursors",
        "relay_lease",
    }
    assert scanned <= {"hubspot_mock_exams", "hubspot_contacts", "hubspot_bookings"}


async def test_every_read_function_is_tried(connection: asyncpg.Connection):
    rows = await connection.fetch(
        "select p.proname from pg_proc p join pg_namespace n on n.oid = p.pronamespace"
        " where n.nspname = 'lastseat_api' and p.provolatile = 's'"
    )
    database = OneConnection(connection)
    for read in READS.values():
        await read(ledger_over(database))
    # What an operator starts by hand or a timer asks now and then; none of it is read for people.
    by_hand = {"cursor", "exam_records", "survey", "health", "sample", "sample_contacts", "sync_status"}
    assert {row["proname"] for row in rows} - by_hand == {function for function, _ in database.called}


async def test_pages_of_all_bookings_follow_each_other_without_gap_or_double(connection: asyncpg.Connection):
    ledger = ledger_over(OneConnection(connection))
    seen: list[str] = []
    offset = 0
    while True:
        page = await ledger.all_bookings(offset=offset, limit=5_000)
        if not page.bookings:
            break
        seen += [booking.booking_id or "" for booking in page.bookings]
        offset += 5_000
    assert page.total == len(seen) == len(set(seen)) == 20_000 - 40 + 300
    assert all(reference.startswith("LS-open-") for reference in seen[:300])
    dates = [row.exam_date for row in (await ledger.all_bookings(offset=300, limit=1_000)).bookings]
    assert dates == sorted(dates, reverse=True)


async def test_pages_of_all_exams_reach_the_end(connection: asyncpg.Connection):
    ledger = ledger_over(OneConnection(connection))
    pages = [await ledger.all_exams(offset=offset, limit=700) for offset in (0, 700, 1_400, 2_100)]
    seen = [exam.hubspot_id for page in pages for exam in page.exams]
    assert len(seen) == len(set(seen)) == pages[0].total == 2_000
