"""What staff reads of exams: from views where it can be, with the seats as they are now."""

import json
from collections.abc import Callable

import pytest

from lastseat.errors import Refused
from lastseat.model import Announcement, ExamId
from lastseat.reads.counts import SeatLooks
from lastseat.reads.staff import FIRST_PAGE, StaffExamReads
from lastseat.stores.gate import GateStore
from lastseat.stores.keys import EXAMS_LIST, exam_of
from tests.reads.conftest import Process
from tests.reads.fakes import Supabase


@pytest.fixture
def staff(process: Callable[..., Process], supabase: Supabase) -> StaffExamReads:
    one = process()
    one.reads = StaffExamReads(supabase, SeatLooks(GateStore(one.trips, gate_ttl_s=60), supabase), one.views)
    one.reads.process = one
    return one.reads


async def test_all_exams_are_listed_with_the_seats_as_they_are_now(staff: StaffExamReads, supabase: Supabase):
    supabase.add("1", capacity=20, taken=3)
    supabase.add("2", capacity=10, taken=0, is_active="inactive")
    first = json.loads(await staff.all_exams(page=1, limit=20))
    assert [(exam["id"], exam["remaining"], exam["is_active"]) for exam in first["exams"]] == [
        ("1", 17, "active"),
        ("2", 10, "inactive"),
    ]
    assert first["pagination"] == {"page": 1, "limit": 20, "total": 2, "pages": 1}
    await staff.process.bulletin.announce(supabase.news_of(supabase.take("1", 20, version=2)))
    again = json.loads(await staff.all_exams(page=1, limit=20))
    assert (again["exams"][0]["remaining"], again["exams"][0]["status"]) == (0, "full")
    assert supabase.calls.count("all_exams") == 1, "a booking leaves the view alone"


async def test_pages_of_the_view_cost_no_query_and_later_ones_one(staff: StaffExamReads, supabase: Supabase):
    for number in range(FIRST_PAGE + 30):
        supabase.add(str(1000 + number))
    for page in (1, 2, 1):
        body = json.loads(await staff.all_exams(page=page, limit=50))
        assert len(body["exams"]) == 50
    assert supabase.calls.count("all_exams") == 1
    last = json.loads(await staff.all_exams(page=3, limit=50))
    assert [exam["id"] for exam in last["exams"]] == [str(1000 + number) for number in range(100, 130)]
    assert last["pagination"]["pages"] == 3
    assert supabase.calls.count("all_exams") == 2


async def test_one_exam_is_read_once_and_dropped_by_news_that_name_it(staff: StaffExamReads, supabase: Supabase):
    supabase.add("1", location="Calgary")
    for _ in range(3):
        assert json.loads(await staff.one(ExamId("1")))["exam"]["location"] == "Calgary"
    assert supabase.calls.count("staff_exam") == 1
    news = Announcement(gates=[supabase.seats[ExamId("1")]], exams_changed=True)
    await staff.process.bulletin.announce(news)
    assert await staff.process.trips.execute("EXISTS", exam_of(ExamId("1")), EXAMS_LIST) == 0
    await staff.one(ExamId("1"))
    assert supabase.calls.count("staff_exam") == 2


async def test_an_exam_that_nobody_knows_is_not_found(staff: StaffExamReads):
    with pytest.raises(Refused) as told:
        await staff.one(ExamId("404"))
    assert told.value.code == "EXAM_NOT_FOUND"


async def test_supabase_away_shows_the_last_lists_marked_stale(staff: StaffExamReads, supabase: Supabase):
    supabase.add("1")
    await staff.all_exams(page=1, limit=20)
    await staff.one(ExamId("1"))
    supabase.away = True
    await staff.process.trips.execute("DEL", EXAMS_LIST, exam_of(ExamId("1")))
    assert json.loads(await staff.all_exams(page=1, limit=20))["stale"] is True
    assert json.loads(await staff.one(ExamId("1")))["stale"] is True
