"""Staff's changes against the emulator, over the real client and through lost answers, refusals and late commits."""

import asyncio

import pytest

from lastseat.model import Record
from lastseat.stores.hubspot import HubSpotClient
from lastseat.writes.exam_delivery import FullDelivery
from tests.hubspot_client.doubles import EXAMS, FakeBudget, running_portal, settings_for
from tests.staff.world import DAY, StaffWorld, refused, until


class PortalWorld(StaffWorld):
    """The world with a running emulator in place of the dictionaries."""

    def __init__(self, url, portal, **settings):
        super().__init__(url, **settings)
        self.portal = portal
        self.client = HubSpotClient(settings_for(portal.url))
        self.hubspot = FullDelivery(self.client, FakeBudget(), self.settings)

    async def close(self):
        await super().close()
        await self.client.close()

    async def known_exam(self, capacity=10):
        properties = {
            "mock_exam_name": "Mock",
            "exam_date": DAY.isoformat(),
            "start_time": "09:00",
            "end_time": "11:00",
            "capacity": str(capacity),
            "is_active": "active",
        }
        exam_id = await self.portal.make(EXAMS, **properties)
        await self.ledger.mirror(exams=[Record(hubspot_id=exam_id, properties=properties)])
        return exam_id

    def live(self):
        """HubSpot's exams that are not archived, by id."""
        records = self.portal.emulator.store.portal.types[EXAMS].records
        return {key: record.properties for key, record in records.items() if record.archived_at is None}


@pytest.fixture
async def world(schema_database_url):
    async with running_portal() as portal:
        world = PortalWorld(schema_database_url, portal)
        world.start_relay()
        yield world
        await world.close()


async def test_an_exam_lives_from_create_to_restore(world):
    exam_id = (await world.create(capacity=5)).exam.hubspot_id
    assert world.live()[exam_id]["capacity"] == "5"
    changed = await world.update(exam_id, capacity=7, location="Online", mock_exam_name="Zoë’s mock")
    assert (changed.exam.capacity, changed.exam.mock_exam_name) == (7, "Zoë’s mock")
    assert world.live()[exam_id]["location"] == "Online"
    await world.update(exam_id, mock_exam_name=None)
    assert not world.live()[exam_id].get("mock_exam_name")
    assert (await world.ledger.exam(exam_id)).mock_exam_name is None
    await world.change("exam_archive", exam_id)
    assert world.live() == {}
    restored = await world.change("exam_restore", exam_id)
    assert list(world.live()) == [restored.exam.hubspot_id]
    assert restored.exam.capacity == 7


@pytest.mark.parametrize("holds", [False, True])
async def test_a_restore_works_whether_or_not_the_archived_record_keeps_its_key(world, holds):
    world.portal.switch(archived_holds_unique=holds)
    exam_id = (await world.create()).exam.hubspot_id
    await world.change("exam_archive", exam_id)
    assert (await world.change("exam_restore", exam_id)).status == "done"
    assert len(world.live()) == 1


@pytest.mark.parametrize("fault", ["drop", "drop-before", "502", "502-before", "empty", "empty-before", "429"])
async def test_a_lost_answer_never_makes_a_second_exam(world, fault):
    world.portal.faults(f"{fault}@batch_upsert=1x")
    change = await world.create(capacity=5)
    assert list(world.live()) == [change.exam.hubspot_id]
    assert await world.seats(change.exam.hubspot_id) == (5, 0, 5, True)


@pytest.mark.parametrize("fault", ["drop", "502-before", "423"])
async def test_a_lost_answer_does_not_lose_a_change(world, fault):
    exam_id = await world.known_exam()
    world.portal.faults(f"{fault}@batch_update=1x")
    assert (await world.update(exam_id, capacity=3)).exam.capacity == 3
    world.portal.faults(f"{fault}@batch_archive=1x")
    assert (await world.change("exam_archive", exam_id)).exam.archived_at is not None
    assert world.live() == {}


async def test_an_archive_that_was_only_said_to_be_done_is_found_and_done_again(schema_database_url):
    async with running_portal("empty-before@batch_archive=1x") as portal:
        world = PortalWorld(schema_database_url, portal, verify_after_s=0.1)
        world.start_relay()
        exam_id = await world.known_exam()
        await world.change("exam_archive", exam_id)

        async def gone():
            return not world.live()

        await until(gone)
        assert await world.ledger.exam(exam_id) is None
        await world.close()


async def test_a_portal_without_the_key_property_refuses_exams_and_goes_on_booking(world):
    exam_id = await world.known_exam()
    world.portal.faults("property-gone:lastseat_exam_id")
    refusal = await refused(world.create())
    assert refusal.code == "REFUSED_BY_HUBSPOT"
    assert "lastseat_exam_id" in refusal.message
    assert (await world.book(1, exam_id)).state == "booked"


async def test_a_portal_that_takes_no_writes_refuses_the_change_and_lifts_the_tightening(world):
    exam_id = await world.known_exam()
    world.portal.faults("scope-lost")
    assert (await refused(world.update(exam_id, capacity=3))).code == "REFUSED_BY_HUBSPOT"
    assert await world.seats(exam_id) == (10, 0, 10, True)


async def test_one_bad_change_leaves_its_neighbours_alone(schema_database_url):
    async with running_portal() as portal:
        world = PortalWorld(schema_database_url, portal, deadline_s=0.02)
        ids = [await world.known_exam() for _ in range(4)]
        await portal.archive(EXAMS, ids[2])
        changes = await asyncio.gather(*(world.update(exam_id, capacity=3) for exam_id in ids))
        world.start_relay()
        await world.settled()
        states = [(await world.changer.look(change.change_id)).status for change in changes]
        assert states == ["done", "done", "refused", "done"]
        assert [(await world.gate(exam_id)).capacity for exam_id in ids] == [3, 3, 10, 3]
        await world.close()


async def test_a_change_that_lands_late_is_put_right(schema_database_url):
    async with running_portal() as portal:
        world = PortalWorld(schema_database_url, portal, verify_after_s=0.6)
        world.start_relay()
        exam_id = await world.known_exam()
        portal.faults("late@batch_update=1x:0.3")
        await world.update(exam_id, capacity=3)
        await world.update(exam_id, capacity=8)

        async def landed():
            return world.live()[exam_id]["capacity"] == "3"

        async def right():
            return world.live()[exam_id]["capacity"] == "8" and (await world.gate(exam_id)).capacity == 8

        await until(landed)
        await until(right)
        await world.close()
