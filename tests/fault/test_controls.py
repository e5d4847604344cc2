"""Each guard of the write path, once on and once off: on, its attack comes to nothing; off, the harm is seen.

Only tests can switch a guard off: each takes its words out of the SQL or Lua, or its call out of the relay. The
controls of the other rooms are named in docs/invariants.md, and each of these is; a test of the house compares.
"""

import asyncio

import msgspec
import pytest

from lastseat.errors import LeaseLost
from lastseat.model import ClaimAnswer, Gate, RowResult
from lastseat.stores import redis as redis_store
from lastseat.stores.gate import GateStore
from lastseat.stores.keys import bookings_of
from lastseat.stores.redis import RedisTrips
from lastseat.stores.views import ViewStore
from lastseat.writes.book import Booker
from lastseat.writes.delivery import Errand
from lastseat.writes.settling import Settling
from lastseat.writes.trips import Trips
from tests.fault.kit import EXAM, Hand, Rows, cancelling, exam, ledger_on, wish
from tests.fault.memory_hubspot import FreeSlot, MemoryHubSpot
from tests.fault.people import Student
from tests.fault.town import town

GUARDED = pytest.mark.parametrize("guarded", [True, False], ids=["on", "off"])


async def rewrite(rows: Rows, function: str, *changes: tuple[str, str]) -> None:
    """Replace words of an SQL function; each must be there once."""
    source = (await rows.of("select pg_get_functiondef($1::regprocedure) as text", function))[0]["text"]
    for old, new in changes:
        assert source.count(old) == 1, (function, old)
        source = source.replace(old, new)
    await rows.do(source)


def active(hand: Hand) -> list[str]:
    return [record.properties["booking_id"] for record in hand.hubspot.held()]


LOCK = "perform 1 from hubspot_mock_exams where hubspot_id = any (exam_ids) order by hubspot_id for update;"


@GUARDED
async def test_the_rows_lock_stands_before_the_checks(ledger, rows, guarded):
    """Off: the same lock, taken in the statement that checks. It waits, and then checks what was before the wait."""
    if not guarded:
        in_one = (
            "with locked as materialized (select hubspot_id from hubspot_mock_exams where hubspot_id = any (exam_ids)"
            " order by hubspot_id for update), judged as materialized ("
            " select j.* from (select count(*) from locked, pg_sleep(0.05)) l, judge(args -> 'claims') j"
        )
        await rewrite(
            rows,
            "lastseat_api.claim(jsonb)",
            (LOCK, ""),
            ("with judged as materialized (\n        select * from judge(args -> 'claims')", in_one),
        )
    await ledger.mirror(exams=[exam("507", capacity=1)])
    answers = await asyncio.gather(*(ledger.claim([wish(str(n), "507")]) for n in range(4)))
    winners = sum(answer[0].outcome == "won" for answer in answers)
    assert (winners == 1) is guarded


@GUARDED
async def test_an_older_gate_never_replaces_a_newer_one(redis_url, monkeypatch, guarded):
    """Two announcements of one exam; the first is slow and arrives last."""
    if not guarded:
        source = redis_store._script("announce")[1].replace("tonumber(ARGV[at]) >= known", "true")
        monkeypatch.setattr(redis_store, "_script", lambda name: ("0" * 40, source))
    trips = RedisTrips(redis_url, timeout_s=1.0)
    gates = GateStore(trips, gate_ttl_s=60)
    full = Gate(exam_id=EXAM, version=8, capacity=2, remaining=0, open=True)
    await gates.put([full])
    await gates.put([msgspec.structs.replace(full, version=7, remaining=1)])
    known = (await gates.look([EXAM]))[EXAM]
    await trips.close()
    assert (known.remaining == 0) is guarded


@GUARDED
async def test_a_gate_that_says_full_is_asked_of_the_ledger_before_anybody_hears_it(
    schema_database_url, redis_url, older_redis_url, monkeypatch, guarded
):
    """Redis says full, and a seat is free: its word was old, or the news of the seat was lost."""

    async def believes_the_gate(self, requests):
        return [ClaimAnswer(outcome="full") for _ in requests]

    if not guarded:
        monkeypatch.setattr(Booker, "_lookup", believes_the_gate)
    async with town(schema_database_url, redis_url, older_redis_url, monkeypatch) as place:
        await place.process()
        await place.fill({EXAM: 2})
        trips = RedisTrips(place.settings.redis_url.get_secret_value(), timeout_s=1.0)
        await GateStore(trips, gate_ttl_s=60).put(
            [Gate(exam_id=EXAM, version=99, capacity=2, remaining=0, taken=2, open=True)]
        )
        await trips.close()
        word = await Student(place, "1").book(EXAM)
        await place.settled()
        heard = any(line.startswith("I6: ") for line in await place.broken())
        assert (word, heard) == (("booked", False) if guarded else ("SESSION_FULL", True))


@GUARDED
async def test_a_row_is_in_one_relays_hands_only(ledger, hand, rows, guarded):
    """A relay that slept past its lease wakes up and asks for work."""
    if not guarded:
        await rewrite(rows, "hubspot_sync.check_term(bigint)", ("if not found then", "if false then"))
    await ledger.claim([wish("1")])
    sleeper = hand.term
    await rows.end_lease()
    await hand.take()
    try:
        woken = await ledger.send(sleeper, "create", 10)
    except LeaseLost:
        woken = []
    successor = await hand.send()
    assert len(successor) == 1
    assert (woken == []) is guarded


@GUARDED
async def test_a_cancel_takes_the_row_it_saw_or_nothing(ledger, rows, guarded):
    """Two cancels of one booking at once, both without the exam's lock: the compare-and-set alone must hold."""
    await rewrite(rows, "lastseat_api.cancel(jsonb)", (LOCK, ""))
    slow = ("begin\n", "begin\n perform pg_sleep(0.05);\n")
    compare = "and state = 'waiting' and sent_at is null"
    changes = [slow] if guarded else [slow, (compare, "")]
    await rewrite(rows, "hubspot_sync.fold(uuid,jsonb)", *changes)
    mine = wish("1")
    await ledger.claim([mine, wish("2")])
    cancel = cancelling(mine.booking_id, "1")
    await asyncio.gather(*(ledger.cancel([cancel]) for _ in range(2)))
    assert ((await ledger.gates([EXAM]))[0].taken == 1) is guarded


@GUARDED
async def test_a_request_that_comes_again_late_takes_no_second_seat(ledger, rows, guarded):
    """Booked, cancelled, and then the copy that a slow network kept arrives: its key says that it is old."""
    if not guarded:
        await rows.do("drop index hubspot_sync.claims_one_key")
        by_key = "c.caller = a.caller and c.idempotency_key = a.key"
        await rewrite(rows, "hubspot_sync.judge(jsonb)", (by_key, f"{by_key} and false"))
    mine = wish("1", key="k")
    await ledger.claim([mine])
    await ledger.cancel([cancelling(mine.booking_id, "1")])
    (late,) = await ledger.claim([wish("1", key="k")])
    assert (late.outcome == "replay") is guarded
    assert ((await ledger.gates([EXAM]))[0].taken == 0) is guarded


@GUARDED
async def test_what_was_written_already_is_not_written_over(ledger, hand, monkeypatch, rows, guarded):
    """The answer is lost; before the row is sent again, the office cancels the booking in HubSpot."""

    async def sends_blindly(self, batch):
        self._results |= {self._ident(row): RowResult(key=row.key, outcome="unknown") for row in batch}
        return list(batch)

    if not guarded:
        monkeypatch.setattr(Errand, "_read_back", sends_blindly)
    mine = wish("1")
    await ledger.claim([mine])
    batch = await hand.send()
    await hand.hubspot.upsert_bookings(FreeSlot(), batch)  # the relay that sent this has died since
    hand.hubspot.edit(mine.booking_id, is_active="Cancelled")
    await rows.end_lease()
    await hand.take()
    await hand.carry()
    assert (active(hand) == []) is guarded


@GUARDED
async def test_a_seat_whose_outcome_is_unknown_is_not_given_back(ledger, hand, monkeypatch, guarded):
    """HubSpot wrote the booking and its answer is lost. Off: no read-back, and no answer counts as a refusal."""
    of = Settling.of

    async def reads_nothing(self, batch):
        return []

    def refuses(self, rows, results, now):
        guessed = [msgspec.structs.replace(r, outcome="refused") if r.outcome == "unknown" else r for r in results]
        return of(self, rows, guessed, now)

    if not guarded:
        monkeypatch.setattr(Errand, "_read_back", reads_nothing)
        monkeypatch.setattr(Settling, "of", refuses)
    await ledger.mirror(exams=[exam("508", capacity=1)])
    await ledger.claim([wish("1", "508")])
    hand.hubspot.fates.append("lost")
    await hand.carry()
    await ledger.claim([wish("2", "508")])
    await hand.carry()
    assert (len(active(hand)) == 1) is guarded


@GUARDED
async def test_a_call_that_lands_after_the_cancel_is_undone(database, rows, guarded):
    """The create is stuck on its way, sent again, acknowledged, cancelled; then the stuck one lands."""
    ledger = ledger_on(database)
    await ledger.mirror(exams=[exam()])
    hand = Hand(ledger, MemoryHubSpot())
    await hand.take()
    if not guarded:
        await rows.do(
            "create function hubspot_sync.forget() returns trigger language plpgsql as $$"
            " begin new.verify_at := null; return new; end $$"
        )
        await rows.do(
            "create trigger forget before update on hubspot_sync.outbox for each row"
            " execute function hubspot_sync.forget()"
        )
    mine = wish("1")
    await ledger.claim([mine])
    hand.hubspot.fates.append("late")
    await hand.carry()
    await ledger.cancel([cancelling(mine.booking_id, "1")])
    await hand.carry("cancel")
    hand.hubspot.land()
    await rows.due_now()
    await hand.verify()
    await hand.carry("cancel")
    assert (active(hand) == []) is guarded


@GUARDED
async def test_a_row_that_was_sent_is_not_folded(ledger, hand, rows, guarded):
    """The call is under way when the student cancels: dropping the row would leave a booking that nobody knows of."""
    mine = wish("1")
    await ledger.claim([mine])
    batch = await hand.send()
    if not guarded:
        await rows.do(
            "update hubspot_sync.outbox set state = 'waiting', sent_at = null, sent_term = null, attempts = 0"
        )
    await ledger.cancel([cancelling(mine.booking_id, "1")])
    settlement = await hand.deliver(batch)
    await hand.settle(settlement)
    await hand.carry("cancel")
    await rows.due_now()
    await hand.verify()
    assert (active(hand) == []) is guarded


@GUARDED
async def test_a_new_relay_tells_what_its_predecessor_could_not(
    schema_database_url, redis_url, older_redis_url, monkeypatch, guarded
):
    """Killed between mirror and announcement: a list that was cached before would stay as it was for minutes."""

    async def says_nothing(self, term):
        return None

    if not guarded:
        monkeypatch.setattr(Trips, "tell_what_was_mirrored", says_nothing)
    async with town(schema_database_url, redis_url, older_redis_url, monkeypatch) as place:
        process = await place.process()
        await place.fill({EXAM: 2})
        assert await Student(place, "1").book(EXAM) == "booked"
        await place.settled()
        cached = asyncio.Event()
        process.strikes["mirror", "after"] = lambda: _killed_with_a_cached_list(place, process, cached)
        gone = asyncio.create_task(process.services.booker.book(wish("2")))
        await cached.wait()
        shown = ""
        for _ in range(60):
            shown = await _list_of(place.processes[-1], "2")
            if shown == "Active":
                break
            await asyncio.sleep(0.03)
        gone.cancel()
        assert (shown == "Active") is guarded


async def _killed_with_a_cached_list(place, process, cached: asyncio.Event) -> None:
    """Another process caches the list of before, as a reader a moment earlier would have."""
    process.kill()
    await place.process()

    async def before() -> bytes:
        return b'[{"booking_id":"LS-X","is_active":"Pending"}]'

    trips = RedisTrips(place.settings.redis_url.get_secret_value(), timeout_s=1.0)
    await trips.execute("DEL", bookings_of("2"))
    views = ViewStore(trips, place.settings)
    await views.bookings("2", before)
    await trips.close()
    cached.set()


async def _list_of(process, contact: str) -> str:
    body = await process.services.bookings.list_for(contact, filter="all", page=1, limit=10)
    return msgspec.json.decode(body)["bookings"][0]["is_active"]
