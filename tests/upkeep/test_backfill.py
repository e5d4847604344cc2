"""The backfill: everything once, resumable, safe beside students, and honest about what it could not take."""

import pytest

from tests.upkeep.world import EXAM

pytestmark = pytest.mark.embedded


async def test_every_record_arrives_with_its_fields(world):
    [exam] = world.sow("exams", EXAM)
    [contact] = world.sow("contacts", {"student_id": "TRAINEE1", "email": "Zoe@Students.Example", "firstname": "Zoë"})
    [booking] = world.sow(
        "bookings", {"booking_id": "x", "mock_exam_id": exam, "contact_id": contact, "is_active": "Active"}
    )
    report = await world.backfill().run()
    assert report.read["bookings"] == {"live": 1, "archived": 0}
    assert (await world.rows("exams"))[exam]["seats_taken"] == 1
    assert (await world.rows("contacts"))[contact]["email"] == "zoe@students.example"
    assert (await world.rows("bookings"))[booking]["contact_id"] == contact
