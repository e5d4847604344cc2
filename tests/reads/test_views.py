"""Views on a real Valkey: one fill for a crowd, foreign hands in our keys, and stores that go away."""

import asyncio
import time
from collections.abc import Callable

import pytest

from lastseat.embedded.valkey import EmbeddedValkey
from lastseat.errors import Refused, Unavailable
from lastseat.model import Announcement, ContactId
from lastseat.settings import Settings
from lastseat.stores import views as views_module
from lastseat.stores.keys import EXAMS_AVAILABLE, bookings_of, last_of
from lastseat.stores.redis import RedisTrips
from tests.reads.conftest import Process
from tests.reads.waiting import until

Make = Callable[..., Process]
ANNA = ContactId("501")
VIEW = bookings_of(ANNA)


class Source:
    """Supabase: says `body`, counts how often it was asked, may be slow or away."""

    def __init__(self, body: bytes = b"[1]", *, delay_s: float = 0.005) -> None:
        self.body = body
        self.delay_s = delay_s
        self.away = False
        self.asked = 0

    async def __call__(self) -> bytes:
        self.asked += 1
        body = self.body
        await asyncio.sleep(self.delay_s)
        if self.away:
            raise Unavailable("Supabase is away")
        return body


async def test_five_hundred_readers_of_a_cold_view_make_one_fill(process: Make):
    one, source = process(), Source()
    views = await asyncio.gather(*(one.views.bookings(ANNA, source) for _ in range(500)))
    assert {view.body for view in views} == {b"[1]"}
    assert source.asked == 1


async def test_a_crowd_in_two_processes_makes_one_fill(process: Make):
    both, source = [process(), process()], Source(delay_s=0.02)
    await asyncio.gather(*(both[n % 2].views.bookings(ANNA, source) for n in range(500)))
    assert source.asked == 1


async def test_a_filled_view_is_read_by_others_and_lives_as_long_as_the_settings_say(
    process: Make, trips: RedisTrips
):
    source = Source()
    await process().views.bookings(ANNA, source)
    view = await process().views.bookings(ANNA, source)
    assert (view.body, view.stale, source.asked) == (b"[1]", False, 1)
    assert abs(view.filled_at - time.time()) < 5
    assert 295_000 < await trips.execute("PTTL", VIEW) <= 300_000
    await process().views.exams(source)
    assert 55_000 < await trips.execute("PTTL", EXAMS_AVAILABLE) <= 60_000


async def test_a_foreign_delete_refreshes_us(process: Make, trips: RedisTrips):
    one, source = process(), Source()
    await one.views.bookings(ANNA, source)
    source.body = b"[2]"
    await trips.execute("DEL", VIEW)
    assert (await one.views.bookings(ANNA, source)).body == b"[2]"


@pytest.mark.parametrize(
    "plant",
    [
        ("SET", VIEW, '[{"id":"of the PRD\'s own app"}]'),
        ("SET", VIEW, ""),
        ("SET", VIEW, "LS1"),
        ("SET", VIEW, b"LS1" + b"f" * 45 + b"[0]"),
        ("RPUSH", VIEW, "a", "b"),
        ("HSET", VIEW, "field", "value"),
        ("SADD", VIEW, "member"),
    ],
    ids=["json", "empty", "magic only", "another era", "list", "hash", "set"],
)
async def test_a_foreign_value_counts_as_absent_and_is_replaced(process: Make, trips: RedisTrips, plant: tuple):
    one, source = process(), Source()
    await trips.execute(*plant)
    for _ in range(2):
        assert (await one.views.bookings(ANNA, source)).body == b"[1]"
    assert source.asked == 1


async def test_a_flush_in_the_middle_of_a_fill_voids_it(process: Make, trips: RedisTrips):
    one, other, source = process(), process(), Source(delay_s=0.05)
    slow = asyncio.create_task(one.views.bookings(ANNA, source))
    await until(lambda: asyncio.sleep(0, source.asked == 1))
    source.body = b"[2]"
    await trips.execute("FLUSHALL")
    assert (await other.views.bookings(ANNA, Source(b"[2]"))).body == b"[2]"
    assert (await slow).body == b"[2]"
    assert b"[2]" in await trips.execute("GET", VIEW)


async def test_an_announcement_voids_the_fill_under_way(process: Make, trips: RedisTrips):
    one, source = process(), Source(delay_s=0.05)
    slow = asyncio.create_task(one.views.bookings(ANNA, source))
    await until(lambda: asyncio.sleep(0, source.asked == 1))
    source.body = b"[2]"
    await one.bulletin.announce(Announcement(contacts=[ANNA]))
    assert (await one.views.bookings(ANNA, source)).body == b"[2]"
    await slow
    assert b"[2]" in await trips.execute("GET", VIEW)


async def test_a_storm_of_deletes_starves_nobody(process: Make, trips: RedisTrips, monkeypatch):
    monkeypatch.setattr(views_module, "PATIENCE_S", 0.05)
    one, source = process(), Source(delay_s=0.01)
    reading = asyncio.create_task(one.views.bookings(ANNA, source))
    while not reading.done():
        await trips.execute("DEL", VIEW)
        await asyncio.sleep(0.001)
    assert (await reading).body == b"[1]"


async def test_a_dead_filler_holds_nobody_up_for_long(process: Make, trips: RedisTrips):
    dead, one, source = process(), process(), Source()
    stuck = asyncio.create_task(dead.views.bookings(ANNA, Source(delay_s=60)))
    await until(lambda: trips.execute("EXISTS", VIEW))
    began = time.monotonic()
    assert (await one.views.bookings(ANNA, source)).body == b"[1]"
    assert time.monotonic() - began < views_module.PATIENCE_S + 0.5
    stuck.cancel()


async def test_a_refusal_reaches_every_reader_and_frees_the_lease(process: Make, trips: RedisTrips):
    async def refuse() -> bytes:
        raise Refused("no")

    one = process()
    answers = await asyncio.gather(*(one.views.bookings(ANNA, refuse) for _ in range(5)), return_exceptions=True)
    assert all(isinstance(answer, Refused) for answer in answers)
    assert await trips.execute("EXISTS", VIEW) == 0


async def test_an_ageing_view_is_refreshed_once_while_all_read_on(process: Make, trips: RedisTrips, monkeypatch):
    both, source = [process(), process()], Source()
    await both[0].views.bookings(ANNA, source)
    monkeypatch.setattr(views_module, "REFRESH_AT", 0.0)
    source.body, source.delay_s = b"[2]", 0.05
    seen = await asyncio.gather(*(both[n % 2].views.bookings(ANNA, source) for n in range(100)))
    assert {view.body for view in seen} == {b"[1]"}
    monkeypatch.setattr(views_module, "REFRESH_AT", 0.8)

    async def refreshed() -> bool:
        return (await both[1].views.bookings(ANNA, source)).body == b"[2]"

    await until(refreshed)
    assert source.asked == 2
    assert await trips.execute("PTTL", VIEW) > 295_000


async def test_a_delete_voids_a_refresh_like_any_fill(process: Make, trips: RedisTrips, monkeypatch):
    one, source = process(), Source()
    await one.views.bookings(ANNA, source)
    monkeypatch.setattr(views_module, "REFRESH_AT", 0.0)
    source.delay_s = 0.03
    await one.views.bookings(ANNA, source)
    monkeypatch.setattr(views_module, "REFRESH_AT", 0.8)
    await until(lambda: asyncio.sleep(0, source.asked == 2))
    await trips.execute("DEL", VIEW)
    await asyncio.sleep(0.06)
    assert await trips.execute("EXISTS", VIEW) == 0


async def test_reads_go_on_without_redis_and_share_their_fills(valkey: EmbeddedValkey, process: Make):
    one, source = process(valkey.url), Source()
    await one.views.bookings(ANNA, source)
    valkey.kill()
    source.body = b"[2]"
    views = await asyncio.gather(*(one.views.bookings(ANNA, source) for _ in range(500)))
    assert {view.body for view in views} == {b"[2]"}
    assert source.asked <= 3
    valkey.restart()
    await until(lambda: one.trips.execute("PING"))
    assert (await one.views.bookings(ANNA, source)).body == b"[2]"


async def test_what_a_restarted_redis_brings_back_is_not_believed(
    valkey: EmbeddedValkey, process: Make, settings: Settings
):
    one, source = process(valkey.url), Source()
    await one.views.bookings(ANNA, source)
    source.body = b"[2]"  # and the DEL of this write was lost with the last second of the append-only file
    valkey.restart()
    await until(lambda: one.trips.execute("EXISTS", VIEW))
    assert (await one.views.bookings(ANNA, source)).body == b"[2]"


async def test_without_the_era_a_restarted_redis_would_be_believed(
    valkey: EmbeddedValkey, process: Make, monkeypatch
):
    def one_era(_facts) -> str:
        return "0" * 16

    monkeypatch.setattr("lastseat.stores.redis.era_of", one_era)
    one, source = process(valkey.url), Source()
    await one.views.bookings(ANNA, source)
    source.body = b"[2]"
    valkey.restart()
    await until(lambda: one.trips.execute("EXISTS", VIEW))
    assert (await one.views.bookings(ANNA, source)).body == b"[1]"


async def test_supabase_away_serves_the_last_body_marked_stale(process: Make, trips: RedisTrips):
    one, other, source = process(), process(), Source()
    await one.views.bookings(ANNA, source)
    await trips.execute("DEL", VIEW)
    source.away = True
    for reader in (one, other, one):
        view = await reader.views.bookings(ANNA, source)
        assert (view.body, view.stale) == (b"[1]", True)
    with pytest.raises(Unavailable):
        await one.views.bookings(ContactId("never read"), source)


async def test_both_stores_away_serve_what_the_process_remembers(valkey: EmbeddedValkey, process: Make):
    one, source = process(valkey.url), Source()
    await one.views.bookings(ANNA, source)
    valkey.kill()
    source.away = True
    view = await one.views.bookings(ANNA, source)
    assert (view.body, view.stale) == (b"[1]", True)


async def test_a_body_older_than_an_hour_is_not_served(process: Make, trips: RedisTrips):
    one, source = process(), Source()
    await one.views.bookings(ANNA, source)
    await trips.execute("DEL", VIEW)
    source.away = True
    one.views._last._now = lambda: time.time() + 3601
    with pytest.raises(Unavailable):
        await one.views.bookings(ANNA, source)


async def test_the_last_copy_in_redis_lives_for_an_hour(process: Make, trips: RedisTrips):
    await process().views.bookings(ANNA, Source())
    assert 3_590_000 < await trips.execute("PTTL", last_of(VIEW)) <= 3_600_000


async def test_while_supabase_hangs_only_the_first_reader_waits(process: Make, trips: RedisTrips):
    one, source = process(), Source()
    await one.views.bookings(ANNA, source)
    await trips.execute("DEL", VIEW)
    source.away, source.delay_s = True, 0.3
    await one.views.bookings(ANNA, source)
    began = time.monotonic()
    for _ in range(20):
        assert (await one.views.bookings(ANNA, source)).stale
    assert time.monotonic() - began < 1, "twenty waits would take six seconds"


async def test_supabase_back_is_noticed_by_the_next_readers(process: Make, trips: RedisTrips):
    one, source = process(), Source()
    await one.views.bookings(ANNA, source)
    await trips.execute("DEL", VIEW)
    source.away = True
    await one.views.bookings(ANNA, source)
    source.away, source.body = False, b"[2]"

    async def fresh() -> bool:
        view = await one.views.bookings(ANNA, source)
        return view.body == b"[2]" and not view.stale

    await until(fresh)


async def test_readers_that_give_up_do_not_disturb_the_fill(process: Make):
    one, source = process(), Source(delay_s=0.03)
    readers = [asyncio.create_task(one.views.bookings(ANNA, source)) for _ in range(10)]
    await until(lambda: asyncio.sleep(0, source.asked == 1))
    for reader in readers[1:]:
        reader.cancel()
    assert (await readers[0]).body == b"[1]"
    assert source.asked == 1
