"""The forced sync: exams by list, one exam's bookings by association and by id; never by search."""

import asyncio

import pytest

from hubspot_emulator.seeding import Seed, SeedRecord
from lastseat.errors import Refused, Unavailable
from lastseat.model import ExamId
from tests.hubspot_client.doubles import BOOKINGS, EXAMS, FakeBudget
from tests.upkeep.world import EXAM, World

pytestmark = pytest.mark.embedded
ACTIVE = {"is_active": "Active", "booking_status": "confirmed"}


async def booked(world: World, exam: str, count: int, **more: str) -> list[str]:
    """Bookings in HubSpot by property and association, as this service makes them."""
    found = world.sow(
        "bookings",
        *(
            {"booking_id": f"{exam}-{n}", **ACTIVE, "mock_exam_id": exam, "contact_id": str(700 + n), **more}
            for n in range(count)
        ),
    )
    for booking in found:
        world.associate(booking, "exams", exam)
    return found


def edit(world: World, kind: str, record_id: str, **properties: str) -> None:
    """As a person does in HubSpot's own pages."""
    world.portal.emulator.sow(Seed(objects={kind: [SeedRecord(id=record_id, properties=properties)]}))


async def test_exams_are_listed_and_taken_in_the_prds_words(world: World):
    exams = world.sow("exams", *([EXAM] * 3))
    [gone] = world.sow("exams", EXAM, archived=True)
    done = await world.force_sync().exams("staff:clerk")
    assert (done.message, done.archived, done.calls) == ("Synced 3 exams", 1, 2)
    rows = await world.rows("exams")
    assert set(rows) == {*exams, gone}
    assert rows[gone]["archived_at"] is not None
    assert world.bulletin.news[0].exams_changed
    [audited] = await world.sql("select distinct performed_by from hubspot_sync.audit_log")
    assert audited["performed_by"] == "staff:clerk"


async def test_what_staff_edited_in_hubspot_arrives(world: World):
    [exam] = world.sow("exams", EXAM)
    await world.backfill().run()
    edit(world, EXAMS, exam, capacity="3")
    await world.force_sync().exams("staff:clerk")
    assert (await world.rows("exams"))[exam]["capacity"] == 3
    assert world.bulletin.news[-1].gates[0].capacity == 3


async def test_bookings_of_one_exam_are_read_by_association_and_by_id(world: World):
    exam, other = world.sow("exams", EXAM, EXAM)
    mine = await booked(world, exam, 3)
    theirs = await booked(world, other, 2)
    done = await world.force_sync().bookings(ExamId(exam), "staff:clerk")
    assert (done.message, done.archived, done.rejected) == ("Synced 3 bookings", 0, [])
    assert set(await world.rows("bookings")) == set(mine)
    assert (await world.rows("exams"))[exam]["seats_taken"] == 3
    assert not set(theirs) & set(await world.rows("bookings"))
    assert (done.calls, world.calls("search")) == (3, 0)
    assert world.bulletin.contacts == {"700", "701", "702"}


async def test_more_bookings_than_one_read_takes_all_arrive(world: World):
    [exam] = world.sow("exams", {**EXAM, "capacity": "300"})
    await booked(world, exam, 230)
    done = await world.force_sync().bookings(ExamId(exam), "staff:clerk")
    assert (done.synced, done.calls) == (230, 2 + 3)
    assert (await world.rows("exams"))[exam]["seats_taken"] == 230


async def test_a_booking_that_is_gone_frees_its_seat(world: World):
    [exam] = world.sow("exams", EXAM)
    stays, goes = await booked(world, exam, 2)
    await world.force_sync().bookings(ExamId(exam), "x")
    await world.portal.archive(BOOKINGS, goes)
    done = await world.force_sync().bookings(ExamId(exam), "x")
    assert (done.synced, done.archived) == (1, 1)
    rows = await world.rows("bookings")
    assert rows[goes]["archived_at"] is not None
    assert rows[stays]["archived_at"] is None
    assert (await world.rows("exams"))[exam]["seats_taken"] == 1
    assert world.bulletin.seats[exam] == 1


async def test_a_merged_booking_gives_its_seat_back(world: World):
    [exam] = world.sow("exams", EXAM)
    stays, goes = await booked(world, exam, 2)
    await world.force_sync().bookings(ExamId(exam), "x")
    await world.portal._post(f"/crm/v3/objects/{BOOKINGS}/merge", {"primaryObjectId": stays, "objectIdToMerge": goes})
    await world.force_sync().bookings(ExamId(exam), "x")
    rows = await world.rows("bookings")
    assert (rows[stays]["archived_at"] is None, rows[goes]["archived_at"] is None) == (True, False)
    assert (await world.rows("exams"))[exam]["seats_taken"] == 1


async def test_a_booking_moved_in_hubspot_moves_its_seat(world: World):
    exam, other = world.sow("exams", EXAM, EXAM)
    [booking] = await booked(world, exam, 1)
    await world.force_sync().exams("x")
    await world.force_sync().bookings(ExamId(exam), "x")
    edit(world, BOOKINGS, booking, mock_exam_id=other)
    await world.force_sync().bookings(ExamId(exam), "x")
    rows = await world.rows("exams")
    assert (rows[exam]["seats_taken"], rows[other]["seats_taken"]) == (0, 1)


async def test_a_booking_that_names_no_exam_and_no_contact_gets_both_from_its_associations(world: World):
    [exam] = world.sow("exams", EXAM)
    [contact] = world.sow("contacts", {"email": "a@b.example"})
    [booking] = world.sow("bookings", {"booking_id": "old", **ACTIVE})
    world.associate(booking, "exams", exam)
    world.associate(booking, "contacts", contact)
    await world.force_sync().bookings(ExamId(exam), "x")
    row = (await world.rows("bookings"))[booking]
    assert (row["mock_exam_id"], row["contact_id"], row["holds"]) == (exam, contact, True)


async def test_an_exam_without_bookings_is_no_error(world: World):
    [exam] = world.sow("exams", EXAM)
    assert (await world.force_sync().bookings(ExamId(exam), "x")).message == "Synced 0 bookings"


async def test_an_unknown_exam_is_refused_and_nothing_changes(world: World):
    [exam] = world.sow("exams", EXAM)
    await booked(world, exam, 1)
    await world.backfill().run()
    await world.portal.archive(EXAMS, exam)
    for exam_id in ("404", exam):
        with pytest.raises(Refused) as refused:
            await world.force_sync().bookings(ExamId(exam_id), "x")
        assert refused.value.code == "EXAM_NOT_FOUND"
    assert (await world.rows("exams"))[exam]["archived_at"] is None


@pytest.mark.parametrize("fault", ["502=2x", "drop=1x", "empty@reads=3x", "html=1x"])
async def test_a_lost_answer_is_asked_for_again(world: World, fault: str):
    [exam] = world.sow("exams", EXAM)
    await booked(world, exam, 2)
    world.portal.faults(fault)
    assert (await world.force_sync().bookings(ExamId(exam), "x")).synced == 2


async def test_an_answer_that_holds_fewer_records_than_asked_for_is_no_deletion(world: World):
    [exam] = world.sow("exams", EXAM)
    found = await booked(world, exam, 3)
    await world.force_sync().bookings(ExamId(exam), "x")
    world.portal.faults("short@batch_read")
    with pytest.raises(Unavailable):
        await world.force_sync(deadline_s=0.3).bookings(ExamId(exam), "x")
    rows = await world.rows("bookings")
    assert all(rows[one]["archived_at"] is None for one in found)


async def test_two_who_ask_at_once_share_one_sync(world: World):
    world.sow("exams", EXAM)
    sync = world.force_sync()
    both = await asyncio.gather(sync.exams("a"), sync.exams("b"))
    assert [done.synced for done in both] == [1, 1]
    assert world.calls() == 2
    await sync.exams("c")
    assert world.calls() == 4


async def test_who_goes_away_takes_the_sync_from_nobody(world: World):
    world.sow("exams", EXAM)
    world.portal.faults("slow@reads:0.2")
    sync = world.force_sync()
    first, second = asyncio.create_task(sync.exams("a")), asyncio.create_task(sync.exams("b"))
    await asyncio.sleep(0.05)
    first.cancel()
    assert (await second).synced == 1


async def test_when_bookings_need_every_call_it_says_so_instead_of_waiting(world: World):
    world.budget = FakeBudget(slots=0, wait_s=30)
    with pytest.raises(Unavailable, match="needed for bookings") as busy:
        await world.force_sync(deadline_s=0.5).exams("x")
    assert busy.value.retry_after_s == 30
    assert world.calls() == 0
