"""The shared budget on a real Valkey: never a 429 by us, whatever is lost, and nobody waits for ever."""

import asyncio

import pytest

from lastseat.stores.keys import budget_window
from lastseat.stores.rate_budget import _RECALL_MS, SharedBudget, SharedSlot
from tests.hubspot_client.doubles import settings_for
from tests.hubspot_client.meter import Meter, drive, stalls
from tests.hubspot_client.office import WINDOW_S, first, in_s, known, taken

RECALL_S = _RECALL_MS / 1000


async def test_a_cold_start_makes_one_call_and_then_allows_the_rest_at_once(office):
    budget, meter = office.budget(), Meter(10, WINDOW_S)
    assert await budget.free() == 1
    slot = await first(budget)
    assert await budget.free() == 0
    status, headers = meter.arrive()
    await slot.close(headers, status)
    assert await budget.free() == 9
    assert len(await taken(budget)) == 9


async def test_a_cold_start_into_a_full_window_believes_the_headers(office):
    budget, meter = office.budget(), Meter(10, WINDOW_S)
    for _ in range(7):
        meter.arrive()
    await known(budget, meter)
    assert len(await taken(budget)) == 2


async def test_a_first_call_without_headers_teaches_nothing(office):
    budget = office.budget()
    await (await first(budget)).close()
    assert len(await taken(budget)) == 1


async def test_a_rush_uses_all_calls_at_once(office):
    budget, meter = office.budget(), Meter(10, WINDOW_S)
    await known(budget, meter)
    await known(budget, meter)
    upserts = await asyncio.gather(*(budget.reserve("create") for _ in range(3)))
    assert await asyncio.gather(*(meter.call(slot) for slot in upserts)) == [200] * 3
    later = [await budget.reserve(kind) for kind in ("link_contact", "link_exam", "count")]
    assert await asyncio.gather(*(meter.call(slot) for slot in later)) == [200] * 3


async def test_a_slot_is_free_a_window_after_its_reply_and_not_before(office):
    budget, meter = office.budget(limit=1), Meter(1, WINDOW_S)
    slot = await first(budget)
    await asyncio.sleep(WINDOW_S / 2)
    status, headers = meter.arrive()
    await slot.close(headers, status)
    await asyncio.sleep(WINDOW_S * 0.7)
    wait_s = await budget.reserve("create")
    assert isinstance(wait_s, float)
    assert wait_s == pytest.approx(WINDOW_S * 0.3, abs=0.06)
    await asyncio.sleep(wait_s + 0.01)
    assert len(await taken(budget)) == 1


class FreedAtSend(SharedBudget):
    """Negative control: a slot counts from the moment of sending."""

    async def reserve(self, kind):
        slot = await super().reserve(kind)
        if isinstance(slot, SharedSlot):
            await slot.close()
        return slot


async def test_slots_freed_at_send_would_get_a_429(office):
    meter = Meter(5, WINDOW_S, latency_s=0.1, jitter_s=0.08)
    office.budget()
    given = settings_for(hubspot_rate_limit=5, hubspot_rate_window_s=WINDOW_S, hubspot_timeout_s=0.01)
    budget = FreedAtSend(office.trips[0], given)
    await asyncio.sleep(WINDOW_S)
    await asyncio.gather(*(drive(budget, meter, "create", in_s(1.5)) for _ in range(5)))
    assert meter.refused > 0


@pytest.mark.parametrize("limit", [1, 2, 5, 10])
async def test_greedy_processes_never_get_a_429_and_use_the_budget(office, limit):
    meter = Meter(limit, WINDOW_S, latency_s=0.04, jitter_s=0.02)
    budgets = [office.budget(limit, hubspot_timeout_s=0.2) for _ in range(3)]
    until = in_s(1.6)
    await asyncio.gather(*(drive(budget, meter, "create", until) for budget in budgets for _ in range(3)))
    assert meter.refused == 0
    assert meter.accepted >= 3 * limit


@pytest.mark.parametrize("accident", ["flush", "older copy", "other app writes nonsense"])
async def test_losing_the_window_in_mid_rush_causes_no_429(office, accident):
    """Held of processes that run: one that stood still while the others told of their calls is played again."""
    for _ in range(5):
        office.budget()
        async with stalls(lambda: office.redis("PING")) as stall:
            meter = await lose_the_window(office, accident)
        assert meter.accepted >= 16
        if meter.refused == 0:
            return
        assert stall.most_s > RECALL_S / 2, "it was awake all the time"
    raise AssertionError("never once without a 429")


async def lose_the_window(office, accident):
    meter = Meter(8, WINDOW_S, latency_s=0.04, jitter_s=0.008)
    budgets = [office.budget(8) for _ in range(2)]
    until = in_s(1.6)
    runs = [asyncio.create_task(drive(budget, meter, "create", until)) for budget in budgets for _ in range(4)]
    for _ in range(6):
        older = await office.redis("GET", budget_window())
        await asyncio.sleep(0.23)
        if accident == "flush":
            await office.redis("FLUSHALL")
        elif accident == "older copy" and older:
            await office.redis("SET", budget_window(), older)
        else:
            await office.redis("SET", budget_window(), "nonsense")
    await asyncio.gather(*runs)
    return meter


class Trusting(SharedBudget):
    """Negative control: an empty window in Redis is believed, and the process keeps no count of its own."""

    async def _run(self, op, *, kind="", **args):
        self._local._calls.clear()
        self._seen, self._untold = 0, False
        if op == "reserve":
            await super()._run("close", id="trust", kind="trust", sent_ago=0, status=0, max=8, remaining=7)
        return await super()._run(op, kind=kind, **args)


async def test_believing_an_empty_window_would_get_a_429(office):
    meter = Meter(8, WINDOW_S, latency_s=0.04)
    office.budget()
    budget = Trusting(office.trips[0], settings_for(hubspot_rate_limit=8, hubspot_rate_window_s=WINDOW_S))
    until = in_s(1.0)
    runs = [asyncio.create_task(drive(budget, meter, "create", until)) for _ in range(4)]
    for _ in range(4):
        await asyncio.sleep(0.2)
        await office.redis("FLUSHALL")
    await asyncio.gather(*runs)
    assert meter.refused > 0


@pytest.mark.parametrize("told", [True, False], ids=["the ledger tells", "nobody tells"])
async def test_a_window_lost_with_the_process_that_filled_it_is_waited_for(office, told):
    """The relay used all calls and died, and Redis was emptied: only the ledger knows. Untold, it is one 429."""
    meter = Meter(10, 1.5)
    late = {"hubspot_rate_window_s": 1.5}
    dead, successor = office.budget(**late), office.budget(**late)
    await known(dead, meter)
    await asyncio.gather(*(meter.call(slot) for slot in await taken(dead)))
    await office.redis("FLUSHALL")
    if told:
        successor.others_called(0.0)
        assert await successor.free() == 0
    assert await meter.call(await first(successor)) == (200 if told else 429)
    assert meter.refused == (0 if told else 1)


async def test_a_last_call_of_long_ago_costs_a_cold_start_nothing(office):
    budget = office.budget(hubspot_rate_window_s=10.0, hubspot_timeout_s=4.0)
    budget.others_called(14.1)
    assert await budget.free() == 1


async def test_what_redis_knows_of_a_predecessor_is_believed_at_once(office):
    meter = Meter(10, 10.0)
    before, successor = office.budget(hubspot_rate_window_s=10.0), office.budget(hubspot_rate_window_s=10.0)
    await known(before, meter)
    successor.others_called(0.0)
    assert len(await taken(successor)) == 9


async def test_calls_of_others_with_our_token_are_left_room(office):
    meter = Meter(10, WINDOW_S, latency_s=0.01)
    budget = office.budget(10, hubspot_headroom=3)
    until = in_s(1.5)

    async def other() -> None:
        while asyncio.get_running_loop().time() < until:
            meter.arrive()
            await asyncio.sleep(WINDOW_S / 5)

    others = asyncio.create_task(other())
    await drive(budget, meter, "create", until)
    await others
    assert meter.refused == 0


async def test_a_smaller_limit_in_the_headers_wins(office):
    budget, meter = office.budget(100), Meter(4, WINDOW_S)
    await known(budget, meter)
    assert len(await taken(budget)) == 3


async def test_a_longer_interval_in_the_headers_wins(office):
    budget, meter = office.budget(2), Meter(2, 5.0)
    await known(budget, meter)
    await known(budget, meter)
    assert (await budget.reserve("create")) > 4


async def test_headroom_is_never_used(office):
    budget, meter = office.budget(10, hubspot_headroom=4), Meter(10, WINDOW_S)
    await known(budget, meter)
    assert len(await taken(budget)) == 5


async def test_lower_kinds_leave_room_for_bookings(office):
    budget, meter = office.budget(20), Meter(20, WINDOW_S)
    await known(budget, meter)
    backfill = await taken(budget, "backfill")
    links = await taken(budget, "link_contact")
    bookings = await taken(budget, "create")
    assert [len(backfill), len(links), len(bookings)] == [9, 8, 2]


async def test_bookings_without_end_do_not_starve_the_links(office):
    meter = Meter(3, WINDOW_S, latency_s=0.01)
    budget = office.budget(3)
    until = in_s(2.0)
    creates = [asyncio.create_task(drive(budget, meter, "create", until)) for _ in range(6)]
    links, counts = await asyncio.gather(
        drive(budget, meter, "link_contact", until), drive(budget, meter, "count", until)
    )
    await asyncio.gather(*creates)
    assert links >= 1
    assert counts >= 1
    assert meter.refused == 0


async def test_a_slot_of_a_process_that_died_comes_back(office):
    budget, meter = office.budget(2), Meter(2, WINDOW_S)
    await known(budget, meter)
    assert len(await taken(budget)) == 1  # never closed
    await asyncio.sleep(WINDOW_S + 0.25)
    assert len(await taken(office.budget(2))) == 2


async def test_a_slot_given_back_is_free_at_once(office):
    budget, meter = office.budget(2), Meter(2, WINDOW_S)
    await known(budget, meter)
    [slot] = await taken(budget)
    await slot.give_back()
    await slot.close()
    assert len(await taken(budget)) == 1


async def test_searches_have_their_own_budget_and_count_in_the_window_too(office):
    budget, meter = office.budget(20, hubspot_search_window_s=0.2), Meter(20, 1.0)
    await known(budget, meter)
    searches = await taken(budget, "search")
    assert len(searches) == 4
    assert len(await taken(budget, "create")) == 15
    for slot in searches:
        await slot.close()


async def test_searches_that_redis_forgot_still_count(office):
    """HubSpot: 5 searches a second for the whole account; a FLUSHALL between them must not double ours."""
    budget, meter = office.budget(20, hubspot_search_window_s=5.0), Meter(20, 5.0)
    await known(budget, meter)
    for slot in await taken(budget, "search"):
        await slot.close({}, 200)
    await office.redis("FLUSHALL")
    await known(budget, meter)
    assert await taken(budget, "search") == []
    assert len(await taken(budget, "create", most=1)) == 1


async def test_the_token_never_reaches_redis(office):
    budget = office.budget()
    await taken(budget)
    assert b"pat-demo" not in await office.redis("GET", budget_window())


async def test_calls_are_remembered_for_the_checks_and_a_429_that_is_not_ours_is_marked(office):
    budget = office.budget(5)
    await budget.closed("a", "create", {}, 200)
    await budget.closed("b", "create", {}, 429)
    await budget.closed("c", "create", {"policy-name": "DAILY"}, 429)
    await budget.closed("d", "create", {f"x-hubspot-ratelimit-{name}": n for name, n in OTHERS.items()}, 429)
    assert [(call.status, call.planted) for call in budget.past] == [
        (200, False),
        (429, False),
        (429, True),
        (429, True),
    ]


OTHERS = {"max": "50", "remaining": "0", "interval-milliseconds": "10000"}
