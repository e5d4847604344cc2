"""The write path from book to announced, on a real ledger, with HubSpot played by a dictionary."""

import asyncio

import pytest

from lastseat.model import CancelRequest, RowResult
from tests.writes.world import World, until


@pytest.fixture
async def world(schema_database_url):
    world = World(schema_database_url)
    yield world
    await world.close()


async def test_a_rush_books_each_seat_once_in_few_calls(world):
    await world.exam(100)
    world.start_relay()
    states = await world.book_all(range(250))
    assert states.count("booked") == 100
    assert states.count("SESSION_FULL") == 150
    assert len(world.hubspot.records) == 100
    assert await world.taken() == 100
    assert sum(kind == "create" for kind, _ in world.hubspot.calls) <= 3


async def test_links_and_counts_follow_the_bookings_in_one_call_each(world):
    await world.exam(100)
    world.start_relay()
    await world.book_all(range(60))

    async def linked():
        return {kind for kind, _ in world.hubspot.calls} >= {"link_contact", "link_exam", "count"}

    await until(linked)
    assert [n for kind, n in world.hubspot.calls if kind == "link_contact"] == [60]
    assert [n for kind, n in world.hubspot.calls if kind == "count"] == [1]


async def test_without_a_relay_the_seat_is_kept_and_the_answer_says_open(schema_database_url):
    world = World(schema_database_url, deadline_s=0.05)
    await world.exam(1)
    assert await world.book_all([1, 2]) == ["open", "SESSION_FULL"]
    world.start_relay()

    async def booked():
        return (await world.ledger.bookings("1"))[0].is_active == "Active"

    await until(booked)
    await world.close()


async def test_a_row_refused_alone_gives_its_seat_back_and_is_told(world):
    await world.exam(3)

    def refuse_contact_2(kind, row):
        if kind == "create" and row.contact_id == "2":
            return RowResult(key=row.key, outcome="refused", reason="Property values were not valid")
        return world.hubspot.write(kind, row)

    world.hubspot.answer = refuse_contact_2
    world.start_relay()
    assert await world.book_all([1, 2, 3]) == ["booked", "REFUSED_BY_HUBSPOT", "booked"]
    assert await world.taken() == 2
    shown = (await world.ledger.bookings("2"))[0]
    assert (shown.is_active, shown.reason) == ("Refused", "Property values were not valid")


async def test_a_portal_that_refuses_everything_keeps_the_claims_and_pauses(schema_database_url):
    world = World(schema_database_url, deadline_s=0.1)
    await world.exam(3)
    world.hubspot.answer = lambda kind, row: RowResult(key=row.key, outcome="portal", reason="scope is missing")
    relay = world.relay()
    world.relays.append(asyncio.create_task(relay.run()))
    assert await world.book_all([1, 2]) == ["open", "open"]

    async def told():
        return relay.paused_because == "scope is missing"

    await until(told)
    assert await world.taken() == 2
    world.hubspot.answer = world.hubspot.write

    async def drained():
        return len(world.hubspot.records) == 2 and relay.paused_because is None

    await until(drained)
    await world.close()


async def test_a_cancel_frees_one_seat_once(world):
    await world.exam(1)
    world.start_relay()
    claim = await world.book(1)
    cancel = CancelRequest(reference=claim.booking_id, caller="student:1", request_id="r", owner="1")
    first, second = await asyncio.gather(world.canceller.cancel([cancel]), world.canceller.cancel([cancel]))
    assert first[0].outcome == second[0].outcome == "cancelled"
    assert world.hubspot.records[claim.booking_id]["is_active"] == "Cancelled"
    assert await world.taken() == 0
    assert [a.outcome for a in await world.canceller.cancel([cancel])] == ["already_cancelled"]
    assert await world.book_all([2, 3]) in (["booked", "SESSION_FULL"], ["SESSION_FULL", "booked"])


async def test_a_cancel_queues_behind_its_own_create_once_that_was_sent(world):
    await world.exam(1)
    world.hubspot.latency_s = 0.2
    world.start_relay()
    booking = asyncio.create_task(world.book(1))

    async def sent():
        return bool(world.hubspot.calls)

    await until(sent)
    reference = (await world.ledger.bookings("1"))[0].booking_id
    cancel = CancelRequest(reference=reference, caller="student:1", request_id="r", owner="1")
    answers = await world.canceller.cancel([cancel])
    assert [a.outcome for a in answers] == ["cancelled"]
    assert (await booking).state == "booked"
    assert [kind for kind, _ in world.hubspot.calls if kind in {"create", "cancel"}] == ["create", "cancel"]
    assert await world.taken() == 0


async def test_a_late_commit_of_a_cancelled_booking_is_found_and_undone(schema_database_url):
    world = World(schema_database_url, verify_after_s=1.5)
    await world.exam(1)
    lost = []

    def lose_the_first(kind, row):
        if kind == "create" and not lost:
            lost.append(row)
            return RowResult(key=row.key, outcome="unknown", reason="time-out")
        return world.hubspot.write(kind, row)

    world.hubspot.answer = lose_the_first
    world.start_relay()
    claim = await world.book(1)
    cancel = CancelRequest(reference=claim.booking_id, caller="student:1", request_id="r", owner="1")
    assert (await world.canceller.cancel([cancel]))[0].outcome == "cancelled"
    world.hubspot.write("create", lost[0])  # the stuck call lands now
    assert world.hubspot.records[claim.booking_id]["is_active"] == "Active"

    async def undone():
        return world.hubspot.records[claim.booking_id]["is_active"] == "Cancelled"

    await until(undone)
    assert await world.taken() == 0
    await world.close()


async def test_a_relay_that_dies_between_sent_and_mirrored_is_succeeded(schema_database_url):
    world = World(schema_database_url, lease_s=0.6, hubspot_timeout_s=0.1, lease_margin_s=0.05, deadline_s=3)
    await world.exam(2)
    lease = await world.ledger.take_lease("dead", 30)
    booking = asyncio.create_task(world.book_all([1, 2]))

    async def claimed():
        return await world.taken() == 2

    await until(claimed)
    rows = await world.ledger.send(lease.term, "create", 100)
    assert len(rows) == 2
    world.hubspot.write("create", rows[0])  # one of the two had been committed
    await world.ledger.release_lease("dead", lease.term)  # as if its time were over
    world.start_relay()
    assert await booking == ["booked", "booked"]
    assert len(world.hubspot.records) == 2
    await world.close()


async def test_a_paused_relay_that_wakes_cannot_mirror_over_its_successor(world):
    from lastseat.errors import LeaseLost
    from lastseat.model import Settlement

    await world.exam(1)
    old = await world.ledger.take_lease("old", 0.05)
    await asyncio.sleep(0.06)
    new = await world.ledger.take_lease("new", 5)
    assert new.term == old.term + 1
    with pytest.raises(LeaseLost):
        await world.ledger.settle(old.term, Settlement())
    with pytest.raises(LeaseLost):
        await world.ledger.send(old.term, "create", 10)
    assert await world.ledger.take_lease("old", 5) is None


async def test_mirrored_but_not_announced_rows_are_announced_by_the_next_relay(world):
    from lastseat.model import Settlement, Written

    await world.exam(1)
    booking = asyncio.create_task(world.book(1))

    async def claimed():
        return await world.taken() == 1

    await until(claimed)
    lease = await world.ledger.take_lease("dead", 30)
    row = (await world.ledger.send(lease.term, "create", 1))[0]
    record = world.hubspot.write("create", row).record
    await world.ledger.settle(
        lease.term, Settlement(written=[Written(outbox_id=row.outbox_id, kind="create", record=record)])
    )
    await world.ledger.release_lease("dead", lease.term)
    world.start_relay()
    assert (await booking).state == "booked"


async def test_a_key_gets_its_own_result_even_when_the_exam_is_full(world):
    await world.exam(1)
    world.start_relay()
    first = await world.book(1, key="k")
    assert (await world.book_all([2])) == ["SESSION_FULL"]
    assert (await world.book(1, key="k")).booking_id == first.booking_id
    assert (await world.book_all([1])) == ["ALREADY_BOOKED"]


async def test_a_late_commit_of_a_refused_booking_is_found_and_undone(schema_database_url):
    world = World(schema_database_url, verify_after_s=1.5)
    await world.exam(1)
    lost = []

    def lose_then_refuse(kind, row):
        if kind != "create":
            return world.hubspot.write(kind, row)
        if not lost:
            lost.append(row)
            return RowResult(key=row.key, outcome="unknown", reason="time-out")
        return RowResult(key=row.key, outcome="refused", reason="no such option", uncertain=True)

    world.hubspot.answer = lose_then_refuse
    world.start_relay()
    assert await world.book_all([1]) == ["REFUSED_BY_HUBSPOT"]
    world.hubspot.write("create", lost[0])  # the stuck call lands now

    async def undone():
        return world.hubspot.records[lost[0].booking_id]["is_active"] == "Cancelled"

    await until(undone)
    assert await world.taken() == 0
    await world.close()
