"""The checker says how far what readers see lags behind the ledger, seldom enough to cost nothing."""

import asyncio
import logging
from collections.abc import Callable

import pytest

from lastseat.model import Announcement, Booking, ContactId, ExamId
from lastseat.reads import checker as checker_module
from lastseat.reads.bookings import BookingReads
from lastseat.reads.checker import Checker
from lastseat.reads.counts import SeatLooks
from lastseat.reads.exams import ExamReads
from lastseat.settings import Settings
from lastseat.stores.gate import GateStore
from tests.reads.conftest import Process
from tests.reads.fakes import Supabase
from tests.reads.waiting import until

ANNA = ContactId("701")


class Site:
    """One process with its checker."""

    def __init__(self, process: Process, supabase: Supabase) -> None:
        self.process = process
        self.bulletin = process.bulletin
        looks = SeatLooks(GateStore(process.trips, gate_ttl_s=60), supabase)
        self.exams = ExamReads(supabase, looks, process.views, process.bulletin, process.settings)
        bookings = BookingReads(supabase, process.views, process.bulletin, process.settings)
        self.checker = Checker(self.exams, bookings, supabase, process.settings)
        self.figures = self.exams.figures

    def lines(self) -> str:
        return "\n".join(self.figures.lines('process="1"'))


@pytest.fixture
def supabase() -> Supabase:
    supabase = Supabase()
    supabase.add("1")
    supabase.booked.append(Booking(contact_id=ANNA, hubspot_id="901"))
    return supabase


@pytest.fixture
def site(process: Callable[..., Process], supabase: Supabase) -> Site:
    return Site(process(settings=Settings(redis_timeout_s=0.5, check_every_s=0.05)), supabase)


async def test_what_is_as_the_ledger_says_is_not_behind(site: Site, supabase: Supabase):
    await site.exams.available()
    news = Announcement(gates=[supabase.take("1", 5, version=2)], contacts=[ANNA])
    await site.bulletin.announce(news)
    await site.checker.check(news)
    assert (site.figures.checks, site.figures.behind) == (2, 0)
    assert 'lastseat_view_lag_seconds{process="1",quantile="1"}' in site.lines()


async def test_a_count_that_this_process_has_missed_is_seen(site: Site, supabase: Supabase, monkeypatch):
    """The control: without the news, and with the gate left in Redis as it was, readers see the old count."""
    monkeypatch.setattr(checker_module, "PATIENCE_S", 0.2)
    await site.exams.available()
    await site.checker.check(Announcement(gates=[supabase.take("1", 5, version=2)]))
    assert (site.figures.checks, site.figures.behind) == (1, 1)


async def test_a_list_that_nobody_dropped_is_seen_and_told(site: Site, supabase: Supabase, monkeypatch, caplog):
    monkeypatch.setattr(checker_module, "PATIENCE_S", 0.2)
    await site.checker.check(Announcement(contacts=[ANNA]))
    supabase.booked.append(Booking(contact_id=ANNA, hubspot_id="902"))
    with caplog.at_level(logging.WARNING):
        await site.checker.check(Announcement(contacts=[ANNA]))
    assert (site.figures.checks, site.figures.behind) == (2, 1)
    assert "lag behind" in caplog.text
    assert ANNA not in caplog.text


async def test_a_view_that_is_dropped_a_moment_later_is_measured(site: Site, supabase: Supabase):
    await site.checker.check(Announcement(contacts=[ANNA]))
    supabase.booked.append(Booking(contact_id=ANNA, hubspot_id="902"))
    checking = asyncio.create_task(site.checker.check(Announcement(contacts=[ANNA])))
    await asyncio.sleep(0.05)
    await site.bulletin.announce(Announcement(contacts=[ANNA]))
    await checking
    assert site.figures.behind == 0
    assert max(site.figures.lags._latest) > 0.04


async def test_many_announcements_make_few_checks(site: Site, supabase: Supabase):
    site.bulletin.subscribe(site.checker.hear)
    running = asyncio.create_task(site.checker.run())
    for version in range(2, 102):
        await site.bulletin.announce(Announcement(gates=[supabase.take("1", 5, version=version)]))
    await until(lambda: asyncio.sleep(0, site.figures.checks >= 2))
    assert site.figures.checks < 10
    running.cancel()


async def test_a_store_that_is_away_ends_no_checking(site: Site, supabase: Supabase):
    site.bulletin.subscribe(site.checker.hear)
    running = asyncio.create_task(site.checker.run())
    supabase.away = True
    await site.bulletin.announce(Announcement(gates=[supabase.take("1", 5, version=2)]))
    await until(lambda: asyncio.sleep(0, supabase.calls.count("gates") >= 1))
    supabase.away = False
    await asyncio.sleep(0.1)
    await site.bulletin.announce(Announcement(gates=[supabase.take("1", 6, version=3)]))
    await until(lambda: asyncio.sleep(0, site.figures.checks == 2))
    assert not running.done()
    running.cancel()


async def test_the_ages_of_bodies_are_told(site: Site):
    for _ in range(50):
        await site.exams.available()
        site.exams.available_at_hand()
    lines = dict(line.rsplit(" ", 1) for line in site.lines().splitlines() if not line.startswith("#"))
    assert float(lines['lastseat_body_age_seconds{process="1",quantile="0.99"}']) <= 0.2
    assert int(lines['lastseat_exam_answers_total{process="1",from="process"}']) >= 90
    assert int(lines['lastseat_exam_answers_total{process="1",from="stores"}']) >= 1
    assert int(lines['lastseat_database_lists_total{process="1"}']) == 1
    assert site.exams.capacity_at_hand(ExamId("404")) is None
