"""Neighbours share a trip, and each hears only its own answer."""

import asyncio
from collections.abc import Sequence

import pytest

from lastseat.errors import Refused, Unavailable
from lastseat.group_commit import GroupCommit


class Trips:
    """Doubles each number; remembers the groups, refuses a group that holds `poison`, raises `broken` when set."""

    def __init__(self, *, poison: int | None = None, broken: Exception | None = None, lasts_s: float = 0) -> None:
        self.groups: list[list[int]] = []
        self.poison = poison
        self.broken = broken
        self.lasts_s = lasts_s
        self.under_way = 0
        self.most_under_way = 0

    async def __call__(self, items: Sequence[int]) -> list[int]:
        self.groups.append(list(items))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await asyncio.sleep(self.lasts_s)
        self.under_way -= 1
        if self.broken is not None:
            raise self.broken
        if self.poison in items:
            raise Refused("poison")
        return [2 * item for item in items]


async def test_neighbours_share_one_trip_and_each_gets_its_own_answer():
    trips = Trips()
    commit = GroupCommit(trips, window_s=0.01, limit=100)
    assert await asyncio.gather(*(commit.submit(n) for n in range(50))) == [2 * n for n in range(50)]
    assert trips.groups == [list(range(50))]


async def test_a_full_group_leaves_without_waiting_for_the_window():
    trips = Trips()
    commit = GroupCommit(trips, window_s=60, limit=3)
    async with asyncio.timeout(1):
        assert await asyncio.gather(*(commit.submit(n) for n in range(6))) == [0, 2, 4, 6, 8, 10]
    assert trips.groups == [[0, 1, 2], [3, 4, 5]]


async def test_a_lone_item_waits_only_for_the_window():
    commit = GroupCommit(Trips(), window_s=0.01, limit=100)
    async with asyncio.timeout(1):
        assert await commit.submit(4) == 8


async def test_items_that_come_while_a_trip_runs_travel_together_next():
    trips = Trips(lasts_s=0.05)
    commit = GroupCommit(trips, window_s=0.001, limit=100)
    first = asyncio.create_task(commit.submit(1))
    await asyncio.sleep(0.02)
    rest = [asyncio.create_task(commit.submit(n)) for n in (2, 3)]
    assert await asyncio.gather(first, *rest) == [2, 4, 6]
    assert trips.groups == [[1], [2, 3]]


@pytest.mark.parametrize(("allowed", "seen"), [(1, 1), (3, 3)])
async def test_no_more_trips_run_at_once_than_allowed(allowed: int, seen: int):
    trips = Trips(lasts_s=0.01)
    commit = GroupCommit(trips, window_s=0.001, limit=1, trips=allowed)
    await asyncio.gather(*(commit.submit(n) for n in range(9)))
    assert trips.most_under_way == seen


async def test_a_refused_item_does_not_fail_its_neighbours():
    trips = Trips(poison=2)
    commit = GroupCommit(trips, window_s=0.01, limit=100)
    answers = await asyncio.gather(*(commit.submit(n) for n in (1, 2, 3)), return_exceptions=True)
    assert [answers[0], answers[2]] == [2, 6]
    assert isinstance(answers[1], Refused)
    assert sorted(trips.groups) == [[1], [1, 2, 3], [2], [3]]


async def test_an_outage_reaches_every_caller_and_is_not_repeated():
    trips = Trips(broken=Unavailable("away"))
    commit = GroupCommit(trips, window_s=0.01, limit=100)
    answers = await asyncio.gather(*(commit.submit(n) for n in range(3)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [Unavailable] * 3
    assert len(trips.groups) == 1


async def test_after_an_outage_the_next_group_travels():
    trips = Trips(broken=Unavailable("away"))
    commit = GroupCommit(trips, window_s=0.001, limit=100)
    with pytest.raises(Unavailable):
        await commit.submit(1)
    trips.broken = None
    assert await commit.submit(1) == 2


async def test_a_caller_that_leaves_takes_nobody_along():
    trips = Trips(lasts_s=0.02)
    commit = GroupCommit(trips, window_s=0.001, limit=100)
    leaving, staying = (asyncio.create_task(commit.submit(n)) for n in (1, 2))
    await asyncio.sleep(0.01)
    leaving.cancel()
    assert await staying == 4


async def test_a_run_that_answers_too_few_hangs_nobody():
    async def short(items: Sequence[int]) -> list[int]:
        return list(items)[:-1]

    commit = GroupCommit(short, window_s=0.001, limit=100)
    async with asyncio.timeout(1):
        answers = await asyncio.gather(*(commit.submit(n) for n in range(3)), return_exceptions=True)
    assert isinstance(answers[2], ValueError)
