"""What one reader of live seats may cost: a place until its connection ends, patience, and nothing for odd words."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from lastseat.web import events as events_module
from lastseat.web import fanout as fanout_module
from lastseat.web.fanout import Fanout
from tests.web.fakes import OTHER, World, student
from tests.web.readers import Reader, figure, gate, opened, true


@pytest.fixture
async def app(world: World) -> AsyncIterator[Any]:
    async with opened(world) as app:
        yield app


@pytest.fixture(autouse=True)
def look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout_module, "LOOK_S", 0.02)


def change(world: World, remaining: int) -> None:
    """Said, and found by looking."""
    world.live.gates = [gate(remaining)]
    world.live.change(*world.live.gates)


async def stuck_reader(app: Any, world: World, token: str | None = None) -> Reader:
    """One that was dropped while its connection lives on."""
    reader = Reader(app, token)
    await true(lambda: reader.events("seats"))
    reader.take.clear()
    change(world, 2)
    await asyncio.wait_for(reader.task, 2)
    return reader


@pytest.mark.parametrize("counted", [True, False], ids=["counted", "control: its place is free at once"])
@pytest.mark.parametrize(
    ("settings", "token", "status"),
    [
        ({"events_most": 1}, None, 503),
        ({"events_address_most": 1}, None, 429),
        ({"events_account_most": 1}, student(), 429),
    ],
    ids=["in all", "of one address", "of one account"],
)
async def test_a_dropped_reader_is_counted_until_its_connection_ends(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, int],
    token: str | None,
    status: int,
    counted: bool,
):
    if not counted:
        monkeypatch.setattr(
            events_module, "_await_end", lambda _, leaving, place: (leaving.cancel(), place.give_back())
        )
    async with opened(world, events_slow_s=0.05, **settings) as app:
        stuck = await stuck_reader(app, world, token)
        assert (await figure(app, "streams"), await figure(app, "stuck")) == (0, counted)
        other = Reader(app, token)
        await true(lambda: other.status)
        assert other.status == (status if counted else 200)
        await stuck.leave()
        if counted:
            await true(lambda: not fanout_of(world).stuck)
            assert await figure(app, "stuck") == 0
            other = Reader(app, token)
            await true(lambda: other.events("seats"))
        await other.leave()


def fanout_of(world: World) -> Fanout:
    return world.news[0].__self__


async def test_dropped_readers_are_counted_and_nothing_else_is_kept_of_them(world: World):
    async with opened(world, events_slow_s=0.05) as app:
        stuck = [await stuck_reader(app, world, student(who)) for who in (OTHER, "503") if change(world, 3) is None]
        fanout = fanout_of(world)
        assert (await figure(app, "dropped_total"), await figure(app, "stuck")) == (2, 2)
        assert (len(fanout), fanout._by_contact) == (0, {})
        await stuck[0].leave()
        await true(lambda: len(fanout.stuck) == 1)
    await true(lambda: not fanout_of(world).stuck)  # a stop waits for nobody


@pytest.mark.parametrize(("slow_s", "kept"), [(0.5, True), (0.05, False)], ids=["kept", "control: less patience"])
async def test_a_reader_that_is_slow_but_takes_in_time_is_kept(world: World, slow_s: float, kept: bool):
    async with opened(world, events_slow_s=slow_s) as app:
        reader = Reader(app)
        await true(lambda: reader.events("seats"))
        for remaining in (2, 1, 0):
            reader.take.clear()
            change(world, remaining)
            await asyncio.sleep(0.2)
            reader.take.set()
            await asyncio.sleep(0.05)
        assert reader.task.done() != kept
        assert await figure(app, "dropped_total") == (0 if kept else 1)
        assert len(reader.events("seats")) == (4 if kept else 1)
        await reader.leave()


@pytest.mark.parametrize("beat_s", [0.2, 0.01], ids=["seldom", "control: often"])
async def test_a_quiet_stream_is_told_that_it_lives_only_as_often_as_wanted(world: World, beat_s: float):
    async with opened(world, events_heartbeat_s=beat_s) as app:
        reader, began = Reader(app), time.monotonic()
        await true(lambda: reader.events("seats"))
        await asyncio.sleep(0.5)
        beats, most = reader.text.count(": alive\n\n"), 1 + (time.monotonic() - began) / 0.2
        assert beats >= 1
        assert (beats <= most) == (beat_s == 0.2), f"{beats} of {most}"
        await reader.leave()


async def test_readers_come_back_at_different_times(app: Any):
    readers = [Reader(app) for _ in range(20)]
    await true(lambda: all(reader.events("seats") for reader in readers))
    times = {int(reader.text.split("\n")[0].removeprefix("retry: ")) for reader in readers}
    assert len(times) > 5
    assert all(1_000 <= ms <= 4_000 for ms in times)
    for reader in readers:
        await reader.leave()


async def test_readers_that_come_at_once_get_no_more_places_than_there_are(world: World):
    """None of them has been sent anything when the next one is let in."""
    async with opened(world, events_most=2) as app:
        readers = [Reader(app) for _ in range(5)]
        for reader in readers:
            reader.take.clear()
        await asyncio.sleep(0.02)
        for reader in readers:
            reader.take.set()
        await true(lambda: all(reader.status for reader in readers))
        assert sorted(reader.status for reader in readers) == [200, 200, 503, 503, 503]
        for reader in readers:
            await reader.leave()
        await both_places_are_free(app)


@pytest.mark.parametrize("way", ["cancelled", "broken"])
async def test_a_reader_lost_before_its_stream_began_leaves_its_place(world: World, way: str):
    async with opened(world, events_most=2) as app:
        readers = [Reader(app) for _ in range(2)]
        for reader in readers:
            if way == "broken":
                reader.fault = OSError("gone")
            else:
                reader.take.clear()
        await asyncio.sleep(0.02)
        for reader in readers:
            reader.task.cancel()
        await asyncio.wait([reader.task for reader in readers])
        await both_places_are_free(app)


async def both_places_are_free(app: Any) -> None:
    readers = [Reader(app) for _ in range(2)]
    await true(lambda: all(reader.events("seats") for reader in readers))
    for reader in readers:
        await reader.leave()


@pytest.mark.parametrize("number", ["1" * 5000, "9" * 16, "999999", "-1", "²", "", "1e3"])
async def test_an_odd_number_after_our_own_name_counts_as_unknown(app: Any, number: str):
    reader = Reader(app)
    await true(lambda: reader.events("seats"))
    name = reader.last_id.split("-")[0]
    odd = Reader(app, student(), f"{name}-{number}")
    await true(lambda: odd.events("seats") and odd.events("bookings"))
    assert [exam["remaining"] for exam in odd.events("seats")[0]["exams"]] == [3]
    known = Reader(app, student(), reader.last_id)
    await asyncio.sleep(0.05)
    assert known.events("seats") == known.events("bookings") == [], "control: a number that we gave is known"
    for each in (reader, odd, known):
        await each.leave()
