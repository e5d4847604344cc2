"""The shared budget on a real Valkey: never a 429 by us, whatever is lost, and nobody waits for ever."""

import asyncio

import pytest
import pytest_asyncio

from lastseat.errors import Unavailable
from lastseat.stores.keys import budget_window
from lastseat.stores.rate_budget import SharedBudget, SharedSlot
from lastseat.stores.redis import RedisTrips
from tests.hubspot_client.doubles import settings_for
from tests.hubspot_client.meter import Meter, drive

WINDOW_S = 0.3


class Office:
    """Budgets of several processes on one Valkey."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.trips: list[RedisTrips] = []

    def budget(self, limit: int = 10, **more) -> SharedBudget:
        given = {"hubspot_rate_limit": limit, "hubspot_rate_window_s": WINDOW_S, "hubspot_timeout_s": 0.2, **more}
        self.trips.append(RedisTrips(self.url, timeout_s=1.0))
        return SharedBudget(self.trips[-1], settings_for(**given))

    async def redis(self, *command):
        return await self.trips[0].execute(*command)

    async def close(self) -> None:
        for trips in self.trips:
            await trips.close()


@pytest_asyncio.fixture
async def office(redis_url):
    found = Office(redis_url)
    yield found
    await found.close()


def in_s(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


async def taken(budget, kind: str = "create", most: int = 100) -> list[SharedSlot]:
    """Every slot that can be had now."""
    slots: list[SharedSlot] = []
    while len(slots) < most and isinstance(slot := await budget.reserve(kind), SharedSlot):
        slots.append(slot)
    return slots


async def first(budget) -> SharedSlot:
    """The first slot, after the moment in which others may tell of their calls."""
    for _ in range(20):
        slot = await budget.reserve("create")
        if isinstance(slot, SharedSlot):
            return slot
        await asyncio.sleep(slot)
    raise AssertionError("no slot came free")


async def known(budget, meter: Meter) -> None:
    """One call, whose headers tell how full the window is."""
    slot = await first(budget)
    status, headers = meter.arrive()
    await slot.close(headers, status)


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
    assert meter.refused == 0
    assert meter.accepted >= 16


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


@pytest.mark.parametrize(
    ("status", "headers", "at_least_s", "why"),
    [
        (423, {}, 1.9, "LOCKED"),
        (423, {"retry-after": "5"}, 4.9, "LOCKED"),
        (477, {"retry-after": "7200"}, 59.0, "MIGRATION"),
        (477, {}, 59.0, "MIGRATION"),
        (429, {"policy-name": "DAILY"}, 59.0, "DAILY"),
        (429, {"policy-name": "TEN_SECONDLY_ROLLING"}, WINDOW_S * 0.9, "TEN_SECONDLY_ROLLING"),
        (429, {"retry-after": "3"}, 2.9, "TEN_SECONDLY_ROLLING"),
    ],
)
async def test_being_told_to_wait_pauses_every_process_and_says_why(office, status, headers, at_least_s, why):
    budget, other = office.budget(), office.budget()
    slot = await first(budget)
    await slot.close(headers, status)
    for one in (budget, other):
        assert await one.reserve("create") >= at_least_s
        told = await one.status()
        assert told["ok"] is False
        assert why in str(told["detail"])
        assert await one.free() == 0


async def test_a_flushed_redis_does_not_lift_a_pause(office):
    budget = office.budget()
    slot = await first(budget)
    await slot.close({}, 423)
    await office.redis("FLUSHALL")
    assert await budget.reserve("create") > 1.5


async def test_a_search_limit_pauses_searches_only(office):
    budget, meter = office.budget(), Meter(10, WINDOW_S)
    await known(budget, meter)
    [slot] = await taken(budget, "search", most=1)
    await slot.close({"policy-name": "SECONDLY"}, 429)
    assert isinstance(await budget.reserve("search"), float)
    assert isinstance(await budget.reserve("create"), SharedSlot)


async def test_a_429_that_the_headers_contradict_pauses_only_briefly(office):
    budget, meter = office.budget(), Meter(10, WINDOW_S)
    slot = await first(budget)
    _, headers = meter.arrive()
    await slot.close(headers, 429)
    assert await budget.reserve("create") <= WINDOW_S / 10
    await asyncio.sleep(WINDOW_S / 10 + 0.01)
    assert len(await taken(budget)) == 9


async def test_what_is_left_of_the_day_belongs_to_the_bookings(office):
    budget, meter = office.budget(), Meter(10, WINDOW_S)
    slot = await first(budget)
    status, headers = meter.arrive()
    daily = {"x-hubspot-ratelimit-daily": "1000", "x-hubspot-ratelimit-daily-remaining": "9"}
    await slot.close(headers | daily, status)
    assert isinstance(await budget.reserve("count"), float)
    assert isinstance(await budget.reserve("create"), SharedSlot)
    assert (await budget.status())["daily_left"] == 8


async def test_a_day_that_is_used_up_pauses_before_a_429(office):
    budget, meter = office.budget(), Meter(10, WINDOW_S)
    slot = await first(budget)
    status, headers = meter.arrive()
    await slot.close(headers | {"x-hubspot-ratelimit-daily-remaining": "0"}, status)
    assert isinstance(await budget.reserve("create"), float)
    assert "DAILY" in str((await budget.status())["detail"])


class Away:
    """A Redis that cannot be reached, until it can."""

    def __init__(self, trips: RedisTrips) -> None:
        self.trips = trips
        self.away = True

    async def script(self, name, keys, args):
        if self.away:
            raise Unavailable("Redis is away")
        return await self.trips.script(name, keys, args)


async def test_without_redis_a_cautious_share_is_used(office):
    office.budget()
    away = Away(office.trips[0])
    given = settings_for(hubspot_rate_limit=10, hubspot_rate_window_s=WINDOW_S, processes=2)
    budget, meter = SharedBudget(away, given), Meter(10, WINDOW_S)
    assert await budget.free() == 1
    [probe] = await taken(budget)
    status, headers = meter.arrive()
    await probe.close(headers, status)
    assert await budget.free() == 4
    assert len(await taken(budget)) == 4
    assert "Redis is away" in str((await budget.status())["detail"])


async def test_without_redis_headers_and_pauses_still_count(office):
    office.budget()
    given = settings_for(hubspot_rate_limit=10, hubspot_rate_window_s=WINDOW_S)
    budget, meter = SharedBudget(Away(office.trips[0]), given), Meter(10, WINDOW_S)
    for _ in range(8):
        meter.arrive()
    await known(budget, meter)
    slot = await first(budget)
    await slot.close({}, 423)
    assert await budget.reserve("create") > 1.5
    assert await budget.free() == 0


async def test_calls_made_without_redis_are_told_when_it_returns(office):
    other = office.budget()
    away = Away(office.trips[0])
    given = settings_for(hubspot_rate_limit=10, hubspot_rate_window_s=2.0)
    budget, meter = SharedBudget(away, given), Meter(10, 2.0)
    for _ in range(4):
        await known(budget, meter)
    away.away = False
    await known(budget, meter)
    assert (await other.status())["used"] == 5


async def test_a_redis_lost_in_mid_rush_causes_no_429(office):
    office.budget()
    away = Away(office.trips[0])
    given = settings_for(hubspot_rate_limit=8, hubspot_rate_window_s=WINDOW_S, hubspot_timeout_s=0.2)
    budget, meter = SharedBudget(away, given), Meter(8, WINDOW_S, latency_s=0.04, jitter_s=0.01)
    until = in_s(1.4)
    runs = [asyncio.create_task(drive(budget, meter, "create", until)) for _ in range(4)]
    for _ in range(6):
        await asyncio.sleep(0.2)
        away.away = not away.away
    await asyncio.gather(*runs)
    assert meter.refused == 0
    assert meter.accepted > 10


async def test_the_token_never_reaches_redis(office):
    budget = office.budget()
    await taken(budget)
    assert b"pat-demo" not in await office.redis("GET", budget_window())
