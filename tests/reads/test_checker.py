"""The checker says how far what readers see lags behind the ledger, seldom enough to cost nothing."""

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from lastseat.model import Announcement, Booking, ContactId, ExamId
from lastseat.reads import checker as checker_module
from lastseat.reads.bookings import BookingReads
from lastseat.reads.checker import Checker
from lastseat.reads.counts import SeatLooks
from lastseat.reads.exams import ExamReads
from lastseat.reads.figures import STEP, Ages
from lastseat.reads.staff import StaffExamReads
from lastseat.settings import Settings
from lastseat.stores.gate import GateStore
from tests.reads.conftest import Process
from tests.reads.fakes import Supabase
from tests.reads.waiting import until

ANNA = ContactId("701")
EXAM = ExamId("1")
CHANGED = Announcement(exams_changed=True)
AHEAD = {"exam_date": (datetime.now(UTC) + timedelta(days=9)).date(), "starts_at": None}


class Site:
    """One process with its checker."""

    def __init__(self, process: Process, supabase: Supabase) -> None:
        self.process = process
        self.bulletin = process.bulletin
        looks = SeatLooks(GateStore(process.trips, gate_ttl_s=60), supabase)
        self.exams = ExamReads(supabase, looks, process.views, process.bulletin, process.settings)
        self.staff = StaffExamReads(supabase, looks, process.views)
        self.bookings = BookingReads(supabase, process.views, process.bulletin, process.settings)
        self.checker = Checker(self.exams, self.staff, self.bookings, supabase, supabase, process.settings)
        self.figures = self.exams.figures

    async def check(self, news: Announcement, *, heard_s_ago: float = 0.0) -> tuple[int, int]:
        """How many checks these news made, and how many of them were behind."""
        before = self.figures.checks, self.figures.behind
        await self.checker.check(news, heard_at=time.monotonic() - heard_s_ago)
        return self.figures.checks - before[0], self.figures.behind - before[1]

    async def fill(self) -> None:
        """Every view is there and true."""
        await self.exams.available()
        await self.exams.capacity(EXAM)
        await self.staff.all_exams(page=1, limit=100)
        await self.staff.one(EXAM)
        await self.bookings.shown(ANNA)

    def lines(self) -> str:
        return "\n".join(self.figures.lines('process="1"'))


@pytest.fixture
def supabase() -> Supabase:
    supabase = Supabase()
    supabase.add(EXAM, **AHEAD)
    supabase.booked.append(Booking(contact_id=ANNA, hubspot_id="901"))
    return supabase


@pytest.fixture
def site(process: Callable[..., Process], supabase: Supabase) -> Site:
    return Site(process(settings=Settings(redis_timeout_s=0.5, check_every_s=0.05)), supabase)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checker_module, "PATIENCE_S", 0.3)


async def test_what_is_as_the_ledger_says_is_not_behind(site: Site, supabase: Supabase):
    await site.fill()
    news = Announcement(gates=[supabase.take("1", 5, version=2)], contacts=[ANNA], exams_changed=True)
    await site.bulletin.announce(news)
    assert await site.check(news, heard_s_ago=5) == (5, 0)
    assert site.figures.lags.most_s == 0, "it agreed when it was first compared, however long after the news"


async def test_the_database_is_asked_once_however_long_a_view_lags(site: Site, supabase: Supabase, impatient: None):
    await site.fill()
    supabase.calls.clear()
    assert await site.check(Announcement(gates=[supabase.take("1", 5, version=2)])) == (1, 1)
    assert supabase.calls == ["gates"]
    supabase.booked.append(Booking(contact_id=ANNA, hubspot_id="902"))
    assert await site.check(Announcement(contacts=[ANNA])) == (1, 1)
    assert supabase.calls == ["gates", "bookings"]


async def test_seats_that_move_on_while_they_are_checked_are_not_behind(site: Site, supabase: Supabase):
    """A moving target: whoever asked the ledger anew before each comparison would never see readers catch up."""
    await site.fill()
    told = supabase.take("1", 1, version=2)

    async def rush() -> None:
        for version in range(2, 60):
            gate = supabase.take("1", version % 20, version=version)
            await asyncio.sleep(0.002)
            await site.bulletin.announce(Announcement(gates=[gate]))

    rushing = asyncio.create_task(rush())
    while not rushing.done():
        checks, behind = await site.check(Announcement(gates=[told]))
        assert (checks, behind) == (1, 0) or site.figures.lags.most_s < checker_module.PATIENCE_S
        await asyncio.sleep(0)
    assert site.figures.checks > 3


async def test_a_count_that_this_process_has_missed_is_seen(site: Site, supabase: Supabase, impatient: None):
    """The control: without the news, and with the gate left in Redis as it was, readers see the old count."""
    await site.fill()
    assert await site.check(Announcement(gates=[supabase.take("1", 5, version=2)])) == (1, 1)


async def test_a_body_that_was_kept_though_the_count_is_known_is_seen(
    site: Site, supabase: Supabase, impatient: None, monkeypatch: pytest.MonkeyPatch
):
    await site.fill()
    monkeypatch.setattr(site.exams, "_begin_edition", lambda: None)
    news = Announcement(gates=[supabase.take("1", 5, version=2)])
    await site.bulletin.announce(news)
    assert site.exams._counts.get(EXAM) == news.gates[0]
    assert await site.check(news) == (1, 1)


async def test_an_exam_that_the_ledger_does_not_have_and_readers_see_is_behind(
    site: Site, supabase: Supabase, impatient: None
):
    await site.fill()
    told = supabase.seats.pop(EXAM)
    assert await site.check(Announcement(gates=[told])) == (1, 1)
    elsewhere = msgspec.structs.replace(told, exam_id=ExamId("404"))
    assert await site.check(Announcement(gates=[elsewhere])) == (1, 0), "neither has it"


async def test_a_list_that_nobody_dropped_is_seen_and_told(
    site: Site, supabase: Supabase, impatient: None, caplog: pytest.LogCaptureFixture
):
    await site.fill()
    supabase.booked.append(Booking(contact_id=ANNA, hubspot_id="902"))
    with caplog.at_level(logging.WARNING):
        assert await site.check(Announcement(contacts=[ANNA])) == (1, 1)
    assert "behind the database" in caplog.text
    assert ANNA not in caplog.text


@pytest.mark.parametrize("change", [{"mock_exam_name": "Renamed"}, {"location": "Online"}, {"is_active": "inactive"}])
async def test_a_renamed_exam_whose_views_nobody_dropped_is_seen(
    site: Site, supabase: Supabase, impatient: None, caplog: pytest.LogCaptureFixture, change: dict[str, str]
):
    await site.fill()
    supabase.listed = [msgspec.structs.replace(supabase.listed[0], **change)]
    with caplog.at_level(logging.WARNING):
        assert await site.check(CHANGED) == (3, 3)
    for what in ("the list of exams", "staff's list of exams", "exam 1"):
        assert f"{what} shown here" in caplog.text
    await site.bulletin.announce(Announcement(gates=[supabase.seats[EXAM]], exams_changed=True))
    assert await site.check(CHANGED) == (3, 0)


async def test_a_new_exam_that_no_list_shows_is_seen(site: Site, supabase: Supabase, impatient: None):
    await site.fill()
    supabase.add("2", **AHEAD)
    checks, behind = await site.check(Announcement(gates=[supabase.seats[EXAM]], exams_changed=True))
    assert (checks, behind) == (4, 2), "both lists; the seats and the one exam are as they were"


async def test_a_view_that_is_dropped_late_is_measured_from_the_news(site: Site, supabase: Supabase):
    await site.fill()
    supabase.booked.append(Booking(contact_id=ANNA, hubspot_id="902"))
    checking = asyncio.create_task(site.check(Announcement(contacts=[ANNA]), heard_s_ago=0.5))
    await until(lambda: asyncio.sleep(0, supabase.calls.count("bookings") == 2))
    await site.process.trips.execute("DEL", "user:bookings:701")
    assert await checking == (1, 1)
    assert site.figures.lags.most_s >= 0.5


async def test_what_the_database_says_before_it_is_told_is_not_behind(site: Site, supabase: Supabase):
    """The news are still to come: the time runs from them, and not from the older ones that began the check."""
    site.bulletin.subscribe(site.checker.hear)
    await site.fill()
    supabase.booked.append(Booking(contact_id=ANNA, hubspot_id="902"))
    checking = asyncio.create_task(site.check(Announcement(contacts=[ANNA]), heard_s_ago=60))
    await until(lambda: asyncio.sleep(0, supabase.calls.count("bookings") == 2))
    await site.bulletin.announce(Announcement(contacts=[ANNA]))
    await checking
    assert site.figures.lags.most_s < 30
    ahead = supabase.take("1", 5, version=3)
    told = msgspec.structs.replace(ahead, version=2)
    checking = asyncio.create_task(site.check(Announcement(gates=[told]), heard_s_ago=60))
    await until(lambda: asyncio.sleep(0, supabase.calls[-1] == "gates"))
    await site.bulletin.announce(Announcement(gates=[ahead]))
    await checking
    assert site.figures.lags.most_s < 30


async def test_many_announcements_make_few_checks(site: Site, supabase: Supabase):
    site.bulletin.subscribe(site.checker.hear)
    site.checker._every_s = 3600
    running = asyncio.create_task(site.checker.run())
    for version in range(2, 102):
        await site.bulletin.announce(Announcement(gates=[supabase.take("1", 5, version=version)]))
    await until(lambda: asyncio.sleep(0, site.figures.checks >= 1))
    assert site.figures.checks == 1
    running.cancel()


@pytest.mark.parametrize("news", [Announcement(contacts=[ANNA]), CHANGED], ids=["contacts", "exams changed"])
async def test_all_kinds_of_news_are_checked(site: Site, news: Announcement):
    site.bulletin.subscribe(site.checker.hear)
    running = asyncio.create_task(site.checker.run())
    await site.bulletin.announce(news)
    await until(lambda: asyncio.sleep(0, site.figures.checks >= 1))
    running.cancel()


async def test_a_store_that_is_away_ends_no_checking_and_counts_as_none(site: Site, supabase: Supabase):
    site.bulletin.subscribe(site.checker.hear)
    running = asyncio.create_task(site.checker.run())
    supabase.away = True
    await site.bulletin.announce(Announcement(gates=[supabase.take("1", 5, version=2)]))
    await until(lambda: asyncio.sleep(0, supabase.calls.count("gates") >= 1))
    supabase.away = False
    await asyncio.sleep(0.1)
    assert site.figures.checks == 0
    await site.bulletin.announce(Announcement(gates=[supabase.take("1", 6, version=3)]))
    await until(lambda: asyncio.sleep(0, site.figures.checks == 1))
    assert not running.done()
    running.cancel()


async def test_the_ages_of_bodies_are_told(site: Site):
    for _ in range(50):
        await site.exams.available()
        site.exams._edition.given_at.append(time.monotonic())  # as the hot lane does
    lines = dict(line.rsplit(" ", 1) for line in site.lines().splitlines() if not line.startswith("#"))
    assert float(lines['lastseat_body_age_seconds{process="1",quantile="0.99"}']) <= 0.2
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
    assert 'x_count{process="1"} 20001' in ages.lines("x", 'process="1"', "of tests")


def test_many_ages_at_once_count_as_if_one_by_one():
    rising = sorted([0.0, 0.0001, 0.00012, 0.5, 0.5, 9e9] + [n * n / 1e4 for n in range(500)])
    together, singly = Ages(), Ages()
    together.note_rising(rising)
    together.note_rising([])
    for age_s in rising:
        singly.note(age_s)
    assert list(together.lines("x", "", "")) == list(singly.lines("x", "", ""))
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
    assert 'lastseat_body_age_seconds_count{process="1"} 2' in site.lines()
    assert site.figures.from_process + site.figures.waited == 2
