"""A rush while staff raises, lowers, closes and opens the exam: I1-I9 hold, every answer is documented."""

import shutil
from pathlib import Path

import pytest

from lastseat.evidence import Evidence
from lastseat.invariants import CHECKS, check_all
from lastseat.rehearsal import controls
from lastseat.rehearsal.stack import LocalStack
from lastseat.stores.dump import dump_ledger
from tests.embedded_stack import make_open_folder
from tests.staff.crowd import STUDENTS, broken, judged

pytestmark = pytest.mark.embedded


@pytest.fixture
def folder():
    folder = make_open_folder()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


async def test_a_rush_of_500_while_staff_raises_lowers_closes_and_opens_the_exam(folder: Path):
    crowd, verdicts = await judged(folder)
    assert broken(verdicts) == {}
    assert [verdict.invariant for verdict in verdicts if verdict.looked_at] == list(CHECKS), "each had what it judges"
    assert crowd.undocumented() == set()
    codes = {answer.code for answer in crowd.answers}
    assert codes == {None, "SESSION_FULL", "EXAM_CLOSED"}, "the rush has met an open, a full and a closed exam"
    assert ("PUT", "/api/admin/mock-exams/update", 409, "CAPACITY_BELOW_SOLD") in crowd.said
    assert len({answer.contact_id for answer in crowd.answers}) == STUDENTS
    assert sum(answer.status in (201, 202) for answer in crowd.answers) == 450
    seats = crowd.seats_at_last
    assert (seats["capacity"], seats["total_bookings"], seats["remaining"]) == (450, 450, 0)


async def test_tightening_only_after_hubspots_answer_would_oversell(folder: Path):
    """The negative control: the same rush, but a change binds when HubSpot has acknowledged it."""

    async def bind_late(stack: LocalStack) -> None:
        await controls.take_away(controls.TIGHTENING, stack.embedded.postgres_url)

    _, verdicts = await judged(folder, bind_late)
    found = broken(verdicts)
    assert list(found) == ["I1"]
    assert "given when none was left" in found["I1"][0]


async def test_a_capacity_lowered_in_hubspot_itself_is_not_our_fault(world, schema_database_url):
    await world.exam(50)
    await world.book_all(range(20))
    await world.exam(12)  # somebody edits the record there, and it is mirrored
    await world.settled()
    assert broken(check_all(Evidence(tables=await dump_ledger(schema_database_url)))) == {}
    assert await world.book_all([999]) == ["SESSION_FULL"]
