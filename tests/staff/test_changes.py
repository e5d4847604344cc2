"""What tightens binds at once, what loosens when HubSpot has spoken, and a refusal leaves the exam as it was."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from lastseat.model import RowResult
from tests.contract.words import wish
from tests.staff.world import DAY, EXAM, STAFF, StaffWorld, in_days, refused, until


async def status_of(world, change):
    return (await world.changer.look(change.change_id)).status


async def test_a_change_is_in_hubspot_and_in_the_mirror_when_it_is_answered(world):
    await world.exam(10)
    change = await world.update(capacity=30, location="Online")
    assert change.status == "done"
    assert (change.exam.capacity, change.exam.location) == (30, "Online")
    assert world.hubspot.exams[EXAM]["capacity"] == "30"
    assert await world.seats() == (30, 0, 30, True)


async def test_a_lower_capacity_binds_before_hubspot_has_heard_of_it(waiting_world):
    world = waiting_world
    await world.exam(10)
    with world.hubspot.hold("exam_update"):
        change = await world.update(capacity=2)
        assert change.status == "pending"
        assert change.exam.capacity == 10
        assert await world.seats() == (2, 0, 2, True)
        assert (await world.book_all([1, 2, 3])).count("SESSION_FULL") == 1
    await world.settled()
    assert await world.seats() == (2, 2, 0, True)
    assert await status_of(world, change) == "done"


async def test_a_higher_capacity_binds_only_when_hubspot_has_acknowledged_it(waiting_world):
    world = waiting_world
    await world.exam(1)
    with world.hubspot.hold("exam_update"):
        assert (await world.update(capacity=5)).status == "pending"
        assert await world.seats() == (1, 0, 1, True)
        assert sorted(await world.book_all([1, 2])) == ["SESSION_FULL", "open"]
    await world.settled()
    assert await world.seats() == (5, 1, 4, True)


async def test_a_refusal_by_hubspot_lifts_the_tightening_and_is_told_in_its_words(world):
    await world.exam(10)
    before = await world.gate()
    world.hubspot.refuse("exam_update", "capacity is not valid")
    with world.hubspot.hold("exam_update"):
        change = world.later(world.update(capacity=2))

        async def bound():
            return (await world.gate()).capacity == 2

        await until(bound)
    refusal = await refused(change)
    assert refusal.code == "REFUSED_BY_HUBSPOT"
    assert "capacity is not valid" in refusal.message
    assert await world.seats() == (10, 0, 10, True)
    assert (await world.gate()).version > before.version + 1


async def test_closing_binds_at_once_and_opening_when_hubspot_has_acknowledged_it(waiting_world):
    world = waiting_world
    await world.exam(10)
    with world.hubspot.hold("exam_update"):
        await world.update(is_active="inactive")
        assert await world.book_all([1]) == ["EXAM_CLOSED"]
        assert await world.ledger.exams() == []
    await world.settled()
    assert (await world.ledger.exam(EXAM)).is_active == "inactive"
    with world.hubspot.hold("exam_update"):
        await world.update(is_active="active")
        assert await world.book_all([1]) == ["EXAM_CLOSED"]
    await world.settled()
    assert await world.book_all([1]) in (["open"], ["booked"])


async def test_a_closing_that_hubspot_refuses_opens_again(world):
    await world.exam(10)
    world.hubspot.refuse("exam_update")
    assert (await refused(world.update(is_active="inactive"))).code == "REFUSED_BY_HUBSPOT"
    assert (await world.gate()).open
    assert len(await world.ledger.exams()) == 1


async def test_a_later_opening_binds_at_once(waiting_world):
    world = waiting_world
    await world.exam(10)
    with world.hubspot.hold("exam_update"):
        await world.update(opens_at=datetime.now(UTC) + timedelta(days=1), location="Online")
        assert not (await world.gate()).open
    await world.settled()
    assert await world.book_all([1]) == ["EXAM_CLOSED"]
    await world.update(opens_at=None)
    await world.settled()
    assert (await world.gate()).open


async def test_an_announced_exam_stays_listed_while_a_change_of_it_is_under_way(waiting_world):
    world = waiting_world
    await world.exam(10)
    await world.update(opens_at=datetime.now(UTC) + timedelta(days=1))
    await world.settled()
    with world.hubspot.hold("exam_update"):
        await world.update(start_time="09:30")
        await listed_as(world, "not_open_yet")
        await world.update(is_active="inactive")
        await listed_as(world, "inactive", listed=False)


async def test_an_open_exam_that_is_to_open_later_is_announced_at_once(waiting_world):
    world = waiting_world
    await world.exam(10)
    with world.hubspot.hold("exam_update"):
        await world.update(is_active="scheduled", opens_at=datetime.now(UTC) + timedelta(days=1))
        await listed_as(world, "not_open_yet")
        await world.execute("""update hubspot_sync.outbox set fields = fields || '{"opens_at": "2020-01-01"}'""")
        (answer,) = await world.ledger.claim([wish("1")])
        assert answer.outcome == "won", "its hour has come, and the change under way keeps it shut no longer"


async def listed_as(world, reason, *, listed=True):
    """What a student reads and hears of the exam while it is closed for this reason."""
    assert [exam.hubspot_id for exam in await world.ledger.exams()] == [EXAM] * listed
    (answer,) = await world.ledger.claim([wish("1")])
    assert (answer.outcome, answer.detail) == ("closed", reason)


async def test_when_booking_opens_is_kept_here_and_costs_hubspot_no_property(world):
    await world.exam(10)
    opens_at = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    change = await world.update(opens_at=opens_at)
    assert change.exam.opens_at == opens_at
    assert [properties for _, _, properties in world.hubspot.sent] == [{}]


async def test_several_changes_are_sent_one_at_a_time_and_in_order(waiting_world):
    world = waiting_world
    await world.exam(10)
    with world.hubspot.hold("exam_update"):
        for capacity in (8, 12, 6, 9):
            await world.update(capacity=capacity)
        assert (await world.gate()).capacity == 6
    await world.settled()
    assert [properties["capacity"] for _, _, properties in world.hubspot.sent] == ["8", "12", "6", "9"]
    assert all(count == 1 for kind, count in world.hubspot.calls if kind == "exam_update")
    assert await world.seats() == (9, 0, 9, True)


async def test_changes_of_different_exams_share_a_call(schema_database_url):
    world = StaffWorld(schema_database_url, deadline_s=0.01)
    for number in range(5):
        await world.exam(10, str(600 + number))
    await asyncio.gather(*(world.update(str(600 + number), capacity=7) for number in range(5)))
    world.start_relay()
    await world.settled()
    assert world.hubspot.calls == [("exam_update", 5)]
    await world.close()


async def test_a_refused_change_does_not_stop_the_next_one(waiting_world):
    world = waiting_world
    await world.exam(10)

    def answer(kind, row):
        if row.properties.get("capacity") == "4":
            return RowResult(key=row.key, outcome="refused", reason="no")
        return world.hubspot.write(kind, row)

    world.hubspot.answer = answer
    with world.hubspot.hold("exam_update"):
        first = await world.update(capacity=4)
        second = await world.update(capacity=6)
        assert (await world.gate()).capacity == 4
    await world.settled()
    assert [await status_of(world, first), await status_of(world, second)] == ["refused", "done"]
    assert (await world.gate()).capacity == 6


async def test_a_capacity_below_the_seats_taken_is_refused_with_both_numbers(world):
    await world.exam(10)
    await world.book_all(range(4))
    refusal = await refused(world.update(capacity=3))
    assert refusal.code == "CAPACITY_BELOW_SOLD"
    assert refusal.details == {"capacity": 3, "seats_taken": 4}
    assert (await world.update(capacity=4)).status == "done"
    assert await world.seats() == (4, 4, 0, True)


async def test_capacity_and_bookings_never_pass_each_other(world):
    """Whichever comes first under the lock, the seats taken fit the seats that there are."""
    await world.exam(40)
    results = await asyncio.gather(
        world.book_all(range(30)), *(world.update(capacity=n) for n in (10, 20, 15)), return_exceptions=True
    )
    assert all(not isinstance(r, Exception) or r.code == "CAPACITY_BELOW_SOLD" for r in results)
    await world.settled()
    capacity, taken, _, _ = await world.seats()
    assert taken <= capacity


async def test_an_exam_is_made_with_a_key_of_its_own_and_can_be_booked(world):
    change = await world.create(capacity=3)
    exam_id = change.exam.hubspot_id
    assert change.exam.exam_key.startswith("LX-")
    assert world.hubspot.exams[exam_id]["lastseat_exam_id"] == change.exam.exam_key
    assert world.hubspot.exams[exam_id]["exam_date"] == DAY.isoformat()
    assert [exam.hubspot_id for exam in await world.ledger.exams()] == [exam_id]
    assert change.exam.starts_at is not None
    assert await world.seats(exam_id) == (3, 0, 3, True)
    assert (await world.book(1, exam_id)).state == "booked"


async def test_a_repeated_key_makes_one_exam(world):
    changes = await asyncio.gather(*(world.create(key="k") for _ in range(4)))
    assert len({change.exam.hubspot_id for change in changes}) == 1
    assert (await world.create(key="k")).exam.hubspot_id == changes[0].exam.hubspot_id
    assert len(world.hubspot.exams) == 1
    assert (await refused(world.create(key="k", capacity=21))).code == "KEY_REUSED"
    assert (await refused(world.update(changes[0].exam.hubspot_id, key="k", capacity=20))).code == "KEY_REUSED"


async def test_a_repeated_key_of_a_change_finds_its_result(world):
    await world.exam(10)
    await world.update(key="k", capacity=5)
    await world.update(capacity=8)
    assert (await world.update(key="k", capacity=5)).status == "done"
    assert (await world.gate()).capacity == 8


async def test_a_refused_exam_is_told_again_under_its_key(world):
    world.hubspot.refuse("exam_create")
    for _ in range(2):
        assert (await refused(world.create(key="k"))).code == "REFUSED_BY_HUBSPOT"
    assert world.hubspot.sent == []
    assert await world.ledger.exams() == []


async def test_a_change_whose_answer_was_lost_is_resent_and_made_once(world):
    await world.exam(10)
    wish = world.wish("exam_update", capacity=5)
    outcomes = [(await world.ledger.change_exam(wish))[0].outcome for _ in range(3)]
    assert outcomes == ["accepted", "known", "known"]
    await world.settled()
    assert len(world.hubspot.sent) == 1


async def test_an_unknown_exam_is_404(world):
    await world.exam(10)
    for kind, fields in (("exam_update", {"capacity": 5}), ("exam_archive", {}), ("exam_restore", {})):
        refusal = await refused(world.change(kind, "999", **fields))
        assert (refusal.code, refusal.field) == ("EXAM_NOT_FOUND", "examId")


async def test_the_end_is_after_the_start_also_when_only_one_of_them_changes(world):
    await world.exam(10)
    refusal = await refused(world.update(start_time="11:00"))
    assert (refusal.code, refusal.field) == ("INVALID", "end_time")
    assert refusal.details == {"start_time": "11:00", "end_time": "11:00"}
    assert (await refused(world.create(end_time="08:00"))).field == "end_time"
    assert (await world.update(start_time="11:00", end_time="12:30")).status == "done"


async def test_an_exam_ahead_cannot_be_moved_into_the_past(world):
    await world.exam(10)
    refusal = await refused(world.update(exam_date=in_days(-3)))
    assert (refusal.code, refusal.field) == ("INVALID", "exam_date")
    assert refusal.details == {"exam_date": in_days(-3).isoformat(), "start_time": "09:00"}
    assert await world.seats() == (10, 0, 10, True)
    assert world.hubspot.sent == []
    await world.exam(10, exam_date=in_days(-2).isoformat())
    assert (await world.update(exam_date=in_days(-3))).status == "done", "a past exam's record may be put right"
    assert (await world.update(exam_date=DAY)).status == "done"


async def test_booking_cannot_open_after_the_start(world):
    await world.exam(10)
    late = datetime.now(UTC) + timedelta(days=30)
    assert (await refused(world.update(opens_at=late))).field == "opens_at"
    assert (await refused(world.create(opens_at=late))).field == "opens_at"
    await world.update(opens_at=datetime.now(UTC) + timedelta(days=10))
    assert (await refused(world.update(exam_date=in_days(9)))).field == "opens_at"


async def test_the_start_follows_date_and_time_in_the_schools_zone(world):
    await world.exam(10)
    day = in_days(40)
    first = await world.update(exam_date=day)
    assert first.exam.starts_at.astimezone(UTC).date() == day
    second = await world.update(start_time="10:30")
    assert second.exam.starts_at - first.exam.starts_at == timedelta(hours=1, minutes=30)


async def test_a_refused_date_does_not_move_the_start_of_a_later_change(waiting_world):
    world = waiting_world
    await world.exam(10)
    before = (await world.ledger.exam(EXAM)).starts_at

    def answer(kind, row):
        if "exam_date" in row.properties:
            return RowResult(key=row.key, outcome="refused", reason="no")
        return world.hubspot.write(kind, row)

    world.hubspot.answer = answer
    with world.hubspot.hold("exam_update"):
        await world.update(exam_date=in_days(40))
        await world.update(start_time="09:30")
    await world.settled()
    assert (await world.ledger.exam(EXAM)).starts_at - before == timedelta(minutes=30)


async def test_a_session_without_a_start_that_is_moved_to_a_past_day_in_hubspot_closes(world):
    await world.exam(10, start_time="", end_time="")
    assert (await world.book(1)).state == "booked"
    assert (await refused(world.update(exam_date=in_days(-2)))).field == "exam_date"
    await world.exam(10, start_time="", end_time="", exam_date=in_days(-2).isoformat())
    assert (await refused(world.book(2))).details == {"reason": "past"}


async def test_everybody_booked_hears_that_the_session_changed(world):
    await world.exam(10)
    await world.book_all([1, 2])
    await world.settled()
    world.bulletin.news.clear()
    await world.update(start_time="09:30")
    told = [news for news in world.bulletin.news if news.exams_changed]
    assert {contact for news in told for contact in news.contacts} == {"1", "2"}
    assert (await world.ledger.bookings("1"))[0].start_time == "09:30"


async def test_the_audit_names_the_member_of_staff_and_the_old_and_new_values(world):
    await world.exam(10)
    wish = world.wish("exam_update", capacity=20)
    await world.changer.change(wish)
    rows = await world.fetch(
        "select operation, performed_by, old_values ->> 'capacity', new_values ->> 'capacity' "
        "from hubspot_sync.audit_log where request_id = $1 order by performed_at",
        wish.request_id,
    )
    assert sorted(tuple(row) for row in rows) == [("EXAM_UPDATE", STAFF, "10", "20"), ("UPDATE", STAFF, "10", "20")]


async def test_a_change_survives_a_relay_that_dies_after_hubspot_wrote_it(schema_database_url):
    world = StaffWorld(schema_database_url, lease_s=0.6, hubspot_timeout_s=0.1, lease_margin_s=0.05)
    await world.exam(10)
    lease = await world.ledger.take_lease("dead", 0.3)
    change = world.later(world.update(capacity=5))

    async def bound():
        return (await world.gate()).capacity == 5

    await until(bound)
    [row] = await world.ledger.send(lease.term, "exam_update", 100)
    world.hubspot.write("exam_update", row)
    world.start_relay()
    assert (await change).status == "done"
    assert await world.seats() == (5, 0, 5, True)
    await world.close()


@pytest.mark.parametrize("late", ["5", "8"])
async def test_a_late_commit_of_an_older_change_is_found_and_put_right(schema_database_url, late):
    world = StaffWorld(schema_database_url, verify_after_s=0.3)
    await world.exam(10)
    lost = []

    def lose_the_first(kind, row):
        if kind == "exam_update" and not lost:
            lost.append(row)
            return RowResult(key=row.key, outcome="unknown", reason="time-out")
        return world.hubspot.write(kind, row)

    world.hubspot.answer = lose_the_first
    world.start_relay()
    await world.update(capacity=5)
    await world.update(capacity=8)
    world.hubspot.exams[EXAM]["capacity"] = late  # "5": the stuck call lands now, over the later one

    async def verified():
        rows = await world.fetch("select 1 from hubspot_sync.outbox where verify_at is not null")
        return not rows

    await until(verified)
    await world.settled()
    assert world.hubspot.exams[EXAM]["capacity"] == "8"
    assert await world.seats() == (8, 0, 8, True)
    await world.close()
