"""When HubSpot says wait, when the day is used up, and when Redis is away: no call of ours is one too many."""

import asyncio

import pytest

from lastseat.errors import Unavailable
from lastseat.stores.rate_budget import SharedBudget, SharedSlot
from lastseat.stores.rate_window import Heard, LocalWindow
from lastseat.stores.redis import RedisTrips
from tests.hubspot_client.doubles import settings_for
from tests.hubspot_client.meter import Meter, drive
from tests.hubspot_client.office import WINDOW_S, first, in_s, known, taken


@pytest.mark.parametrize(
    ("status", "headers", "at_least_s", "why"),
    [
        (423, {}, 1.0, "LOCKED"),
        (423, {"retry-after": "5"}, 4.0, "LOCKED"),
        (477, {"retry-after": "7200"}, 59.0, "MIGRATION"),
        (477, {}, 59.0, "MIGRATION"),
        (429, {"policy-name": "DAILY"}, 59.0, "DAILY"),
        (429, {"policy-name": "TEN_SECONDLY_ROLLING"}, WINDOW_S * 0.2, "TEN_SECONDLY_ROLLING"),
        (429, {"retry-after": "3"}, 2.0, "TEN_SECONDLY_ROLLING"),
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
    assert await budget.reserve("create") > 1.0
    assert await budget.free() == 0
    assert "LOCKED (423)" in str((await budget.status())["detail"])


async def alone(office) -> tuple[SharedBudget, Meter]:
    """A budget that has never seen Redis, after its first reply."""
    office.budget()
    given = settings_for(hubspot_rate_limit=100, hubspot_rate_window_s=10.0, hubspot_search_window_s=10.0)
    budget, meter = SharedBudget(Away(office.trips[0]), given), Meter(100, 10.0)
    await known(budget, meter)
    return budget, meter


@pytest.mark.parametrize("policy", [{"policy-name": "SECONDLY"}, {}], ids=["named", "nameless"])
async def test_without_redis_a_search_limit_pauses_searches_only(office, policy):
    budget, _ = await alone(office)
    [slot] = await taken(budget, "search", most=1)
    await slot.close(policy | {"retry-after": "30"}, 429)
    assert await budget.reserve("search") > 10  # longer than the window of searches: it is the pause
    assert len(await taken(budget, "create", most=1)) == 1


async def test_without_redis_what_is_left_of_the_day_belongs_to_the_bookings(office):
    budget, meter = await alone(office)
    [slot] = await taken(budget, most=1)
    daily = {"x-hubspot-ratelimit-daily": "1000", "x-hubspot-ratelimit-daily-remaining": "10"}
    await slot.close(meter.arrive()[1] | daily, 200)
    assert await budget.reserve("count") > 10
    assert len(await taken(budget, most=1)) == 1


async def test_without_redis_a_day_that_is_used_up_pauses_before_a_429(office):
    budget, meter = await alone(office)
    [slot] = await taken(budget, most=1)
    await slot.close(meter.arrive()[1] | {"x-hubspot-ratelimit-daily-remaining": "0"}, 200)
    assert isinstance(await budget.reserve("create"), float)
    assert "DAILY" in str((await budget.status())["detail"])


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


LONG_S = 1.5  # so that what is called before the loss still counts when it is noticed, however slow the machine


@pytest.mark.parametrize("under_way", [0, 1])
async def test_redis_lost_after_others_used_the_window_causes_no_429(office, under_way):
    """What a reply says of the window before others called is no licence once they cannot tell of their calls."""
    meter = Meter(10, LONG_S)
    busy = office.budget(hubspot_rate_window_s=LONG_S)
    idle, away = may_go(office)
    await known(idle, meter)
    slots = await taken(idle, most=under_way)
    headers = [meter.arrive()[1] for _ in slots]
    others = await taken(busy)
    assert len(others) == 9 - under_way
    await asyncio.gather(*(meter.call(slot) for slot in others))
    away.away = True
    assert isinstance(await idle.reserve("create"), float)
    for slot, said in zip(slots, headers, strict=True):
        await slot.close(said, 200)
    assert await idle.free() == 0
    assert await meter.call(await first(idle)) == 200
    assert meter.refused == 0


class Believing(SharedBudget):
    """Negative control: what was known before Redis went away is still believed."""

    async def _run(self, op, **args):
        self._redis_away = True
        return await super()._run(op, **args)


async def test_believing_the_last_reply_when_redis_is_lost_would_get_a_429(office):
    meter = Meter(10, LONG_S)
    busy = office.budget(hubspot_rate_window_s=LONG_S)
    idle, away = may_go(office, Believing)
    await known(idle, meter)
    await asyncio.gather(*(meter.call(slot) for slot in await taken(busy)))
    away.away = True
    await asyncio.gather(*(meter.call(slot) for slot in await taken(idle)))
    assert meter.refused > 0


def may_go(office, kind=SharedBudget):
    """A budget on the Valkey of the office, which it may lose."""
    away = Away(office.trips[0])
    away.away = False
    return kind(away, settings_for(hubspot_rate_limit=10, hubspot_rate_window_s=LONG_S, processes=2)), away


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


def test_a_refused_call_hides_no_call_of_others_while_redis_is_away():
    window = LocalWindow(limit=10, headroom=0, window_s=1.0, hold_s=5.0)
    window.take("first", 0.0)
    window.close("first", 0.0, Heard(max=10, remaining=9))
    window.take("refused", 0.4)
    window.close("refused", 0.4, Heard(max=10, remaining=0), refused=True)
    # HubSpot has counted nine of others, and perhaps the refused one: then the window is still full.
    assert window.take_alone("early", 1.1, 10) > 0
    assert window.take_alone("later", 1.5, 10) == 0


@pytest.mark.parametrize(("used", "at_once"), [(10, True), (60, False)])
async def test_a_large_window_that_was_half_free_a_moment_ago_need_not_be_waited_for(office, used, at_once):
    meter = Meter(100, 30.0)
    for _ in range(used):
        meter.arrive()
    office.budget()
    away = Away(office.trips[0])
    away.away = False
    budget = SharedBudget(away, settings_for(hubspot_rate_limit=100, hubspot_rate_window_s=30.0))
    await known(budget, meter)
    await budget.free()
    away.away = True
    slot = await budget.reserve("create")
    assert isinstance(slot, float) is not at_once
    assert await budget.reserve("create") > 0, "one call at a time, until its reply tells how full the window is"
