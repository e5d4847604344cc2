"""What a booking reads on its way depends on the rows that it names, not on the rows that there are.

Every plan of the connection is made while the tables are empty, as in a school's first rush, and is kept.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

import asyncpg
import pytest

from lastseat.model import (
    BookingId,
    CancelRequest,
    ClaimRequest,
    ContactId,
    ExamId,
    OutboxRow,
    Record,
    Settlement,
    Written,
)
from lastseat.stores.ledger import Ledger
from lastseat.upkeep import schema
from tests.live.test_indexes import SCHOOL, OneConnection, cost, ledger_over

Done = TypeVar("Done")
NEIGHBOURS = 40
# Limit: the steps of an index are not counted, and a row of the small school may have fewer neighbours.
MORE, AND_SO_MANY = 2, 60
OTHERS = "10001"
EXAMS = f"""
insert into hubspot_sync.hubspot_mock_exams (hubspot_id, mock_exam_name, mock_type, location, exam_date, start_time,
                                             end_time, capacity, is_active, starts_at)
select id, 'Ours', 'Mini-mock', 'Calgary', current_date + 30, '09:00', '11:00', 1000, 'active',
       now() + interval '30 days'
  from unnest(array['10000', '{OTHERS}']) id
"""

PAST = """
insert into hubspot_sync.outbox (kind, state, done_at, claim_id, booking_id, exam_id, contact_id)
select k, 'done', now() - interval '1 hour', o.claim_id, o.booking_id, o.exam_id, o.contact_id
  from hubspot_sync.outbox o, unnest('{link_contact,link_exam}'::text[]) k where o.kind = 'create';
update hubspot_sync.outbox set state = 'done', done_at = now() - interval '1 hour'
 where state in ('waiting', 'mirrored');
"""
WAITING = f"""
{PAST}
update hubspot_sync.outbox set state = 'waiting', done_at = null, not_before = now() + interval '1 hour'
 where outbox_id % 4 = 0 and kind in ('create', 'link_contact', 'link_exam') and booking_id not like 'LS-life%';
"""
# These choose among the rows that wait, so they read them.
AMONG_THE_WAITING = ("backlog of ", "send ")


class Life:
    """Bookings from wish to cancel, with HubSpot played by hand; counts what each step read."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._ledger: Ledger = ledger_over(OneConnection(connection))
        self._born = 0
        self.term = 0
        self.read: dict[str, int] = {}

    async def begin(self) -> None:
        lease = await self._ledger.take_lease("test", 600)
        assert lease is not None
        self.term = lease.term

    async def live(self, count: int) -> dict[str, int]:
        """Rows read by each step for so many bookings at once."""
        ledger, self.read = self._ledger, {}
        numbers = range(self._born, self._born + count)
        self._born += count
        wishes = [_wish(number) for number in numbers]
        answers = await self._step("claim", lambda: ledger.claim(wishes))
        assert {answer.outcome for answer in answers} == {"won"}
        assert {answer.outcome for answer in await self._step("lookup", lambda: ledger.lookup(wishes))} == {"won"}
        await self._step("outcomes", lambda: ledger.outcomes([wish.claim_id for wish in wishes]))
        await self._deliver("create", count, [_record(wish) for wish in wishes])
        for kind in ("link_contact", "link_exam", "count"):
            await self._deliver(kind, 1 if kind == "count" else count, [])
        cancels = [_cancel(wish) for wish in wishes]
        await self._step("cancel", lambda: ledger.cancel(cancels))
        gone = {"booking_status": "cancelled", "is_active": "Cancelled"}
        await self._deliver("cancel", count, [_record(wish, **gone) for wish in wishes])
        await self._deliver("count", 1, [])
        others = [_record(_wish(number, OTHERS), student_name="another") for number in numbers]
        await self._step("mirror", lambda: ledger.mirror(bookings=others))
        return self.read

    async def _deliver(self, kind: str, count: int, records: Sequence[Record]) -> None:
        ledger, term = self._ledger, self.term
        backlog = await self._step(f"backlog of {kind}", lambda: ledger.backlog(term))
        assert backlog.due[kind] == count
        rows = await self._step(f"send {kind}", lambda: ledger.send(term, kind, 1_000))
        assert len(rows) == count
        told = await self._step(f"settle {kind}", lambda: ledger.settle(term, _settlement(rows, records)))
        await self._step(f"announce {kind}", lambda: ledger.announced(term, told[1]))

    async def _step(self, name: str, work: Callable[[], Awaitable[Done]]) -> Done:
        done: list[Done] = []

        async def kept() -> None:
            done.append(await work())

        _, self.read[name] = await cost(self._connection, kept)
        return done[0]


def _wish(number: int, exam_id: str = "10000") -> ClaimRequest:
    return ClaimRequest(
        claim_id=f"00000000-0000-0000-0003-{number:012d}",
        booking_id=BookingId(f"LS-life-{exam_id}-{number}"),
        exam_id=ExamId(exam_id),
        contact_id=ContactId(str(30_000 + number)),
        caller=f"student:{30_000 + number}",
        request_id="r",
        properties={"attending_location": "Calgary"},
        key=f"life-{number}",
    )


def _record(wish: ClaimRequest, **more: str) -> Record:
    said = {"mock_exam_id": wish.exam_id, "contact_id": wish.contact_id, "booking_status": "confirmed"}
    properties = {"booking_id": wish.booking_id, "is_active": "Active", **said, **more}
    return Record(hubspot_id=wish.booking_id.replace("LS-life-", "44"), properties=properties)


def _cancel(wish: ClaimRequest) -> CancelRequest:
    return CancelRequest(reference=wish.booking_id, owner=wish.contact_id, caller=wish.caller, request_id="r")


def _settlement(rows: Sequence[OutboxRow], records: Sequence[Record]) -> Settlement:
    by_key = {record.properties["booking_id"]: record for record in records}
    return Settlement(
        written=[Written(outbox_id=row.outbox_id, kind=row.kind, record=by_key.get(row.booking_id)) for row in rows]
    )


# Else it comes when it likes: tables are analyzed where a test says that they are not, and what others left behind is
# read again and again while it looks.
NO_AUTOVACUUM = """
select format('alter table %s set (autovacuum_enabled = false)', c.oid::regclass) from pg_class c
 where c.relkind = 'r' and c.relnamespace = 'hubspot_sync'::regnamespace
"""


@pytest.fixture
async def connection(databases) -> AsyncIterator[asyncpg.Connection]:
    """To an empty ledger that has two exams."""
    url = databases.fresh()
    await schema.apply_to(url)
    connection = await asyncpg.connect(url)
    for row in await connection.fetch(NO_AUTOVACUUM):
        await connection.execute(row[0])
    await connection.execute(EXAMS)
    yield connection
    await connection.close()
    databases.drop(url)


async def _small_and_large(
    connection: asyncpg.Connection, count: int, *, analyzed: bool, others: str = PAST
) -> dict[str, tuple[int, int]]:
    life = Life(connection)
    await connection.execute("select lastseat_api.warm('{}')")  # as every connection of a server begins
    await life.begin()
    for _ in range(3):
        small = await life.live(count)
    await connection.execute(SCHOOL + others)
    if analyzed:
        await connection.execute("vacuum analyze")
    for _ in range(6):  # more often than Postgres plans anew
        large = await life.live(count)
    return {step: (small[step], large[step]) for step in small}


def _grown(read: dict[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    return {step: (small, large) for step, (small, large) in read.items() if large > small * MORE + AND_SO_MANY}


@pytest.mark.parametrize(
    ("count", "analyzed"),
    [(1, False), (NEIGHBOURS, False), (NEIGHBOURS, True)],
    ids=["one, with plans of an empty school", "many, with plans of an empty school", "many, analyzed"],
)
async def test_a_booking_reads_no_more_in_a_large_school(connection: asyncpg.Connection, count: int, analyzed: bool):
    assert _grown(await _small_and_large(connection, count, analyzed=analyzed)) == {}


async def _first_and_later(connection: asyncpg.Connection) -> dict[str, tuple[int, int]]:
    """What a group reads after one other, and after five, under plans that were made before there was any."""
    life = Life(connection)
    await connection.execute("select lastseat_api.warm('{}')")
    await life.begin()
    reads = [await life.live(NEIGHBOURS) for _ in range(6)]
    return {step: (reads[1][step], reads[5][step]) for step in reads[0]}


async def test_a_group_of_bookings_reads_nothing_of_the_groups_before_it(connection: asyncpg.Connection):
    assert _grown(await _first_and_later(connection)) == {}


async def test_a_join_in_place_of_a_look_up_would_read_the_links_of_all_before_it(connection: asyncpg.Connection):
    """The negative control of the test before."""
    name = "hubspot_sync.settle_rows(jsonb)"
    source: str = await connection.fetchval("select pg_get_functiondef($1::regprocedure)", name)
    links = "from outbox l where l.booking_id = d.booking_id and l.kind = k.kind"
    look_up, joined = f"(select l.outbox_id {links} limit 1) is null", f"not exists (select {links})"
    assert look_up in source
    await connection.execute(source.replace(look_up, joined))
    assert "settle create" in _grown(await _first_and_later(connection))


async def test_a_booking_reads_no_more_while_many_others_wait(connection: asyncpg.Connection):
    grown = _grown(await _small_and_large(connection, NEIGHBOURS, analyzed=False, others=WAITING))
    assert [step for step in grown if not step.startswith(AMONG_THE_WAITING)] == []


async def test_without_its_settings_a_booking_would_read_the_school(connection: asyncpg.Connection):
    for function in ("settle", "mirror", "claim"):
        await connection.execute(f"alter function lastseat_api.{function}(jsonb) reset all")
        await connection.execute(
            f"alter function lastseat_api.{function}(jsonb) set search_path = hubspot_sync, pg_temp"
        )
    grown = _grown(await _small_and_large(connection, NEIGHBOURS, analyzed=True))
    assert {"settle create", "mirror"} <= grown.keys()
