"""The checker says how far what readers see lags behind the ledger, seldom enough to cost nothing."""

import asyncio
import logging
from collections.abc import Callable

import msgspec
import pytest

from lastseat.model import Announcement, Booking, ContactId, ExamId
from lastseat.reads import checker as checker_module
from tests.reads.conftest import Process
from tests.reads.fakes import Supabase
from tests.reads.waiting import until
from tests.reads.watched import AHEAD, ANNA, EXAM, QUICK, Site, booked_once

CHANGED = Announcement(exams_changed=True)


@pytest.fixture
def supabase() -> Supabase:
    return booked_once()


@pytest.fixture
def site(process: Callable[..., Process], supabase: Supabase) -> Site:
    return Site(process(settings=QUICK), supabase)


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


def hear_all(site: Site, *those: Announcement) -> None:
    for news in those:
        site.checker.hear(news)


async def one_look(site: Site, checks: int) -> None:
    """Let it run until it has looked once, and no second time."""
    site.checker._every_s = 3600
    running = asyncio.create_task(site.checker.run())
    await until(lambda: asyncio.sleep(0, site.figures.checks >= checks))
    await asyncio.sleep(0.05)
    running.cancel()
    assert site.figures.checks == checks


async def test_news_that_come_close_together_are_looked_at_together(
    site: Site, supabase: Supabase, impatient: None, caplog: pytest.LogCaptureFixture
):
    """The exam that changed is looked at, not the one that was booked right after it."""
    supabase.add("2", **AHEAD)
    await site.fill()
    await site.staff.one(ExamId("2"))
    supabase.listed[1] = msgspec.structs.replace(supabase.listed[1], location="Online")
    supabase.booked.append(Booking(contact_id=ANNA, hubspot_id="902"))
    changed = Announcement(gates=[supabase.seats[ExamId("2")]], exams_changed=True)
    booked = Announcement(gates=[supabase.take("1", 5, version=2)], contacts=[ANNA])
    hear_all(site, changed, booked, *[Announcement(gates=[supabase.seats[EXAM]])] * 100)
    supabase.calls.clear()
    with caplog.at_level(logging.WARNING):
        await one_look(site, checks=5)
    for what in ("a student's list", "the list of exams", "staff's list of exams", "exam 2"):
        assert f"{what} shown here" in caplog.text
    assert sorted(supabase.calls) == ["all_exams", "bookings", "exams", "gates", "staff_exam"]


async def test_all_that_was_named_between_two_looks_may_be_looked_at(site: Site, supabase: Supabase):
    looked: set[str] = set()
    site.checker._list_of = lambda contact_id: looked.add(contact_id)
    heard = checker_module._Heard()
    for number in range(8):
        heard.add(Announcement(contacts=[ContactId(str(number))]), 0.0)
    for _ in range(300):
        await site.checker._checks(heard)
    assert looked == {str(number) for number in range(8)}


async def test_a_look_costs_as_little_after_a_rush_and_remembers_no_more_than_the_limit(
    site: Site, supabase: Supabase, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(checker_module, "NAMES_MOST", 20)
    await site.fill()
    for number in range(1, 100):
        supabase.add(str(number), **AHEAD)
        named = [ContactId(str(number))], [supabase.seats[ExamId(str(number))]]
        hear_all(site, Announcement(contacts=named[0], gates=named[1], exams_changed=number % 2 == 0))
    pending = site.checker._pending
    assert [len(names) for names in (pending.gates, pending.contacts, pending.changed)] == [20, 20, 20]
    assert [*pending.contacts] == [str(number) for number in range(80, 100)]
    supabase.calls.clear()
    site.checker._pending = None
    assert len(await site.checker._checks(pending)) == 5
    assert supabase.calls == []


async def test_each_view_is_measured_from_its_own_latest_news(site: Site, supabase: Supabase):
    heard = checker_module._Heard()
    heard.add(Announcement(contacts=[ANNA], exams_changed=True), 1.0)
    heard.add(Announcement(gates=[supabase.seats[EXAM]], exams_changed=True), 2.0)
    heard.add(Announcement(gates=[supabase.take("1", 5, version=2)]), 3.0)
    whats = {check.what: at for check, at in await site.checker._checks(heard)}
    assert whats == {
        "the seats of exam 1": 3.0,
        "a student's list": 1.0,
        "the list of exams": 2.0,
        "staff's list of exams": 2.0,
        "exam 1": 2.0,
    }
