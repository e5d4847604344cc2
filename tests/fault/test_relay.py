"""The relay when a store or HubSpot lets it down in mid-work, and when it is not the only one."""

import asyncio
from collections import Counter

import pytest

from lastseat.errors import LeaseLost, SetupError, Unavailable, Uncertain
from lastseat.model import Settlement
from lastseat.settings import Settings, load
from tests.fault.kit import EXAM, cancelling, wish
from tests.fault.world import World, until


def settled_by(rows):
    async def true():
        return not await rows.outbox("state in ('waiting', 'sent', 'mirrored') or verify_at is not null or not told")

    return true


async def test_a_short_outage_of_the_ledger_in_mid_delivery_leaves_no_row_behind(world, rows):
    """The relay comes back within its own lease; what it had marked must not wait for another relay."""
    world.start()
    assert (await world.book("1")).state == "booked"
    refused = Unavailable("Postgres is restarting")
    relays = {"take_lease", "release_lease", "backlog", "send", "settle", "announced", "unannounced"}
    world.database.fault = lambda function, moment: refused if function in relays else None
    booking = asyncio.create_task(world.book("2"))
    await asyncio.sleep(0.1)
    world.database.fault = lambda function, moment: None
    assert (await booking).state == "booked"

    def down_once(function, moment):
        if function == "settle":
            world.database.fault = lambda function, moment: refused if function in relays else None
        return refused if function == "settle" else None

    world.database.fault = down_once
    late = asyncio.create_task(world.book("3"))
    await asyncio.sleep(0.15)
    world.database.fault = lambda function, moment: None
    await late
    await until(settled_by(rows))
    assert [c["state"] for c in await rows.claims()] == ["booked"] * 3
    assert len(world.hubspot.records) == 3


async def test_rows_marked_by_a_call_whose_answer_was_lost_are_taken_over(world, rows):
    lost = iter([Uncertain("the reply was lost")])
    world.database.fault = lambda function, moment: (
        next(lost, None) if (function, moment) == ("send", "after") else None
    )
    world.start()
    assert (await world.book("1")).state == "booked"
    await until(settled_by(rows))
    assert len(world.hubspot.records) == 1
    assert world.budget.held == 0


async def test_a_call_of_a_term_that_was_given_up_starts_no_more_also_when_the_next_term_began(world, rows):
    relay, deliver = world.relay, world.relay._carrier._delivery.deliver
    allowed: list[bool] = []

    async def given_up_meanwhile(kind, slot, rows, may_start):
        if kind == "create" and not allowed:
            allowed.append(may_start())
            term = relay.term
            await relay._give_up(term)
            allowed.append(may_start())
            await until(lambda: asyncio.sleep(0, relay.term not in (None, term)))
            allowed.append(may_start())
        return await deliver(kind, slot, rows, may_start)

    relay._carrier._delivery.deliver = given_up_meanwhile
    world.start()
    assert (await world.book("1")).state == "booked"
    await until(settled_by(rows))
    assert allowed == [True, False, False]
    assert len(world.hubspot.records) == 1
    assert world.budget.held == 0


async def test_a_renewal_that_comes_back_after_the_term_was_given_up_brings_it_not_back(world):
    relay = world.relay
    await relay._renew()
    lease = relay._lease
    assert relay._holds(lease.term)

    def given_up(function, moment):
        if (function, moment) == ("take_lease", "after"):
            relay._lease = None

    world.database.fault = given_up
    await relay._renew()
    assert relay._lease is None
    assert not relay._holds(lease.term)
    world.database.fault = lambda function, moment: None
    await relay._renew()
    assert relay._lease.term == lease.term + 1


async def test_no_slot_is_kept_when_rows_cannot_be_marked(world, rows):
    failing = iter([Unavailable("away")] * 3)
    world.database.fault = lambda function, moment: next(failing, None) if function == "send" else None
    world.start()
    assert (await world.book("1")).state == "booked"
    await until(settled_by(rows))
    assert world.budget.held == 0


async def test_a_row_that_the_ledger_cannot_take_holds_up_no_other(world, rows):
    """Drift has left too few seats in one exam: its rows fail, each by itself."""
    from tests.fault.kit import exam

    await world.exams(exam("502", capacity=5))
    assert [a.outcome for a in await world.ledger.claim([wish("1"), wish("2", "502")])] == ["won", "won"]
    await rows.do("update hubspot_sync.hubspot_mock_exams set seats_taken = 0 where hubspot_id = '502'")
    moved = "update hubspot_sync.claims set properties = properties || $1::jsonb where exam_id = '502'"
    await rows.do(moved, '{"mock_exam_id": "503"}')
    world.start()

    async def first_is_booked():
        return [c["state"] for c in await rows.claims() if c["exam_id"] == EXAM] == ["booked"]

    await until(first_is_booked)
    await rows.do("update hubspot_sync.hubspot_mock_exams set seats_taken = 1 where hubspot_id = '502'")
    await until(settled_by(rows))
    assert len(world.hubspot.records) == 2


async def test_a_portal_that_refuses_links_does_not_stop_bookings(schema_database_url, rows):
    world = World(schema_database_url, backoff_first_s=5.0, backoff_most_s=30.0)
    await world.exams()
    link = world.hubspot.link

    async def refused(slot, kind, batch):
        world.hubspot.fates.appendleft("portal")
        return await link(slot, kind, batch)

    world.hubspot.link = refused
    world.start()
    assert (await world.book("1")).state == "booked"

    async def links_refused():
        return world.relay.paused_because == "a scope is missing"

    await until(links_refused)
    assert (await world.book("2")).state == "booked"
    assert await world.cancel((await world.ledger.bookings("2"))[0].booking_id, "2") == "cancelled"
    await world.close()


async def test_after_an_outage_all_that_waits_goes_at_once_and_in_order(schema_database_url, rows):
    """However long it lasted: few rows were tried meanwhile, and the first answer opens the door to all."""
    world = World(schema_database_url, backoff_first_s=0.02, backoff_most_s=60.0, probe_most_s=0.2, deadline_s=0.001)
    await world.exams()
    world.hubspot.otherwise = "down"
    world.start()
    for contact in range(40):
        assert await world.state_of(contact) == "open"
    await asyncio.sleep(0.5)
    world.hubspot.otherwise = "ok"
    began_at = asyncio.get_running_loop().time()
    await until(settled_by(rows))
    assert asyncio.get_running_loop().time() - began_at < 1.5
    assert len(world.hubspot.records) == 40
    await world.close()


async def test_looking_again_during_an_outage_costs_few_calls(schema_database_url, rows):
    world = World(schema_database_url, probe_most_s=0.3, backoff_first_s=0.1)
    await world.exams()
    world.hubspot.fates.append("lost")
    world.start()
    assert (await world.book("1")).state == "booked"
    world.hubspot.otherwise = "lost-before"
    await rows.due_now()
    await asyncio.sleep(0.6)
    assert [name for name, _ in world.hubspot.calls].count("read") < 10
    world.hubspot.otherwise = "ok"
    await until(settled_by(rows))
    await world.close()


async def test_an_outage_costs_few_calls_however_many_wait(schema_database_url):
    world = World(
        schema_database_url,
        backoff_first_s=0.1,
        backoff_most_s=0.4,
        probe_most_s=0.4,
        deadline_s=0.01,
        relay_window_s=0.001,
    )
    await world.exams()
    world.hubspot.otherwise = "down"
    world.start()
    for contact in range(40):
        await world.state_of(contact)
    assert len(world.hubspot.calls) < 15
    await world.close()


async def test_a_row_that_breaks_hubspot_does_not_take_its_batch_with_it(schema_database_url, rows):
    """A 5xx for the whole batch, whenever one certain row is in it; others are accepted meanwhile."""
    world = World(schema_database_url, deadline_s=0.05)
    await world.exams()
    upsert = world.hubspot.upsert_bookings

    async def breaks(slot, batch):
        if any(row.contact_id == "bad" for row in batch):
            world.hubspot.fates.appendleft("lost-before")
        return await upsert(slot, batch)

    world.hubspot.upsert_bookings = breaks
    await world.ledger.claim([wish(str(n)) for n in range(8)] + [wish("bad")] + [wish(str(n)) for n in range(8, 16)])
    world.start()

    async def others_are_booked():
        return Counter(c["state"] for c in await rows.claims()) == {"booked": 16, "open": 1}

    await until(others_are_booked)
    await world.close()


def test_a_lease_too_short_for_a_call_is_refused_at_start(monkeypatch):
    """Else no call would ever start, and nobody would know why."""
    monkeypatch.setenv("HUBSPOT_TIMEOUT_S", "8")
    with pytest.raises(SetupError, match=r"LASTSEAT_LEASE_S: .* too short"):
        load()


async def test_takeover_is_within_ten_seconds_by_default():
    defaults = Settings()
    assert defaults.lease_s + defaults.lease_offer_s <= 10


async def test_a_dead_relay_is_succeeded_within_lease_and_offer(world, rows):
    await world.ledger.claim([wish("1")])
    lease = await world.ledger.take_lease("dead", world.settings.lease_s)
    assert len(await world.ledger.send(lease.term, "create", 10)) == 1
    began_at = asyncio.get_running_loop().time()
    world.start()

    async def succeeded():
        return world.relay.term == lease.term + 1

    await until(succeeded)
    took_s = asyncio.get_running_loop().time() - began_at
    assert took_s <= world.settings.lease_s + world.settings.lease_offer_s + 0.3
    assert world.budget.heard > 0  # the dead one's calls may still fill HubSpot's window
    await until(settled_by(rows))
    assert [c["state"] for c in await rows.claims()] == ["booked"]


async def test_a_relay_says_nothing_of_hubspot_that_it_learnt_in_an_earlier_term(world):
    settling = world.relay._settling
    for _ in range(3):
        settling.failed("create", -1000.0, away="HubSpot did not answer")
    assert settling.away_because is not None
    assert world.relay.away_because is None, "it holds no lease"
    world.start()

    async def began():
        return world.relay.term is not None

    await until(began, 20)
    assert (world.relay.away_because, settling.away_because) == (None, None)


async def test_a_paused_relay_that_wakes_starts_no_call_and_mirrors_nothing(world, rows, schema_database_url):
    """Paused between marking and sending, for longer than its lease; its successor has done the work meanwhile."""
    other = World(schema_database_url)
    other.hubspot = world.hubspot
    sleeper = other.relay = other.new_relay()
    paused, awake = asyncio.Event(), asyncio.Event()
    call = other.database.call

    async def sleepy(function, args):
        answer = await call(function, args)
        if function == "send":
            paused.set()
        if paused.is_set():
            await awake.wait()
        return answer

    other.database.call = sleepy
    other.start()
    await world.ledger.claim([wish("1")])
    await paused.wait()
    world.start()
    await until(settled_by(rows))
    assert sleeper.term is None
    calls = len(world.hubspot.calls)
    awake.set()
    await asyncio.sleep(0.1)
    assert len(world.hubspot.calls) == calls
    assert [name for name, _ in world.hubspot.calls].count("upsert") == 1
    assert [c["state"] for c in await rows.claims()] == ["booked"]
    with pytest.raises(LeaseLost):
        await other.ledger.settle(1, Settlement())
    await other.close()


async def test_a_cancel_never_overtakes_its_own_booking(world, rows):
    """The booking's call is lost and tried again later; the cancel waits for it, though it is due."""
    world.hubspot.fates.extend(["late", "lost-before", "lost-before", "lost-before"])
    mine = wish("1")
    await world.ledger.claim([mine])
    world.start()

    async def sent():
        return bool(await rows.outbox("sent_at is not null"))

    await until(sent)
    assert [a.outcome for a in (await world.ledger.cancel([cancelling(mine.booking_id, "1")]))[0]] == ["pending"]
    await until(settled_by(rows))
    assert [r.properties["is_active"] for r in world.hubspot.records.values()] == ["Cancelled"]
    names = [name for name, _ in world.hubspot.calls if name in ("upsert", "update")]
    assert names.index("update") > max(n for n, name in enumerate(names) if name == "upsert")
    assert await world.taken() == 0


async def test_only_what_was_never_marked_is_folded(world, rows):
    first, second = wish("1"), wish("2")
    await world.ledger.claim([first])
    lease = await world.ledger.take_lease("hand", 5)
    await world.ledger.send(lease.term, "create", 10)
    await world.ledger.claim([second])
    answers, _ = await world.ledger.cancel([cancelling(first.booking_id, "1"), cancelling(second.booking_id, "2")])
    assert [a.outcome for a in answers] == ["pending", "cancelled"]
    states = {(r["booking_id"], r["kind"]): r["state"] for r in await rows.outbox()}
    assert states == {
        (first.booking_id, "create"): "sent",
        (first.booking_id, "cancel"): "waiting",
        (second.booking_id, "create"): "dropped",
    }


async def test_a_row_in_back_off_delays_nobody(world, rows):
    """A thousand rows that wait for their turn stand before the new one in the table, not in the queue."""
    await world.ledger.claim([wish(f"old{n}") for n in range(40)])
    await rows.do("update hubspot_sync.outbox set not_before = now() + interval '5 minutes', attempts = 5")
    world.start()
    assert (await world.book("new")).state == "booked"
    assert len(world.hubspot.records) == 1
