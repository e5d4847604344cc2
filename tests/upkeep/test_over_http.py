"""One process with everything real behind it: what HubSpot has after a forced sync is what students see."""

from contextlib import asynccontextmanager

import pytest

from hubspot_emulator.seeding import Seed, SeedRecord
from lastseat.settings import Settings
from lastseat.web.app import create_app
from lastseat.wire import build
from tests.hubspot_client.doubles import BOOKINGS, CONTACTS, EXAMS, Portal, running_portal
from tests.upkeep.world import EXAM
from tests.web.caller import Caller, running
from tests.web.fakes import SECRET, staff, student

pytestmark = pytest.mark.embedded
SYNC = "/api/admin/sync/force-supabase"
EDITOR = staff("exams.edit")


class Site:
    """A portal with a process over it; `again` is what starts after that one has ended."""

    def __init__(self, portal: Portal, database_url: str, redis_url: str) -> None:
        self.portal = portal
        self.settings = Settings(
            supabase_db_url=database_url,
            redis_url=redis_url,
            supabase_jwt_secret=SECRET,
            hubspot_base_url=portal.url,
            hubspot_access_token="pat-demo",
            deadline_s=5,
            lease_offer_s=0.05,
            link_quiet_s=0.02,
        )

    @asynccontextmanager
    async def process(self):
        app = create_app(build(self.settings))
        async with running(app):
            yield Caller(app)

    def sow(self, kind: str, record_id: str | None = None, **properties: str) -> str:
        """As a person does in HubSpot's own pages."""
        wanted = Seed(objects={kind: [SeedRecord(id=record_id, properties=properties)]})
        return self.portal.emulator.sow(wanted)[kind][0]

    def calls(self, operation: str) -> int:
        return sum(call.operation == operation for call in self.portal.calls)


@pytest.fixture
async def site(schema_database_url, redis_url):
    async with running_portal() as portal:
        yield Site(portal, schema_database_url, redis_url)


async def exams_seen(caller: Caller) -> dict[str, dict]:
    return {exam["id"]: exam for exam in (await caller.get("/api/mock-exams/available")).json["exams"]}


async def test_what_a_forced_sync_brings_is_seen_at_once(site: Site):
    exam = site.sow(EXAMS, **EXAM)
    contact = site.sow(CONTACTS, email="a@b.example")
    async with site.process() as caller:
        assert await exams_seen(caller) == {}
        first = await caller.post(f"{SYNC}?type=exams", token=EDITOR)
        assert first.json["message"] == "Synced 1 exams"
        assert (await exams_seen(caller))[exam]["remaining"] == 10
        booked = await caller.post("/api/bookings/create", {"examId": exam}, token=student(contact))
        assert booked.status == 201
        booking = booked.json["booking"]["hubspot_id"]

        site.sow(EXAMS, exam, capacity="4")
        await caller.get(f"{SYNC}?type=exams", token=EDITOR)
        assert (await exams_seen(caller))[exam]["remaining"] == 3

        site.sow(BOOKINGS, booking, is_active="Cancelled", booking_status="cancelled")
        again = await caller.post(f"{SYNC}?type=bookings&examId={exam}", token=EDITOR)
        assert (again.status, again.json["message"]) == (200, "Synced 1 bookings")
        assert (await exams_seen(caller))[exam]["remaining"] == 4
        mine = await caller.get("/api/bookings/list", token=student(contact))
        assert mine.json["bookings"][0]["is_active"] == "Cancelled"
        assert site.calls("search") == 0

        unknown = await caller.post(f"{SYNC}?type=bookings&examId=404", token=EDITOR)
        assert (unknown.status, unknown.code) == (404, "EXAM_NOT_FOUND")


async def test_a_portal_that_went_wrong_is_503_and_says_nothing_of_the_token(site: Site):
    async with site.process() as caller:
        site.portal.faults("401@list")
        refused = await caller.post(f"{SYNC}?type=exams", token=EDITOR)
    assert (refused.status, refused.code) == (503, "SETUP")
    assert b"pat-demo" not in refused.body


async def test_the_next_process_asks_for_no_association_type(site: Site):
    async with site.process() as caller:
        exam = site.sow(EXAMS, **EXAM)
        await caller.post(f"{SYNC}?type=exams", token=EDITOR)
        await caller.post("/api/bookings/create", {"examId": exam}, token=student(site.sow(CONTACTS, email="a@b.c")))
    learnt = site.calls("labels")
    assert learnt == 2
    async with site.process() as caller:
        contact = site.sow(CONTACTS, email="d@e.f")
        booked = await caller.post("/api/bookings/create", {"examId": exam}, token=student(contact))
        assert booked.status == 201
    assert site.calls("labels") == learnt
