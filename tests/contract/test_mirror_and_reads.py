"""The mirror and what is read from it, over every way to Postgres: types, order, paging, what is missing."""

from datetime import UTC, date, datetime, timedelta

from lastseat.model import Record
from tests.contract.words import EXAM, OTHER, booked, booking, contact, exam, leased, wish


async def test_an_exam_is_read_as_it_was_written(ledger):
    at = datetime(2026, 3, 1, 12, 30, 15, 123000, tzinfo=UTC)
    await ledger.mirror(exams=[exam(capacity=12, at=at)])
    (found,) = await ledger.exams()
    assert found == await ledger.exam(EXAM)
    assert (found.capacity, found.total_bookings, found.is_active) == (12, 0, "active")
    assert (found.start_time, found.end_time) == ("09:00", "11:00")
    assert found.exam_date == date.fromisoformat(exam().properties["exam_date"])
    assert (found.updated_at, found.starts_at.tzinfo is not None) == (at, True)
    assert await ledger.exam("999") is None


async def test_exams_are_listed_by_date_from_today_on(ledger):
    listed = [exam("3", days=9), exam("1", days=2), exam("2", days=2, start_time="08:00"), exam("4", days=-2)]
    await ledger.mirror(exams=[*listed, exam("5", is_active="inactive"), exam("6", days=5, is_active="scheduled")])
    assert [found.hubspot_id for found in await ledger.exams()] == ["2", "1", "6", "3"]


async def test_seat_counts_follow_records_that_come_from_hubspot(ledger):
    at = datetime.now(UTC)
    await ledger.mirror(exams=[exam()])
    news = await ledger.mirror(bookings=[booking("7001", at=at)])
    assert (news.gates[0].taken, news.contacts) == (1, ["9"])
    older = Record(hubspot_id="7001", properties={"is_active": "Cancelled"}, updated_at=at - timedelta(hours=1))
    assert (await ledger.mirror(bookings=[older])).gates[0].taken == 1
    newer = Record(hubspot_id="7001", properties={"is_active": "Cancelled"}, updated_at=at + timedelta(hours=1))
    assert (await ledger.mirror(bookings=[newer])).gates[0].taken == 0
    shown = await ledger.booking("7001")
    assert (shown.is_active, shown.contact_id) == ("Cancelled", "9")  # what was not read is kept


async def test_what_was_not_read_is_kept_and_what_was_cleared_is_cleared(ledger):
    at = datetime.now(UTC)
    await ledger.mirror(exams=[exam(at=at)])
    later = at + timedelta(seconds=1)
    await ledger.mirror(exams=[Record(hubspot_id=EXAM, properties={"location": None}, updated_at=later)])
    found = await ledger.exam(EXAM)
    assert (found.location, found.capacity, found.mock_type) == (None, 2, "Clinical Skills")


async def test_a_booking_that_moves_takes_its_seat_along(ledger):
    at = datetime.now(UTC)
    await ledger.mirror(exams=[exam(), exam(OTHER)], bookings=[booking("7001", at=at)])
    news = await ledger.mirror(bookings=[booking("7001", exam_id=OTHER, at=at + timedelta(seconds=1))])
    assert {gate.exam_id: gate.taken for gate in news.gates} == {EXAM: 0, OTHER: 1}


async def test_a_students_bookings_hold_open_refused_and_recorded_ones(ledger):
    await ledger.mirror(exams=[exam(), exam(OTHER, days=40)], contacts=[contact("1", firstname="Zoë", lastname="Ng")])
    term = (await leased(ledger)).term
    await booked(ledger, term, wish("1"))
    await ledger.claim([wish("1", OTHER), wish("2")])
    found = await ledger.bookings("1")
    assert [(b.mock_exam_id, b.is_active) for b in found] == [(OTHER, "Pending"), (EXAM, "Active")]
    assert {b.student_name for b in found} == {"Zoë Ng"}
    assert found[0].hubspot_id is None
    assert await ledger.bookings("nobody") == []


async def test_a_booking_is_found_by_our_id_and_by_hubspots(ledger):
    await ledger.mirror(exams=[exam()])
    term = (await leased(ledger)).term
    mine = wish("1")
    await booked(ledger, term, mine)
    assert await ledger.booking(mine.booking_id) == await ledger.booking("7001")
    assert await ledger.booking("7002") is None


async def test_everybodys_bookings_come_in_pages_with_the_number_of_all(ledger):
    await ledger.mirror(exams=[exam(capacity=0)], bookings=[booking(str(n), contact=str(n)) for n in range(1500)])
    found, offset = [], 0
    while (page := await ledger.all_bookings(offset=offset, limit=400)).bookings:
        assert page.total == 1500
        found += [b.hubspot_id for b in page.bookings]
        offset += 400
    assert sorted(found) == sorted(str(n) for n in range(1500))


async def test_an_import_may_oversell_and_nobody_more_gets_in(ledger):
    await ledger.mirror(exams=[exam(capacity=1)], bookings=[booking("1"), booking("2", contact="8")])
    gate = (await ledger.gates([EXAM]))[0]
    assert (gate.capacity, gate.taken, gate.remaining) == (1, 2, 0)
    assert [a.outcome for a in await ledger.claim([wish("1")])] == ["full"]


async def test_an_archived_record_holds_no_seat_and_is_not_shown(ledger):
    at = datetime.now(UTC)
    await ledger.mirror(exams=[exam()], bookings=[booking("7001", at=at)])
    gone = Record(hubspot_id="7001", properties={}, updated_at=at + timedelta(seconds=1), archived=True)
    assert (await ledger.mirror(bookings=[gone])).gates[0].taken == 0
    assert await ledger.booking("7001") is None
    assert await ledger.bookings("9") == []


async def test_an_exams_bookings_are_those_that_hold_a_seat_or_wait_for_one_by_name(ledger):
    named = [("7003", "Cleo"), ("7001", "Anna"), ("7005", "Anna")]
    gone = [booking("7006", contact="6", is_active="Cancelled", student_name="Abel")]
    elsewhere = [booking("7007", contact="7", exam_id=OTHER, student_name="Adam")]
    held = [booking(record, contact=record, student_name=name) for record, name in named]
    await ledger.mirror(exams=[exam(capacity=9), exam(OTHER)], bookings=[*held, *gone, *elsewhere])
    await ledger.mirror(contacts=[contact("1", firstname="Ben", lastname="Ng")])
    waits = wish("1")
    await ledger.claim([waits])
    found = await ledger.exam_bookings(EXAM, offset=0, limit=9)
    shown = [(b.student_name, b.hubspot_id or b.booking_id, b.is_active) for b in found.bookings]
    assert shown == [
        ("Anna", "7001", "Active"),
        ("Anna", "7005", "Active"),
        ("Ben Ng", waits.booking_id, "Pending"),
        ("Cleo", "7003", "Active"),
    ]
    assert (found.known, found.total) == (True, (await ledger.gates([EXAM]))[0].taken)
    assert all(b.synced_at and b.location == "Mississauga" for b in found.bookings)
    pages = [await ledger.exam_bookings(EXAM, offset=offset, limit=2) for offset in (0, 2, 4)]
    assert [len(page.bookings) for page in pages] == [2, 2, 0]
    assert [b for page in pages for b in page.bookings] == found.bookings
    assert found.bookings[2] == (await ledger.bookings("1"))[0]


async def test_a_deleted_exam_is_known_an_empty_one_is_empty_and_another_is_unknown(ledger):
    at = datetime.now(UTC)
    await ledger.mirror(exams=[exam(at=at)])
    await ledger.mirror(exams=[Record(hubspot_id=EXAM, properties={}, updated_at=at, archived=True)])
    empty, unknown = [await ledger.exam_bookings(exam_id, offset=0, limit=9) for exam_id in (EXAM, "999")]
    assert (empty.known, empty.total, empty.bookings) == (True, 0, [])
    assert (unknown.known, unknown.total, unknown.bookings) == (False, 0, [])
