"""Bookings as students and staff see them: their own at once, anybody else's never."""

import json
from collections.abc import Callable
from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest

from lastseat.errors import Refused, Unavailable
from lastseat.model import Announcement, Booking, BookingId, ContactId, ExamId, HubspotId
from lastseat.reads.bookings import FILTERS, BookingReads
from lastseat.stores.keys import bookings_of
from lastseat.stores.redis import RedisTrips
from tests.reads.conftest import Process
from tests.reads.fakes import Supabase

ANNA, BEN = ContactId("501"), ContactId("502")
TODAY = date(2026, 3, 5)
LATE = datetime(2026, 3, 5, 23, 30, tzinfo=ZoneInfo("America/Toronto"))


def booking(number: int, is_active: str | None = "Active", *, day: int = 10, contact_id: ContactId = ANNA, **facts):
    return Booking(
        booking_id=BookingId(f"LS-{number}"),
        hubspot_id=None if is_active in {"Pending", "Refused"} else HubspotId(str(number)),
        contact_id=contact_id,
        is_active=is_active,
        exam_date=date(2026, 3, day),
        **facts,
    )


@pytest.fixture
def supabase() -> Supabase:
    supabase = Supabase()
    supabase.booked = [
        booking(9, "Refused", day=20, reason="HubSpot said no"),
        booking(8, "Pending", day=12),
        booking(7),
        booking(6, day=5),
        booking(5, "Cancelled", day=10),
        booking(4, "Completed", day=4),
        booking(3, day=4),
        booking(2, "true", day=3),
        booking(1, None, day=2, booking_status="cancelled"),
        booking(50, contact_id=BEN),
    ]
    return supabase


@pytest.fixture
def reads(process: Callable[..., Process], supabase: Supabase) -> Callable[[], tuple[BookingReads, Process]]:
    def make() -> tuple[BookingReads, Process]:
        one = process()
        return BookingReads(supabase, one.views, one.bulletin, one.settings, now=LATE.astimezone), one

    return make


async def numbers(reads: BookingReads, filter_: str = "all", *, page: int = 1, limit: int = 20) -> str:
    answer = json.loads(await reads.list_for(ANNA, filter=filter_, page=page, limit=limit))
    return " ".join(booking["booking_id"].removeprefix("LS-") for booking in answer["bookings"])


@pytest.mark.parametrize(
    ("filter_", "expected"),
    [
        ("all", "9 8 7 6 5 4 3 2 1"),
        ("upcoming", "8 7 6"),
        ("past", "4 3 2"),
        ("pending", "8"),
        ("cancelled", "5 1"),
        ("refused", "9"),
    ],
)
async def test_each_filter_shows_its_bookings(reads: Callable, filter_: str, expected: str):
    assert await numbers(reads()[0], filter_) == expected


async def test_every_filter_is_tried_above():
    assert set(FILTERS) == {"all", "upcoming", "past", "pending", "cancelled", "refused"}


async def test_pages_hold_what_they_say(reads: Callable):
    one, _ = reads()
    answer = json.loads(await one.list_for(ANNA, filter="all", page=2, limit=4))
    assert answer["success"] is True
    assert [b["booking_id"] for b in answer["bookings"]] == ["LS-5", "LS-4", "LS-3", "LS-2"]
    assert answer["pagination"] == {"page": 2, "limit": 4, "total": 9, "pages": 3}
    beyond = json.loads(await one.list_for(ANNA, filter="all", page=9, limit=4))
    assert beyond["bookings"] == []
    nobody = json.loads(await one.list_for(ContactId("nobody"), filter="all", page=1, limit=4))
    assert nobody["pagination"] == {"page": 1, "limit": 4, "total": 0, "pages": 0}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"filter": "mine", "page": 1, "limit": 20}, "filter"),
        ({"filter": "all", "page": 0, "limit": 20}, "page"),
        ({"filter": "all", "page": 1, "limit": 0}, "limit"),
        ({"filter": "all", "page": 1, "limit": 101}, "limit"),
    ],
)
async def test_a_wrong_query_names_its_field(reads: Callable, query: dict, field: str):
    one, _ = reads()
    for asked in (one.list_for(ANNA, **query), one.list_all(**query)):
        with pytest.raises(Refused) as refusal:
            await asked
        assert refusal.value.field == field


async def test_a_list_is_read_from_supabase_once(reads: Callable, supabase: Supabase, trips: RedisTrips):
    one, _ = reads()
    for filter_ in FILTERS:
        await numbers(one, filter_)
    assert supabase.calls == ["bookings"]
    assert 295_000 < await trips.execute("PTTL", bookings_of(ANNA)) <= 300_000


async def test_own_booking_is_visible_at_once_in_list_and_alone(reads: Callable, supabase: Supabase):
    one, process = reads()
    await numbers(one)
    supabase.booked.insert(0, booking(60, "Pending"))
    await process.bulletin.announce(Announcement(contacts=[ANNA]))
    assert (await numbers(one)).startswith("60 ")
    answer = json.loads(await one.one("LS-60", owner=ANNA))
    assert answer["success"] is True
    assert answer["booking"]["is_active"] == "Pending"


async def test_a_waiting_student_is_answered_from_the_own_list(reads: Callable, supabase: Supabase):
    one, _ = reads()
    for reference in ("LS-7", "7", "LS-8"):
        await one.one(reference, owner=ANNA)
    assert supabase.calls == ["bookings"]


async def test_anybody_elses_booking_is_not_found(reads: Callable):
    one, _ = reads()
    for reference in ("LS-50", "50", "LS-404", "404"):
        with pytest.raises(Refused) as refusal:
            await one.one(reference, owner=ANNA)
        assert refusal.value.code == "BOOKING_NOT_FOUND"
    assert json.loads(await one.one("50", owner=None))["booking"]["contact_id"] == BEN


async def test_part_of_a_reference_finds_nothing(reads: Callable):
    one, _ = reads()
    for reference in ("LS", "", "Active"):
        with pytest.raises(Refused):
            await one.one(reference, owner=ANNA)


async def test_staff_see_everybodys_page_by_page(reads: Callable, supabase: Supabase):
    one, _ = reads()
    answer = json.loads(await one.list_all(filter="all", page=2, limit=6))
    assert [b["booking_id"] for b in answer["bookings"]] == ["LS-3", "LS-2", "LS-1", "LS-50"]
    assert answer["pagination"] == {"page": 2, "limit": 6, "total": 10, "pages": 2}
    with pytest.raises(Refused):
        await one.list_all(filter="past", page=1, limit=6)


async def test_supabase_away_shows_the_last_list_marked_stale(reads: Callable, supabase: Supabase, trips: RedisTrips):
    one, _ = reads()
    await numbers(one)
    await trips.execute("FLUSHALL")
    supabase.away = True
    answer = json.loads(await one.list_for(ANNA, filter="upcoming", page=1, limit=20))
    assert answer["stale"] is True
    assert len(answer["bookings"]) == 3
    assert json.loads(await one.one("LS-7", owner=ANNA))["stale"] is True
    with pytest.raises(Unavailable):
        await one.list_for(BEN, filter="all", page=1, limit=20)


async def test_an_exams_bookings_come_in_pages_and_an_unknown_exam_is_not_found(reads: Callable, supabase: Supabase):
    one, _ = reads()
    supabase.add("9")
    empty = json.loads(await one.of_exam(ExamId("9"), page=1, limit=20))
    assert (empty["bookings"], empty["pagination"]["total"]) == ([], 0)
    supabase.booked = [booking(number, mock_exam_id="9") for number in (1, 2, 3)]
    page = json.loads(await one.of_exam(ExamId("9"), page=2, limit=2))
    assert [shown["booking_id"] for shown in page["bookings"]] == ["LS-3"]
    assert page["pagination"] == {"page": 2, "limit": 2, "total": 3, "pages": 2}
    with pytest.raises(Refused) as told:
        await one.of_exam(ExamId("404"), page=1, limit=20)
    assert told.value.code == "EXAM_NOT_FOUND"
    with pytest.raises(Refused):
        await one.of_exam(ExamId("9"), page=1, limit=101)
