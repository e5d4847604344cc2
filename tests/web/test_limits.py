"""Limits go by account, are shared by processes and are mild when Redis is away; a school's address is nobody's."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import pytest

from lastseat.errors import Refused
from lastseat.settings import Settings
from lastseat.web.app import create_app
from lastseat.web.limits import CALLERS_MOST, Limits
from tests.web.caller import Caller, running
from tests.web.fakes import EXAM, OTHER, World, student

ACCOUNT = "student:501"


class Together:
    """The sums of all processes, in memory."""

    def __init__(self) -> None:
        self.sums: dict[tuple[int, str], int] = {}
        self.away = False
        self.told: list[Mapping[str, int]] = []

    async def add(self, window: int, counts: Mapping[str, int], *, ttl_s: float) -> dict[str, int]:
        if self.away:
            return {}
        self.told.append(counts)
        for key, count in counts.items():
            self.sums[window, key] = self.sums.get((window, key), 0) + count
        return {key: self.sums[window, key] for key in counts}


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def taken(limits: Limits, times: int, *, writing: bool = True) -> int:
    """How many of so many requests pass."""
    passed = 0
    for _ in range(times):
        try:
            limits.admit(ACCOUNT, writing=writing)
        except Refused:
            continue
        passed += 1
    return passed


async def test_an_account_is_stopped_at_its_limit_and_goes_on_in_the_next_window(clock: Clock):
    limits = Limits(Settings(limit_writes=5), None, now=clock)
    assert taken(limits, 8) == 5
    clock.now += 10
    await limits.tell()
    assert taken(limits, 8) == 5


def test_reads_and_writes_are_counted_apart(clock: Clock):
    limits = Limits(Settings(limit_writes=2, limit_reads=5), None, now=clock)
    assert taken(limits, 9) == 2
    assert taken(limits, 9, writing=False) == 5


async def test_what_an_account_does_in_one_process_counts_in_the_other(clock: Clock):
    together = Together()
    one, two = (Limits(Settings(limit_writes=10, processes=2), together, now=clock) for _ in range(2))
    for limits in (one, two):
        await limits.tell()
    assert taken(one, 7) == 7
    assert taken(two, 2) == 2
    for limits in (one, two, one):
        await limits.tell()
    assert taken(two, 9) == 1
    assert taken(one, 9) == 1


async def test_a_count_is_told_once(clock: Clock):
    together = Together()
    limits = Limits(Settings(limit_writes=10), together, now=clock)
    await limits.tell()
    taken(limits, 4)
    for _ in range(3):
        await limits.tell()
    assert list(together.sums.values()) == [4]
    taken(limits, 2)
    await limits.tell()
    assert list(together.sums.values()) == [6]


async def test_only_who_comes_near_a_limit_is_told_of(clock: Clock):
    together = Together()
    limits = Limits(Settings(limit_writes=100), together, now=clock)
    await limits.tell()
    taken(limits, 3)
    await limits.tell()
    assert together.sums == {}


async def test_without_redis_a_limit_is_milder_and_never_stricter(clock: Clock):
    together = Together()
    together.away = True
    one, two = (Limits(Settings(limit_writes=10, processes=2), together, now=clock) for _ in range(2))
    for limits in (one, two):
        await limits.tell()
        assert taken(limits, 20) == 10
        await limits.tell()


def test_zero_is_no_limit(clock: Clock):
    limits = Limits(Settings(limit_writes=0), None, now=clock)
    assert taken(limits, 5_000) == 5_000
    assert all(limits.admits_address("10.0.0.1") for _ in range(5_000))


def test_callers_beyond_what_is_remembered_pass(clock: Clock, monkeypatch):
    monkeypatch.setattr("lastseat.web.limits.CALLERS_MOST", 10)
    limits = Limits(Settings(limit_address_reads=1), None, now=clock)
    assert CALLERS_MOST > 10
    for number in range(30):
        assert limits.admits_address(f"10.0.0.{number}")
    assert len(limits._counts) <= 10


async def test_three_students_behind_one_address_do_not_limit_each_other(world: World):
    caller = Caller(create_app(world.services(limit_writes=2)))
    ask = {"examId": EXAM}
    mine = [(await caller.post("/api/bookings/create", ask, token=student())).status for _ in range(3)]
    assert mine == [201, 201, 429]
    assert (await caller.post("/api/bookings/create", ask, token=student(OTHER))).status == 201


async def test_a_refused_caller_is_told_when_to_come_back(world: World):
    caller = Caller(create_app(world.services(limit_reads=1)))
    await caller.get("/api/bookings/list", token=student())
    reply = await caller.get("/api/bookings/list", token=student())
    assert (reply.status, reply.code) == (429, "TOO_MANY_REQUESTS")
    assert 1 <= int(reply.headers["retry-after"]) <= 10
    assert reply.json["details"]["retry_after_s"] == int(reply.headers["retry-after"])


async def test_a_running_site_tells_by_itself(world: World):
    together = Together()
    app = create_app(replace(world.services(limit_writes=1, limit_window_s=2.0), tally=together))
    async with running(app):
        async with asyncio.timeout(5):
            while not any(together.told):
                await Caller(app).post("/api/bookings/create", {"examId": EXAM}, token=student())
                await asyncio.sleep(0.02)
