"""Supabase is away: nobody waits for a time-out, and its return is noticed."""

import asyncio

import pytest

from lastseat.errors import LeaseLost, Refused, Unavailable, Uncertain
from lastseat.settings import Settings
from lastseat.stores.breaker import Breaker

GATES = b'{"exam_ids":[]}'


class Shop:
    """A database that answers `ok` unless told otherwise; `slow` never answers."""

    def __init__(self):
        self.fault: Exception | None = None
        self.slow = False
        self.calls: list[str] = []

    async def call(self, function: str, args: bytes) -> bytes:
        self.calls.append(function)
        if self.slow:
            await asyncio.sleep(60)
        if self.fault:
            raise self.fault
        return b"ok"


class Hours:
    def __init__(self):
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def shop():
    return Shop()


@pytest.fixture
def hours():
    return Hours()


@pytest.fixture
def door(shop, hours):
    settings = Settings(breaker_failures=3, breaker_first_s=1.0, breaker_most_s=4.0, breaker_probe_s=0.05)
    return Breaker(shop, settings, clock=hours)


async def knock(door, function="claim") -> str:
    try:
        return (await door.call(function, b"{}")).decode()
    except (Unavailable, Uncertain, Refused) as error:
        return f"{type(error).__name__}: {error.message}"


async def shut(door, shop, error=None):
    shop.fault = error or Unavailable("Postgres cannot be reached")
    for _ in range(3):
        await knock(door)
    shop.calls.clear()


async def test_after_some_failures_in_a_row_nobody_is_let_through(door, shop):
    await shut(door, shop)
    said = [await knock(door) for _ in range(100)]
    assert set(said) == {"Unavailable: Supabase is away: Postgres cannot be reached"}
    assert shop.calls == []
    assert (door.opened, door.away_because) == (1, "Postgres cannot be reached")


async def test_a_lost_reply_counts_and_a_refusal_does_not(door, shop):
    for error in (Uncertain("lost"), Refused("no"), Uncertain("lost"), LeaseLost("over"), Uncertain("lost")):
        shop.fault = error
        await knock(door)
    assert door.away_because is None


async def test_failures_with_a_success_between_them_do_not_shut_the_door(door, shop):
    for fault in (Unavailable("x"), Unavailable("x"), None, Unavailable("x"), Unavailable("x")):
        shop.fault = fault
        await knock(door)
    assert door.away_because is None


async def test_who_is_refused_hears_when_to_come_again(door, shop, hours):
    await shut(door, shop)
    hours.now += 0.25
    with pytest.raises(Unavailable) as refusal:
        await door.call("claim", b"{}")
    assert refusal.value.retry_after_s == 0.75


async def test_after_the_wait_one_asks_for_all_and_the_others_do_not_follow(door, shop, hours):
    await shut(door, shop)
    hours.now += 1.1
    shop.fault, shop.slow = None, True
    said = await asyncio.gather(*(knock(door) for _ in range(50)))
    assert shop.calls == ["gates"]
    assert sum("does not answer" in sentence for sentence in said) == 1
    assert all(sentence.startswith("Unavailable") for sentence in said)


async def test_its_return_is_noticed_and_everybody_passes(door, shop, hours):
    await shut(door, shop)
    hours.now += 1.1
    shop.fault = None
    assert await knock(door) == "ok"
    assert shop.calls == ["gates", "claim"]
    assert await asyncio.gather(*(knock(door) for _ in range(20))) == ["ok"] * 20
    assert door.away_because is None


async def test_the_wait_grows_up_to_its_limit_and_starts_anew(door, shop, hours):
    await shut(door, shop)
    waits = []
    for _ in range(4):
        before = hours.now
        while not shop.calls:
            hours.now += 0.5
            await knock(door)
        waits.append(hours.now - before)
        shop.calls.clear()
    assert waits == [1.0, 2.0, 4.0, 4.0]
    hours.now += 5
    shop.fault = None
    assert await knock(door) == "ok"
    await shut(door, shop)
    hours.now += 1.0
    shop.fault = None
    assert await knock(door) == "ok"


async def test_a_call_under_way_that_ends_well_opens_the_door(door, shop):
    """It was answered: Supabase is there."""
    answered = asyncio.Event()
    inner = shop.call

    async def slow_first(function, args):
        if function == "exams":
            await answered.wait()
            return b"ok"
        return await inner(function, args)

    shop.call = slow_first
    early = asyncio.create_task(knock(door, "exams"))
    await asyncio.sleep(0)
    await shut(door, shop)
    answered.set()
    assert await early == "ok"
    shop.fault = None
    assert await knock(door) == "ok"


@pytest.mark.parametrize(("failures", "asked"), [(3, 0), (10**9, 20)], ids=["guarded", "not guarded"])
async def test_without_the_breaker_a_crowd_would_wait_for_time_outs(shop, hours, failures, asked):
    """Off, it never shuts: each of the crowd asks a database that does not answer."""
    settings = Settings(breaker_failures=failures, breaker_first_s=1.0, breaker_most_s=4.0, breaker_probe_s=0.05)
    door = Breaker(shop, settings, clock=hours)
    await shut(door, shop)
    shop.slow = True
    crowd = [asyncio.create_task(knock(door)) for _ in range(20)]
    for _ in range(5):
        await asyncio.sleep(0)
    assert (len(shop.calls), sum(not one.done() for one in crowd)) == (asked, asked)
    for one in crowd:
        one.cancel()
    await asyncio.gather(*crowd, return_exceptions=True)
