"""What the reads know of seats reaches open streams: announced or found, of listed exams only, and not too often."""

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from lastseat.model import Announcement, Gate
from lastseat.reads.exams import ExamReads
from lastseat.settings import Settings
from lastseat.stores.gate import GateStore
from lastseat.web import fanout as fanout_module
from lastseat.web.fanout import Fanout, Stream
from tests.reads.clocked import Clock, Site
from tests.reads.fakes import Supabase
from tests.web.fakes import FakeLive

NEVER_S = 60.0


class Seen:
    """One reader of the stream and the seats that it was told of, frame by frame."""

    def __init__(self, fanout: Fanout) -> None:
        self._fanout = fanout
        self._stream = Stream(None, math.inf, None)
        self.frames: list[dict[str, int]] = []
        fanout.open(self._stream, "")

    def look(self) -> dict[str, int]:
        """Seats left by exam, as the last frame with any says."""
        data = [line[6:] for line in self._fanout.due(self._stream).decode().split("\n") if line.startswith("data: ")]
        told = {exam["exam_id"]: exam["remaining"] for exam in json.loads(data[0])["exams"]} if data else {}
        if told:
            self.frames.append(told)
        return self.frames[-1] if self.frames else {}

    async def sees(self, wanted: dict[str, int], within_s: float = 2.0) -> None:
        async with asyncio.timeout(within_s):
            while self.look() != wanted:  # noqa: ASYNC110  a frame may come at any moment
                await asyncio.sleep(0.002)


@asynccontextmanager
async def streaming(live: Any, **settings: Any) -> AsyncIterator[Fanout]:
    fanout = Fanout(live, Settings(**{"events_tick_s": 0.01, **settings}))
    async with fanout.running():
        yield fanout


@asynccontextmanager
async def watched(one: Site) -> AsyncIterator[tuple[Fanout, Seen]]:
    """The streams of this process, and a reader that has seen exam 1 with its 20 seats."""
    async with streaming(one.reads) as fanout:
        reader = Seen(fanout)
        await reader.sees({"1": 20})
        yield fanout, reader


@pytest.fixture
def looks_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout_module, "LOOK_S", NEVER_S)


@pytest.mark.usefixtures("looks_rarely")
@pytest.mark.parametrize("told", [True, False], ids=["told", "control: nobody tells"])
async def test_an_announced_change_reaches_streams_at_once(
    site: Callable[..., Site], supabase: Supabase, told: bool, monkeypatch: pytest.MonkeyPatch
):
    supabase.add("1")
    one = site()
    async with watched(one) as (_, reader):
        if not told:
            monkeypatch.setattr(ExamReads, "_tell", lambda *_, **__: None)
        await one.bulletin.announce(supabase.news_of(supabase.take("1", 1, version=2)))
        if told:
            await reader.sees({"1": 19})
        else:
            await asyncio.sleep(0.1)
            assert reader.look() == {"1": 20}


@pytest.mark.usefixtures("looks_rarely")
async def test_a_change_that_a_read_finds_reaches_streams(
    site: Callable[..., Site], supabase: Supabase, clock: Clock
):
    supabase.add("1")
    one = site()
    async with watched(one) as (_, reader):
        await GateStore(one.process.trips, gate_ttl_s=60).put([supabase.take("1", 4, version=2)])
        clock.age_s += 0.2
        await one.listed()
        await reader.sees({"1": 16})


@pytest.mark.usefixtures("looks_rarely")
async def test_a_change_found_while_the_list_changes_is_told_too(
    site: Callable[..., Site], supabase: Supabase, clock: Clock
):
    supabase.add("1")
    one = site()
    async with watched(one) as (_, reader):
        await GateStore(one.process.trips, gate_ttl_s=60).put([supabase.take("1", 4, version=2)])
        clock.age_s += 0.2
        reading = asyncio.create_task(one.listed())
        for _ in range(3):
            await asyncio.sleep(0)
        assert one.reads._loading is not None, "the load is under way"
        for hear in one.bulletin._listeners:
            hear(Announcement(exams_changed=True))
        await reading
        await reader.sees({"1": 16})


@pytest.mark.usefixtures("looks_rarely")
async def test_an_exam_that_comes_onto_the_list_comes_with_its_seats(site: Callable[..., Site], supabase: Supabase):
    supabase.add("1")
    one = site()
    async with watched(one) as (_, reader):
        supabase.add("2", capacity=7)
        await one.bulletin.announce(
            supabase.news_of(supabase.seats[supabase.listed[1].hubspot_id], exams_changed=True)
        )
        await one.listed()
        await reader.sees({"2": 7})


@pytest.mark.usefixtures("looks_rarely")
async def test_seats_of_exams_that_nobody_lists_reach_no_stream(site: Callable[..., Site], supabase: Supabase):
    supabase.add("1")
    one = site()
    async with watched(one) as (fanout, reader):
        for number in range(100, 400):
            await one.bulletin.announce(supabase.news_of(supabase.take(str(number), 1, version=2)))
        await one.bulletin.announce(supabase.news_of(supabase.take("1", 1, version=2)))
        await reader.sees({"1": 19})
        assert Seen(fanout).look() == {"1": 19}


def counted(exam_id: str, taken: int) -> Gate:
    return Supabase().take(exam_id, taken, version=1)


async def test_what_nobody_told_of_is_sent_at_the_next_look_and_what_is_not_listed_forgotten(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(fanout_module, "LOOK_S", 0.02)
    live = FakeLive()
    live.gates = [counted("1", 0), counted("2", 0)]
    async with streaming(live) as fanout:
        reader = Seen(fanout)
        await reader.sees({"1": 20, "2": 20})
        live.gates = [counted("1", 3)]
        await reader.sees({"1": 17})
        assert Seen(fanout).look() == {"1": 17}


async def test_frames_keep_the_distance_that_their_cost_asks_for(monkeypatch: pytest.MonkeyPatch):
    spent = iter(range(10_000))
    live = FakeLive()
    live.gates = [counted("1", 0)]
    monkeypatch.setattr(fanout_module.time, "process_time", lambda: next(spent) * 0.05)
    async with streaming(live, events_tick_s=0.01, events_share=0.25) as fanout:
        reader = Seen(fanout)
        await reader.sees({"1": 20})
        began = time.monotonic()
        for taken in (1, 2):
            live.change(counted("1", taken))
            await reader.sees({"1": 20 - taken})
        # 0.05 s of work may be a quarter of the time, so that each frame leaves 0.2 s after the one before.
        assert time.monotonic() - began >= 0.3
        await asyncio.sleep(0.02)  # what a frame cost is known when it has left
        assert "lastseat_event_sending_seconds_total{} 0.15" in "\n".join(fanout.lines(""))
