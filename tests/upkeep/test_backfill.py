"""The backfill: everything once, resumable, safe beside students, and honest about what it could not take."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import msgspec
import pytest

from lastseat.errors import SetupError, Unavailable
from lastseat.model import BookingId, ClaimId, ClaimRequest, ContactId, ExamId, Record
from lastseat.upkeep import backfill, intake, linking
from lastseat.upkeep.intake import Overtaken
from tests.hubspot_client.doubles import BOOKINGS
from tests.upkeep.world import EXAM, World, world_of

pytestmark = pytest.mark.embedded
ACTIVE = {"is_active": "Active", "booking_status": "confirmed"}


def key(number: int) -> dict[str, str]:
    return {"booking_id": f"old-{number}"}


async def mirrored(world: World) -> dict[str, dict]:
    return {kind: await world.rows(kind) for kind in ("exams", "contacts", "bookings")}


async def test_every_record_arrives_with_its_fields(world: World):
    [exam] = world.sow("exams", EXAM)
    [contact] = world.sow("contacts", {"student_id": "TRAINEE1", "email": "Zoe@Students.Example", "firstname": "Zoë"})
    [booking] = world.sow(
        "bookings",
        {**key(1), **ACTIVE, "mock_exam_id": exam, "contact_id": contact, "dominant_hand": "left"},
    )
    report = await world.backfill().run()
    assert report.read["bookings"] == {"live": 1, "archived": 0}
    rows = await mirrored(world)
    assert (rows["exams"][exam]["seats_taken"], rows["exams"][exam]["capacity"]) == (1, 10)
    assert rows["contacts"][contact]["email"] == "zoe@students.example"
    found = rows["bookings"][booking]
    assert (found["contact_id"], found["dominant_hand"], found["booking_key"]) == (contact, "left", "old-1")
    assert world.bulletin.contacts == {contact}
    assert world.bulletin.seats[exam] == 1


async def test_lists_are_paged_to_the_end(world: World):
    world.sow("contacts", *({"student_id": f"T{n}", "email": f"t{n}@s.example"} for n in range(205)))
    report = await world.backfill().run()
    assert report.read["contacts"] == {"live": 205, "archived": 0}
    assert len(await world.rows("contacts")) == 205
    # One to know the portal, one page for each empty list, three for the contacts.
    assert report.calls == world.calls() == 1 + 5 + 3
    assert world.calls("search") == 0


async def test_an_archived_record_is_marked_and_holds_no_seat(world: World):
    [exam] = world.sow("exams", EXAM)
    [gone] = world.sow("bookings", {**key(1), **ACTIVE, "mock_exam_id": exam, "contact_id": "7"}, archived=True)
    report = await world.backfill().run()
    assert report.read["bookings"] == {"live": 0, "archived": 1}
    assert (await world.rows("bookings"))[gone]["archived_at"] is not None
    assert (await world.rows("exams"))[exam]["seats_taken"] == 0


async def test_running_it_twice_changes_nothing(world: World):
    [exam] = world.sow("exams", EXAM)
    world.sow("bookings", {**key(1), **ACTIVE, "mock_exam_id": exam, "contact_id": "7"}, key(2))
    await world.backfill().run()
    first = await mirrored(world)
    [audited] = await world.sql("select count(*) from hubspot_sync.audit_log")
    again = await world.backfill().run()
    assert not again.resumed
    second = await mirrored(world)
    for kind, rows in first.items():
        bare = [{k: v for k, v in row.items() if k != "synced_at"} for row in rows.values()]
        assert bare == [{k: v for k, v in second[kind][i].items() if k != "synced_at"} for i in rows]
    assert await world.sql("select count(*) from hubspot_sync.audit_log") == [audited]


async def test_what_is_only_associated_is_read_from_the_associations(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(backfill, "ENDS_MOST", 2)
    [exam] = world.sow("exams", EXAM)
    [contact] = world.sow("contacts", {"email": "a@b.example"})
    linked = world.sow("bookings", *({**key(n), **ACTIVE} for n in range(3)))
    [lost] = world.sow("bookings", {**key(9), **ACTIVE})
    for booking in linked:
        world.associate(booking, "exams", exam)
        world.associate(booking, "contacts", contact)
    report = await world.backfill().run()
    rows = await world.rows("bookings")
    assert {(rows[b]["mock_exam_id"], rows[b]["contact_id"]) for b in linked} == {(exam, contact)}
    assert (await world.rows("exams"))[exam]["seats_taken"] == 3
    assert {(one.id, one.reason) for one in report.rejected} == {(lost, text) for text in linking.WITHOUT.values()}
    assert world.calls("associations_batch_read") == 4


async def test_a_second_run_frees_no_seat_of_a_booking_that_is_only_associated(world: World):
    [exam] = world.sow("exams", EXAM)
    [booking] = world.sow("bookings", {**key(1), **ACTIVE, "contact_id": "7"})
    world.associate(booking, "exams", exam)
    await world.backfill().run()
    world.bulletin.news.clear()
    await world.backfill().run()
    assert {gate.taken for news in world.bulletin.news for gate in news.gates} == {1}


async def test_without_that_rule_a_second_run_would_sell_the_seat_for_a_moment(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(backfill, "without_empty_links", lambda record: record)
    [exam] = world.sow("exams", EXAM)
    [booking] = world.sow("bookings", {**key(1), **ACTIVE, "contact_id": "7"})
    world.associate(booking, "exams", exam)
    await world.backfill().run()
    world.bulletin.news.clear()
    await world.backfill().run()
    assert {gate.taken for news in world.bulletin.news for gate in news.gates} == {0, 1}


async def test_a_booking_with_two_exams_is_not_guessed(world: World):
    exams = world.sow("exams", EXAM, EXAM)
    [booking] = world.sow("bookings", {**key(1), **ACTIVE, "contact_id": "7"})
    for exam in exams:
        world.associate(booking, "exams", exam)
    report = await world.backfill().run()
    assert (await world.rows("bookings"))[booking]["mock_exam_id"] is None
    assert [one.reason for one in report.rejected] == [f"is associated with 2 exams: {', '.join(exams)}"]


async def test_what_cannot_be_read_is_told_and_not_taken_for_zero(world: World):
    [good] = world.sow("exams", EXAM)
    await world.backfill().run()
    world.portal.emulator.store.portal.types["2-50158913"].records[good].properties["capacity"] = "many"
    [bare] = world.sow("exams", {"mock_exam_name": "No date, no seats"})
    report = await world.backfill().run()
    assert (await world.rows("exams"))[good]["capacity"] == 10
    reasons = {one.id: one.reason for one in report.rejected}
    assert reasons[good] == "capacity 'many' cannot be read"
    assert {one.reason for one in report.rejected if one.id == bare} == set(intake.NEEDED["exams"].values())


async def test_one_row_that_the_database_refuses_keeps_nobody_out(world: World):
    noise = "".join(f"{n:x}" for n in range(9_000))
    [exam] = world.sow("exams", EXAM)
    fine = world.sow(
        "bookings", *({**key(n), **ACTIVE, "mock_exam_id": exam, "contact_id": f"{n}"} for n in range(3))
    )
    [long] = world.sow("bookings", {"booking_id": noise, **ACTIVE, "mock_exam_id": exam, "contact_id": "9"})
    report = await world.backfill().run()
    assert set(await world.rows("bookings")) == set(fine)
    [rejected] = report.rejected
    assert (rejected.id, rejected.reason.partition(":")[0]) == (long, "the database refused the values")


async def test_it_says_what_is_odd(world: World):
    [small] = world.sow("exams", {**EXAM, "capacity": "1"})
    [contact] = world.sow("contacts", {"email": "a@b.example"})
    twice = world.sow(
        "bookings", *({**key(n), **ACTIVE, "mock_exam_id": small, "contact_id": contact} for n in range(2))
    )
    [stranger] = world.sow("bookings", {**key(7), **ACTIVE, "mock_exam_id": "404", "contact_id": "505"})
    survey = (await world.backfill().run()).survey
    assert survey.oversold.first[0]["exam_id"] == small
    assert survey.doubles.first == [{"contact_id": contact, "exam_id": small, "booking_ids": sorted(twice)}]
    assert survey.unknown_contacts.first == [{"booking_id": stranger, "contact_id": "505"}]
    assert survey.unknown_exams.first == [{"booking_id": stranger, "exam_id": "404"}]
    assert survey.held["bookings"] == {"live": 3, "archived": 0, "holding a seat": 3}
    assert (survey.unseen.count, survey.duplicate_keys.count) == (0, 0)


async def test_what_hubspot_does_not_list_is_reported_and_left(world: World):
    [exam] = world.sow("exams", EXAM)
    stray = Record(
        hubspot_id="99", properties={**ACTIVE, "mock_exam_id": exam}, updated_at=datetime.now(UTC) - timedelta(days=1)
    )
    await world.store.mirror(bookings=[stray])
    report = await world.backfill().run()
    assert report.survey.unseen.first == [{"kind": "bookings", "id": "99"}]
    row = (await world.rows("bookings"))["99"]
    assert row["holds"]
    assert row["archived_at"] is None


async def killed_after(world: World, pages: int, **more) -> None:
    """A run that ends as a kill ends it: between two awaits, with nothing put away."""
    seen = 0

    def count(_progress) -> None:
        nonlocal seen
        seen += 1
        if seen == pages:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await world.backfill(on_page=count, **more).run()


async def test_a_killed_run_goes_on_where_it_stopped(world: World):
    world.sow("contacts", *({"student_id": f"T{n}", "email": f"t{n}@s.example"} for n in range(250)))
    await killed_after(world, 3)
    before = world.calls()
    report = await world.backfill().run()
    assert report.resumed
    assert report.read["contacts"] == {"live": 250, "archived": 0}
    # The lists of exams and the first page of contacts are not read again; one call asks whether the portal fits.
    assert world.calls() - before == 1 + 2 + 3
    assert len(await world.rows("contacts")) == 250


async def test_the_next_start_tells_what_a_killed_run_had_kept_and_told_nobody(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    [exam] = world.sow("exams", {**EXAM, "exam_date": "2032-01-01"})
    world.sow("bookings", {**key(1), **ACTIVE, "mock_exam_id": exam, "contact_id": "7"})

    async def die(news) -> None:
        if news.contacts:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(world.bulletin, "announce", die)
        with pytest.raises(KeyboardInterrupt):
            await world.backfill().run()
    assert (await world.rows("exams"))[exam]["seats_taken"] == 1
    await world.backfill().run()
    assert world.bulletin.news[0].contacts == ["7"]
    assert world.bulletin.seats[exam] == 1


async def test_a_restart_begins_anew_and_so_does_another_portal(world: World):
    world.sow("contacts", *({"email": f"t{n}@s.example"} for n in range(150)))
    await killed_after(world, 3)
    assert not (await world.backfill().run(restart=True)).resumed
    await killed_after(world, 3)
    async with world_of(
        world.portal, world.url, hubspot_booking_type=f"p{world.portal.emulator.store.portal.id}_bookings"
    ) as other:
        assert not (await other.backfill().run()).resumed


async def test_of_two_runs_at_once_the_later_goes_on_and_the_earlier_stops(world: World):
    world.sow("contacts", *({"email": f"t{n}@s.example"} for n in range(150)))
    later: list[asyncio.Task] = []

    def start_another(_progress) -> None:
        if not later:
            later.append(asyncio.create_task(world.backfill().run()))

    earlier = world.backfill(on_page=start_another)
    # The earlier one is slow enough for the other to begin.
    world.portal.faults("slow@reads:0.05")
    with pytest.raises(Overtaken):
        await earlier.run()
    assert (await later[0]).read["contacts"]["live"] == 150


async def test_a_page_and_its_cursor_are_kept_together_or_not_at_all(world: World):
    _, clock = await world.store.cursor("backfill")
    record = Record(hubspot_id="5", properties={"email": "a@b.example"})
    taken = await world.store.take(
        "contacts", [record], actor="x", read_at=clock, cursor=("backfill", {"run": "mine"})
    )
    assert taken.overtaken
    assert await world.rows("contacts") == {}


async def test_a_record_that_changed_while_its_page_was_on_the_way_stays(world: World):
    [exam] = world.sow("exams", EXAM)
    [booking] = world.sow("bookings", {**key(1), **ACTIVE, "mock_exam_id": exam, "contact_id": "7"})
    _, read_at = await world.store.cursor("backfill")
    stale = (await world.lists.page(await world.budget.reserve("x"), "bookings", after=None, archived=False)).records
    gone = msgspec.structs.replace(stale[0], archived=True)
    await world.store.mirror(exams=[], bookings=[gone])
    await world.store.take("bookings", stale, actor="backfill", read_at=read_at)
    assert (await world.rows("bookings"))[booking]["archived_at"] is not None
    # Negative control: the same page through the bare mirror brings it back, since HubSpot's dates are equal.
    await world.store.mirror(bookings=stale)
    assert (await world.rows("bookings"))[booking]["archived_at"] is None


async def test_a_call_that_is_sent_again_tells_the_same_news(world: World):
    [exam] = world.sow("exams", EXAM)
    _, read_at = await world.store.cursor("backfill")
    record = Record(hubspot_id="5", properties={**ACTIVE, "mock_exam_id": exam, "contact_id": "7"})
    first = await world.store.take("bookings", [record], actor="x", read_at=read_at)
    second = await world.store.take("bookings", [record], actor="x", read_at=read_at)
    assert first.news.contacts == second.news.contacts == ["7"]


async def test_a_claim_whose_record_the_backfill_finds_first_is_booked_once(world: World):
    [exam] = world.sow("exams", {**EXAM, "exam_date": "2032-01-01"})
    await world.backfill().run()
    claim = ClaimRequest(
        claim_id=ClaimId(str(uuid4())), booking_id=BookingId("LS-1"), exam_id=ExamId(exam), contact_id=ContactId("7"),
        caller="student:7", request_id="r", properties={},
    )  # fmt: skip
    assert (await world.store.claim([claim]))[0].outcome == "won"
    world.sow("bookings", {"booking_id": "LS-1", **ACTIVE, "mock_exam_id": exam, "contact_id": "7"})
    await world.backfill().run()
    [found] = await world.store.outcomes([claim.claim_id])
    assert found.state == "booked"
    assert (await world.rows("exams"))[exam]["seats_taken"] == 1


@pytest.mark.parametrize("fault", ["502=1x", "drop=2x", "empty=1x", "429=1x", "html=1x,503=1x", "500=2x"])
async def test_a_read_that_was_not_answered_is_asked_for_again(world: World, fault: str):
    world.sow("contacts", *({"email": f"t{n}@s.example"} for n in range(3)))
    world.portal.faults(fault)
    assert (await world.backfill().run()).read["contacts"]["live"] == 3


async def test_an_outage_that_lasts_stops_it_and_the_next_run_goes_on(world: World):
    world.sow("contacts", *({"email": f"t{n}@s.example"} for n in range(150)))
    await killed_after(world, 3)
    world.portal.faults("503")
    with pytest.raises(Unavailable):
        await world.backfill(patience_s=0.1).run()
    world.portal.faults("")
    assert (await world.backfill().run()).resumed


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"hubspot_access_token": "pat-wrong"}, "HubSpot does not accept HUBSPOT_ACCESS_TOKEN."),
        ({"hubspot_booking_type": "2-1"}, "HUBSPOT_BOOKING_TYPE=2-1 is no object type of this portal"),
        ({"hubspot_exam_type": "2-1"}, "HUBSPOT_EXAM_TYPE=2-1 is no object type of this portal"),
        (
            {"hubspot_booking_key": "student_id"},
            "The booking property student_id (HUBSPOT_BOOKING_KEY) is not unique",
        ),
        ({"hubspot_booking_key": "nowhere"}, "Bookings in HubSpot have no property nowhere (HUBSPOT_BOOKING_KEY)."),
    ],
)
async def test_a_portal_that_does_not_fit_is_one_line_with_the_way_out(world: World, settings: dict, says: str):
    async with world_of(world.portal, world.url, **settings) as other:
        with pytest.raises(SetupError) as refused:
            await other.backfill().run()
    assert refused.value.message.startswith(says)
    assert refused.value.way_out
    assert "\n" not in refused.value.message
    assert "pat-wrong" not in refused.value.message


async def test_a_missing_scope_is_named(world: World):
    from hubspot_emulator.accounts import Accounts

    world.portal.emulator.accounts = Accounts(["pat-demo=crm.objects.custom.read,crm.schemas.custom.read"])
    with pytest.raises(SetupError, match=r"lacks crm\.objects\.contacts\.read"):
        await world.backfill().run()


async def test_rows_of_10001_contacts_are_not_cut_off(world: World):
    world.sow("contacts", *({"email": f"t{n}@s.example"} for n in range(10_001)))
    _, clock = await world.store.cursor("x")
    assert (await world.backfill().run()).read["contacts"]["live"] == 10_001
    assert clock.tzinfo is not None
    assert world.portal.emulator.store.portal.types[BOOKINGS].records == {}
