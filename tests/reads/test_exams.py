"""The list of exams and the seats left: one body for a crowd, never older than a tenth of a second."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest

from lastseat.embedded.valkey import EmbeddedValkey
from lastseat.errors import Refused, Unavailable
from lastseat.model import Announcement, ExamId
from lastseat.reads.edition import BODIES_MOST
from lastseat.stores.gate import GateStore
from lastseat.stores.keys import EXAMS_AVAILABLE
from lastseat.stores.redis import RedisTrips
from tests.reads.clocked import TORONTO, Clock, Site
from tests.reads.fakes import Supabase
from tests.reads.waiting import until


async def test_an_exam_is_shown_with_the_prd_columns_and_its_seats(site: Callable[..., Site], supabase: Supabase):
    supabase.add("1", capacity=20, taken=3, mock_exam_name="Clinical Skills", opens_at=None)
    answer = json.loads(await site().reads.available())
    assert answer["success"] is True
    assert "stale" not in answer
    (exam,) = answer["exams"]
    assert (
        exam
        | {
            "id": "1",
            "hubspot_id": "1",
            "mock_type": "Clinical Skills",
            "exam_date": "2026-03-10",
            "start_time": "14:00",
            "location": "Mississauga",
            "capacity": 20,
            "total_bookings": 3,
            "remaining": 17,
            "status": "available",
            "bookable": True,
            "opens_at": None,
            "is_active": "active",
        }
        == exam
    )


@pytest.mark.parametrize(
    ("capacity", "taken", "status"),
    [
        (20, 0, "available"),
        (40, 31, "available"),
        (40, 32, "limited"),
        (20, 15, "limited"),
        (20, 20, "full"),
        (20, 25, "full"),
    ],
)
async def test_few_seats_left_are_limited_and_none_is_full(
    site: Callable[..., Site], supabase: Supabase, capacity: int, taken: int, status: str
):
    supabase.add("1", capacity=capacity, taken=taken)
    (exam,) = await site().listed()
    assert (exam["status"], exam["remaining"], exam["total_bookings"]) == (status, max(capacity - taken, 0), taken)


async def test_five_hundred_readers_make_one_query(site: Callable[..., Site], supabase: Supabase):
    supabase.add("1")
    supabase.delay_s = 0.01
    one = site()
    bodies = await asyncio.gather(*(one.reads.available() for _ in range(500)))
    assert len(set(map(id, bodies))) == 1
    assert supabase.calls == ["exams", "gates"]


async def test_a_booking_moves_the_count_and_leaves_the_list_cached(
    site: Callable[..., Site], supabase: Supabase, clock: Clock
):
    supabase.add("1")
    one = site()
    await one.listed()
    for version in range(2, 12):
        gate = supabase.take("1", version, version=version)
        await one.bulletin.announce(supabase.news_of(gate))
        assert await one.remaining("1") == 20 - version
        clock.age_s += 0.2
        assert await one.remaining("1") == 20 - version
    assert supabase.calls == ["exams", "gates"]


async def test_own_write_is_visible_at_once_and_elsewhere_within_a_tenth_of_a_second(
    site: Callable[..., Site], supabase: Supabase, clock: Clock
):
    supabase.add("1")
    here, there = site(), site()
    for one in (here, there):
        assert await one.remaining("1") == 20
    await here.bulletin.announce(supabase.news_of(supabase.take("1", 1, version=2)))
    assert await here.remaining("1") == 19
    assert await there.remaining("1") == 20, "it has not heard, and its body is young"
    clock.age_s += 0.101
    assert await there.remaining("1") == 19


async def test_a_listening_process_shows_the_write_of_another_at_once(site: Callable[..., Site], supabase: Supabase):
    supabase.add("1")
    here, there = site(), site()
    there.bulletin.start()
    await until(lambda: asyncio.sleep(0, there.bulletin.connected))
    await there.listed()
    await here.bulletin.announce(supabase.news_of(supabase.take("1", 1, version=2)))

    async def seen() -> bool:
        return await there.remaining("1") == 19

    await until(seen)


async def test_a_count_never_goes_back_when_redis_lost_it(
    site: Callable[..., Site], supabase: Supabase, clock: Clock, trips: RedisTrips
):
    supabase.add("1")
    one = site()
    await one.bulletin.announce(supabase.news_of(supabase.take("1", 5, version=6)))
    assert await one.remaining("1") == 15
    await trips.execute("FLUSHALL")
    await GateStore(trips, gate_ttl_s=60).put([supabase.take("1", 2, version=3)])
    clock.age_s += 1
    assert await one.remaining("1") == 15
    clock.age_s += 61
    assert await one.remaining("1") == 18, "a ledger restored from a backup is believed after a minute"


async def test_a_new_exam_is_shown_as_soon_as_it_is_announced(site: Callable[..., Site], supabase: Supabase):
    supabase.add("1")
    here, there = site(), site()
    await here.listed()
    supabase.add("2")
    await there.bulletin.announce(Announcement(exams_changed=True))
    await here.bulletin.announce(Announcement(exams_changed=True))
    assert [exam["id"] for exam in await here.listed()] == ["1", "2"]


async def test_a_slow_load_cannot_bring_an_old_list_back(site: Callable[..., Site], supabase: Supabase):
    supabase.add("1")
    supabase.delay_s = 0.03
    one = site()
    slow = asyncio.create_task(one.listed())
    await until(lambda: asyncio.sleep(0, supabase.calls))
    supabase.add("2")
    await one.bulletin.announce(Announcement(exams_changed=True))
    assert len(await one.listed()) == 2
    await slow
    assert len(await one.listed()) == 2


async def test_at_half_past_eleven_in_the_evening_today_is_still_today(
    site: Callable[..., Site], supabase: Supabase, clock: Clock
):
    night = datetime(2026, 3, 10, 23, 30, tzinfo=TORONTO)
    assert night.astimezone(UTC).date() == date(2026, 3, 11)
    clock.now = night
    supabase.add("late", starts_at=datetime(2026, 3, 10, 23, 45, tzinfo=TORONTO))
    supabase.add("unknown start", starts_at=None)
    supabase.add("started", starts_at=night - timedelta(minutes=1))
    supabase.add("yesterday", exam_date=date(2026, 3, 9), starts_at=None)
    assert [exam["id"] for exam in await site().listed()] == ["late", "unknown start"]


async def test_an_exam_leaves_the_list_when_it_starts_and_opens_by_the_clock(
    site: Callable[..., Site], supabase: Supabase, clock: Clock
):
    opens_at = clock.now + timedelta(minutes=1)
    supabase.add("1", opens_at=opens_at)
    one = site()
    assert [exam["bookable"] for exam in await one.listed()] == [False]
    clock.now, clock.age_s = opens_at, clock.age_s + 60
    assert [exam["bookable"] for exam in await one.listed()] == [True]
    clock.now, clock.age_s = datetime(2026, 3, 10, 14, 0, tzinfo=TORONTO), clock.age_s + 60
    assert await one.listed() == []


async def test_scheduled_exams_show_when_they_open_and_inactive_ones_never(
    site: Callable[..., Site], supabase: Supabase, clock: Clock
):
    supabase.add("opens", is_active="scheduled", opens_at=clock.now + timedelta(days=1))
    supabase.add("opened", is_active="scheduled", opens_at=clock.now - timedelta(days=1))
    supabase.add("some day", is_active="scheduled", opens_at=None)
    supabase.add("off", is_active="inactive")
    shown = {exam["id"]: exam["bookable"] for exam in await site().listed()}
    assert shown == {"opens": False, "opened": True}


async def test_filters_choose_from_the_one_list_and_ask_nobody(site: Callable[..., Site], supabase: Supabase):
    supabase.add("1", mock_type="Mini-mock", location="Calgary", exam_date=date(2026, 3, 10))
    supabase.add("2", mock_type="Mini-mock", location="Online", exam_date=date(2026, 3, 11), starts_at=None)
    supabase.add("3", mock_type="Mock Discussion", location="Calgary", exam_date=date(2026, 3, 12), starts_at=None)
    one = site()
    chosen: list[tuple[dict, str]] = [
        ({"mock_type": "Mini-mock"}, "1 2"),
        ({"mock_type": "mini-mock", "location": "ONLINE"}, "2"),
        ({"location": "Calgary"}, "1 3"),
        ({"date_from": date(2026, 3, 11)}, "2 3"),
        ({"date_to": date(2026, 3, 11)}, "1 2"),
        ({"location": "Nowhere"}, ""),
    ]
    for filters, ids in chosen:
        assert " ".join(exam["id"] for exam in await one.listed(**filters)) == ids
    assert supabase.calls == ["exams", "gates"]


async def test_made_up_filters_do_not_fill_the_memory(site: Callable[..., Site], supabase: Supabase):
    supabase.add("1")
    one = site()
    for n in range(3 * BODIES_MOST):
        assert await one.listed(location=f"nowhere {n}") == []
    assert len(one.reads._edition.bodies) <= BODIES_MOST


async def test_the_seats_left_are_never_read_from_the_cached_list(
    site: Callable[..., Site], supabase: Supabase, trips: RedisTrips, clock: Clock
):
    supabase.add("1", taken=4)
    here = site()
    await here.listed()
    assert 55_000 < await trips.execute("PTTL", EXAMS_AVAILABLE) <= 60_000
    supabase.take("1", 9, version=2)
    await trips.execute("DEL", "lastseat:gate:1")
    clock.age_s += 1
    assert await here.remaining("1") == 11


async def test_capacity_is_live_for_listed_and_other_exams(site: Callable[..., Site], supabase: Supabase):
    supabase.add("1", capacity=20, taken=20)
    supabase.take("past", 4, version=1, capacity=10)
    one = site()
    assert json.loads(await one.reads.capacity(ExamId("1"))) == {
        "success": True,
        "exam_id": "1",
        "capacity": 20,
        "total_bookings": 20,
        "remaining": 0,
        "is_full": True,
    }
    await one.bulletin.announce(supabase.news_of(supabase.take("1", 19, version=2)))
    assert json.loads(await one.reads.capacity(ExamId("1")))["is_full"] is False
    assert json.loads(await one.reads.capacity(ExamId("past")))["remaining"] == 6
    with pytest.raises(Refused) as refusal:
        await one.reads.capacity(ExamId("nobody knows"))
    assert refusal.value.code == "EXAM_NOT_FOUND"


async def test_supabase_away_is_said_in_the_body(
    site: Callable[..., Site], supabase: Supabase, trips: RedisTrips, clock: Clock
):
    supabase.add("1", taken=4)
    one = site()
    await one.listed()
    await trips.execute("FLUSHALL")
    supabase.away = True
    clock.age_s += 1
    answer = json.loads(await one.reads.available())
    assert answer["stale"] is True
    assert answer["exams"][0]["remaining"] == 16
    assert json.loads(await one.reads.capacity(ExamId("1")))["stale"] is True
    with pytest.raises(Unavailable):
        await one.reads.capacity(ExamId("nobody knows"))
    supabase.away = False
    clock.age_s += 1

    async def fresh() -> bool:
        clock.age_s += 1
        return "stale" not in json.loads(await one.reads.available())

    await until(fresh)


async def test_with_nothing_known_and_supabase_away_it_says_so(site: Callable[..., Site], supabase: Supabase):
    supabase.away = True
    with pytest.raises(Unavailable):
        await site().reads.available()


async def test_without_redis_the_list_and_the_counts_come_from_supabase(
    valkey: EmbeddedValkey, site: Callable[..., Site], supabase: Supabase, clock: Clock
):
    supabase.add("1", taken=4)
    one = site(valkey.url)
    await one.listed()
    valkey.kill()
    supabase.take("1", 5, version=2)
    clock.age_s += 1
    bodies = await asyncio.gather(*(one.remaining("1") for _ in range(100)))
    assert set(bodies) == {15}
    assert len(supabase.calls) <= 5
