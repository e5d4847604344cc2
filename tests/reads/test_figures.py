"""The figures say how old what readers got was, of each kind, and forget no age."""

import asyncio
import re
import time
from collections.abc import Callable

import pytest

from lastseat import wire
from lastseat.errors import Refused
from lastseat.model import Announcement, ExamId
from lastseat.reads.figures import STEP, Ages
from lastseat.settings import Settings
from lastseat.stores.keys import EXAMS_LIST, bookings_of, exam_of
from tests.reads.conftest import Process
from tests.reads.fakes import Supabase
from tests.reads.watched import ANNA, EXAM, QUICK, Site, booked_once

MINE = {"filter": "all", "page": 1, "limit": 20}
KNOWN_S = [0.01] * 60 + [0.5] * 39 + [7.0]
KINDS = {"exams": "ages", "bookings": "ages_of_lists", "staff": "ages_for_staff"}


@pytest.fixture
def supabase() -> Supabase:
    return booked_once()


@pytest.fixture
def site(process: Callable[..., Process], supabase: Supabase) -> Site:
    return Site(process(settings=QUICK), supabase)


def said(lines: str, kind: str) -> dict[str, float]:
    """Each quantile of the ages of a kind."""
    series = re.compile(
        rf'^lastseat_body_age_seconds\{{process="1",of="{kind}",quantile="([^"]+)"\}} (\S+)$', re.MULTILINE
    )
    return {quantile: float(value) for quantile, value in series.findall(lines)}


def counted(lines: str, kind: str) -> int:
    found = re.search(rf'^lastseat_body_age_seconds_count\{{process="1",of="{kind}"\}} (\d+)$', lines, re.MULTILINE)
    assert found is not None
    return int(found[1])


@pytest.mark.parametrize("kind", KINDS)
async def test_the_median_the_hundredth_and_the_greatest_age_are_told_of_each_kind(site: Site, kind: str):
    for age_s in KNOWN_S:
        getattr(site.figures, KINDS[kind]).note(age_s)
    told = said(site.lines(), kind)
    assert told.keys() == {"0.5", "0.99", "1"}
    assert 0.01 <= told["0.5"] <= 0.01 * STEP
    assert 0.5 <= told["0.99"] <= 0.5 * STEP
    assert told["1"] == 7.0
    assert counted(site.lines(), kind) == 100
    assert [counted(site.lines(), other) for other in KINDS if other != kind] == [0, 0]


async def test_how_long_views_lagged_is_told_in_the_same_way(site: Site):
    for age_s in KNOWN_S:
        site.figures.lags.note(age_s)
    told = re.findall(
        r'^lastseat_view_lag_seconds\{process="1",quantile="([^"]+)"\} (\S+)$', site.lines(), re.MULTILINE
    )
    assert [quantile for quantile, _ in told] == ["0.5", "0.99", "1"]
    assert float(told[2][1]) == 7.0


async def test_every_metric_is_described_once(site: Site):
    described = re.findall(r"^# (HELP|TYPE) (\w+)", site.lines(), re.MULTILINE)
    assert len(described) == len(set(described))
    names = {name for _, name in described}
    samples = {line.split("{")[0].removesuffix("_count") for line in site.lines().splitlines() if line[0] != "#"}
    assert samples == names


async def test_what_a_view_answers_is_as_old_as_its_asking(site: Site):
    """A view is true while nobody drops it, however long ago it was filled."""
    site.process.views._now = lambda: time.time() - 100
    await site.fill()
    site.process.views._now = time.time
    await site.bookings.list_for(ANNA, **MINE)
    await site.bookings.one("901", owner=ANNA)
    await site.staff.all_exams(page=1, limit=20)
    await site.staff.one(EXAM)
    assert (counted(site.lines(), "bookings"), counted(site.lines(), "staff")) == (2, 4)
    for kind in ("bookings", "staff"):
        assert 0 < said(site.lines(), kind)["1"] < 5


async def test_waiting_for_a_view_is_part_of_its_age(site: Site, supabase: Supabase):
    supabase.delay_s = 0.1
    await site.bookings.list_for(ANNA, **MINE)
    await site.staff.one(EXAM)
    for kind in ("bookings", "staff"):
        assert 0.09 < said(site.lines(), kind)["1"] < 5


async def test_a_stale_view_is_as_old_as_its_filling(site: Site, supabase: Supabase):
    site.process.views._now = lambda: time.time() - 600
    await site.fill()
    site.process.views._now = time.time
    supabase.away = True
    await site.process.trips.execute("DEL", bookings_of(ANNA), EXAMS_LIST, exam_of(EXAM))
    for kind, read in (
        ("bookings", lambda: site.bookings.list_for(ANNA, **MINE)),
        ("bookings", lambda: site.bookings.one("901", owner=ANNA)),
        ("staff", lambda: site.staff.all_exams(page=1, limit=20)),
        ("staff", lambda: site.staff.one(EXAM)),
    ):
        ages = getattr(site.figures, KINDS[kind])
        ages.most_s = 0.0
        assert b'"stale":true' in await read()
        assert 599 < ages.most_s < 660


async def test_seats_that_cannot_be_counted_are_as_old_as_the_view_that_has_them(site: Site, supabase: Supabase):
    site.process.views._now = lambda: time.time() - 60
    await site.fill()
    site.process.views._now = time.time
    supabase.away = True
    for gate in await site.process.trips.execute("KEYS", "lastseat:gate:*"):
        await site.process.trips.execute("DEL", gate)
    assert b'"stale":true' in await site.staff.one(EXAM)
    assert 59 < site.figures.ages_for_staff.most_s < 120


async def test_only_answers_out_of_views_that_readers_got_are_counted(site: Site, supabase: Supabase):
    await site.bookings.shown(ANNA)
    await site.bookings.read(ANNA)
    await site.bookings.list_all(**MINE)
    await site.bookings.one("901", owner=None)
    await site.staff.all_exams(page=2, limit=100)
    with pytest.raises(Refused):
        await site.staff.one(ExamId("404"))
    news = Announcement(gates=[supabase.seats[EXAM]], contacts=[ANNA], exams_changed=True)
    assert await site.check(news) == (5, 0)
    assert [counted(site.lines(), kind) for kind in KINDS] == [0, 0, 0]


async def test_the_process_tells_the_ages_of_all_its_reads():
    """Nothing is asked of these stores."""
    nowhere = {"redis_url": "redis://127.0.0.1:1", "supabase_db_url": "postgresql://nobody@127.0.0.1:1/none"}
    services = wire.build(Settings(**nowhere))
    services.bookings._ages.note(3.0)
    services.staff_exams._ages.note(4.0)
    lines = "\n".join(services.figures('process="1"'))
    assert [said(lines, kind)["1"] for kind in KINDS] == [0.0, 3.0, 4.0]


async def test_the_ages_of_bodies_are_told(site: Site):
    for _ in range(50):
        await site.exams.available()
        site.exams._edition.given_at.append(time.monotonic())  # as the hot lane does
    lines = dict(line.rsplit(" ", 1) for line in site.lines().splitlines() if not line.startswith("#"))
    assert float(lines['lastseat_body_age_seconds{process="1",of="exams",quantile="0.99"}']) <= 0.2
    assert int(lines['lastseat_exam_answers_total{process="1",from="process"}']) >= 90
    assert int(lines['lastseat_exam_answers_total{process="1",from="stores"}']) >= 1
    assert int(lines['lastseat_database_lists_total{process="1"}']) == 1
    assert site.exams.capacity_at_hand(ExamId("404")) is None


def test_an_old_body_is_not_forgotten_when_thousands_of_young_ones_follow():
    ages = Ages()
    ages.note(30.0)
    for n in range(20_000):
        ages.note(n % 100 / 1000)
    assert ages.most_s == 30.0
    assert 0.05 <= ages.share(0.5) <= 0.05 * STEP
    assert 0.098 <= ages.share(0.99) <= 0.098 * STEP
    assert 'x_count{process="1"} 20001' in ages.lines("x", 'process="1"')


def test_many_ages_at_once_count_as_if_one_by_one():
    rising = sorted([0.0, 0.0001, 0.00012, 0.5, 0.5, 9e9] + [n * n / 1e4 for n in range(500)])
    together, singly = Ages(), Ages()
    together.note_rising(rising)
    together.note_rising([])
    for age_s in rising:
        singly.note(age_s)
    assert list(together.lines("x", "")) == list(singly.lines("x", ""))
    assert together._counts == singly._counts


async def test_a_stale_body_is_as_old_as_what_it_says(site: Site, supabase: Supabase):
    site.process.views._now = lambda: time.time() - 600
    await site.exams.available()
    await site.process.trips.execute("FLUSHALL")
    site.process.views._now = time.time
    supabase.away = True
    await asyncio.sleep(site.process.settings.body_age_s * 1.1)
    assert b'"stale":true' in await site.exams.available()
    assert 599 < site.figures.ages.most_s < 660
    at_hand = site.exams.available_at_hand()
    assert at_hand is not None
    assert b'"stale":true' in at_hand[0]


async def test_only_what_readers_get_is_counted(site: Site, supabase: Supabase):
    await site.exams.available()
    await site.exams.capacity(EXAM)
    await site.exams.seats_now()
    await site.check(Announcement(gates=[supabase.seats[EXAM]], exams_changed=True))
    assert 'lastseat_body_age_seconds_count{process="1",of="exams"} 2' in site.lines()
    assert site.figures.from_process + site.figures.waited == 2
