"""While Supabase is away everybody gets the youngest body that is known, and nobody goes back in time."""

import asyncio
import random
import time
from collections.abc import Callable

import pytest

from lastseat.embedded.valkey import EmbeddedValkey
from lastseat.errors import Unavailable
from lastseat.model import Announcement
from lastseat.ports import View
from lastseat.settings import Settings
from lastseat.stores import views as views_module
from lastseat.stores.keys import last_of
from lastseat.stores.last_views import LastViews
from lastseat.stores.redis import RedisTrips
from lastseat.stores.views import ViewStore
from tests.reads.conftest import Process
from tests.reads.histories import Act, Play
from tests.reads.test_views import ANNA, VIEW, Source
from tests.reads.waiting import until

Make = Callable[..., Process]


class Selfish(LastViews):
    """Believes its own memory and looks no further, as long as it has one."""

    async def of(self, key: str, *, ask: bool = True) -> View | None:
        return await super().of(key, ask=ask and key not in self._known)


class Careless(ViewStore):
    def __init__(self, trips: RedisTrips, settings: Settings) -> None:
        super().__init__(trips, settings)
        self._last = Selfish(trips, stale_s=settings.stale_s, now=time.time)


async def read(process: Process, source: Source) -> tuple[bytes, bool]:
    view = await process.views.bookings(ANNA, source)
    return view.body, view.stale


async def renewed(process: Process, source: Source, body: bytes) -> None:
    """Read and stored anew by this process, after a write."""
    await process.bulletin.announce(Announcement(contacts=[ANNA]))
    source.body = body
    assert await read(process, source) == (body, False)


def questions_of(process: Process, monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """The commands but for the scripts, as they are given."""
    asked: list[tuple] = []
    execute = process.trips.execute

    async def counted(*command):
        asked.append(command)
        return await execute(*command)

    monkeypatch.setattr(process.trips, "execute", counted)
    return asked


@pytest.mark.parametrize("views", [ViewStore, Careless], ids=["guarded", "not guarded"])
async def test_a_younger_body_of_another_process_is_served_not_ones_own(process: Make, trips: RedisTrips, views):
    one, other, source = process(views=views), process(), Source()
    await read(one, source)
    await renewed(other, source, b"[2]")
    await trips.execute("DEL", VIEW)
    source.away = True
    assert await read(other, source) == (b"[2]", True)
    for _ in range(2):
        assert await read(one, source) == (b"[1]" if views is Careless else b"[2]", True)


async def test_an_own_body_past_its_hour_does_not_hide_a_younger_one(process: Make, trips: RedisTrips):
    one, other, source = process(), process(), Source()
    await read(one, source)
    one.views._last._known[VIEW] = View(body=b"[1]", filled_at=time.time() - 3601)
    await renewed(other, source, b"[2]")
    await trips.execute("DEL", VIEW)
    source.away = True
    assert await read(one, source) == (b"[2]", True)


async def test_what_redis_has_lost_is_told_to_it_before_it_is_served(process: Make, trips: RedisTrips):
    one, other, source = process(), process(), Source()
    await read(one, source)
    await renewed(other, source, b"[2]")
    await trips.execute("FLUSHALL")
    source.away = True
    assert await read(other, source) == (b"[2]", True)
    assert await read(one, source) == (b"[2]", True)
    assert 3_590_000 < await trips.execute("PTTL", last_of(VIEW)) <= 3_600_000


async def test_what_is_told_late_replaces_nothing_younger(process: Make, trips: RedisTrips):
    one, source = process(), Source()
    await read(one, source)
    for filled_at, kept in ((time.time() - 60, b"[1]"), (time.time() + 1, b"[0]")):
        await one.views._last.tell(VIEW, View(body=b"[0]", filled_at=filled_at))
        assert (await trips.execute("GET", last_of(VIEW)))[48:] == kept


async def test_a_body_read_past_a_lease_is_known_to_all_when_supabase_goes_away(
    process: Make, trips: RedisTrips, monkeypatch
):
    monkeypatch.setattr(views_module, "PATIENCE_S", 0.02)
    one, other, dead, source = process(), process(), process(), Source()
    await read(one, source)
    await trips.execute("DEL", VIEW)
    stuck = asyncio.create_task(dead.views.bookings(ANNA, Source(delay_s=60)))
    await until(lambda: trips.execute("EXISTS", VIEW))
    source.body = b"[2]"
    assert await read(other, source) == (b"[2]", False)
    source.away = True
    assert await read(one, source) == (b"[2]", True)
    stuck.cancel()


@pytest.mark.parametrize("one_era", [False, True], ids=["guarded", "not guarded"])
async def test_a_last_body_of_another_era_counts_as_absent(
    valkey: EmbeddedValkey, process: Make, monkeypatch, one_era: bool
):
    if one_era:
        monkeypatch.setattr("lastseat.stores.redis.era_of", lambda _facts: "0" * 16)
    one, fresh, source = process(valkey.url), process(valkey.url), Source()
    await read(one, source)
    await one.trips.execute("DEL", VIEW)
    valkey.restart()  # with what it had a moment before, which may be older than what somebody has seen
    source.away = True
    for process_ in (one, fresh):
        await until(lambda trips=process_.trips: trips.execute("PING"))
    if one_era:
        assert await read(fresh, source) == (b"[1]", True)
        return
    with pytest.raises(Unavailable):
        await read(fresh, source)
    assert await read(one, source) == (b"[1]", True), "its own memory it trusts"
    assert await read(fresh, source) == (b"[1]", True), "and has told the others"


@pytest.mark.parametrize(
    "plant",
    [("SET", "x"), ("SET", ""), ("RPUSH", "a"), ("HSET", "a", "b"), ("SET", b"LS1{era}" + b"x" * 40)],
    ids=["text", "empty", "list", "hash", "not a time"],
)
async def test_a_foreign_value_in_place_of_the_last_body_counts_as_absent(
    process: Make, trips: RedisTrips, plant: tuple
):
    one, fresh, source = process(), process(), Source()
    await read(one, source)
    await trips.execute("DEL", VIEW, last_of(VIEW))
    words = [word.replace(b"{era}", trips.era.encode()) if isinstance(word, bytes) else word for word in plant[1:]]
    await trips.execute(plant[0], last_of(VIEW), *words)
    source.away = True
    with pytest.raises(Unavailable):
        await read(fresh, source)
    assert await read(one, source) == (b"[1]", True)
    assert await read(fresh, source) == (b"[1]", True)


async def test_a_crowd_asks_redis_once_and_the_normal_path_not_at_all(process: Make, trips: RedisTrips, monkeypatch):
    one, source = process(), Source()
    asked, told = questions_of(one, monkeypatch), []
    monkeypatch.setattr(one.views._last, "tell", lambda *news: asyncio.sleep(0, told.append(news)))
    for _ in range(3):
        await read(one, source)
    assert asked == []
    await trips.execute("DEL", VIEW)
    source.away = True
    await asyncio.gather(*(read(one, source) for _ in range(500)))
    assert 1 <= len(asked) <= 4
    asked.clear()
    assert {await read(one, source) for _ in range(10)} == {(b"[1]", True)}
    assert told == [], "what Redis has is not sent to it again"
    assert len(asked) == 10, "one after another each asks once: what it is told is not older than its question"


async def test_a_redis_that_just_failed_is_not_asked_again_by_the_same_reader(process: Make, monkeypatch):
    alone, source = process("redis://127.0.0.1:1"), Source()
    await read(alone, source)
    source.away = True
    assert await read(alone, source) == (b"[1]", True)
    asked = questions_of(alone, monkeypatch)
    assert {await read(alone, source) for _ in range(10)} == {(b"[1]", True)}
    assert asked == []


async def test_who_looked_first_and_is_served_last_does_not_bring_the_older_body_back(trips: RedisTrips):
    now = 100.0
    last = LastViews(trips, stale_s=60, now=lambda: now)
    last.remember("v", View(body=b"[2]", filled_at=99.0))
    last.remember("v", View(body=b"[1]", filled_at=98.0))
    assert last._known["v"].body == b"[2]"
    now = 50.0  # the clock was set back
    last.remember("v", View(body=b"[3]", filled_at=50.0))
    assert last._known["v"].body == b"[3]"


def a_plan(dice: random.Random) -> list[Act]:
    kinds = ["read"] * 24 + ["write"] * 4 + ["foreign del"] * 4 + ["away", "back"] * 2
    return [Act(kind, dice.randrange(2), dice.uniform(0, 24), 0, dice.choice([0, 3])) for kind in kinds]


@pytest.mark.parametrize("views", [ViewStore, Careless], ids=["guarded", "not guarded"])
async def test_while_supabase_comes_and_goes_no_view_goes_back_in_time(process: Make, trips: RedisTrips, views):
    both, dice, found = [process(views=views), process(views=views)], random.Random(7), False
    for _ in range(20 if views is ViewStore else 150):
        for one in both:
            one.views._away_until = 0.0
        found = bool((await Play(both, trips).run(a_plan(dice))).steps_back())
        if found:
            break
    assert found is (views is Careless)
