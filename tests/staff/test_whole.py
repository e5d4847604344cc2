"""One process with everything real behind it: what staff does is seen at once, also in the shared Redis."""

from datetime import date

import pytest
import redis.asyncio

from lastseat.settings import Settings
from lastseat.web.app import create_app
from lastseat.web.roles import PERMISSIONS
from lastseat.wire import build
from tests.hubspot_client.doubles import EXAMS, running_portal
from tests.staff.world import in_days, until
from tests.web.caller import ORIGIN, Caller, running
from tests.web.fakes import SECRET, staff, student

ADMIN = "/api/admin/mock-exams"
EVERYTHING = staff(*PERMISSIONS)


def new(day: date, **more: object) -> dict[str, object]:
    exam = {"mock_type": "Mini-mock", "exam_date": day.isoformat(), "start_time": "09:00", "end_time": "11:00"}
    return {**exam, "location": "Calgary", "capacity": 2, **more}


@pytest.fixture
async def site(schema_database_url, redis_url):
    async with running_portal() as portal:
        settings = Settings(
            supabase_db_url=schema_database_url,
            redis_url=redis_url,
            supabase_jwt_secret=SECRET,
            hubspot_base_url=portal.url,
            hubspot_access_token="pat-demo",
            deadline_s=5,
            lease_offer_s=0.05,
        )
        app = create_app(build(settings))
        async with running(app), redis.asyncio.Redis.from_url(redis_url, decode_responses=True) as shared:
            yield Caller(app), shared, portal


async def listed(caller):
    return {exam["id"]: exam for exam in (await caller.get("/api/mock-exams/available")).json["exams"]}


async def shows(shared, exam_id, left):
    """Other apps hear in the trip that follows the answer."""

    async def told():
        return await shared.get(f"capacity:{exam_id}") == left

    await until(told)


async def test_students_see_at_once_what_staff_did(site):
    caller, shared, portal = site
    assert await listed(caller) == {}
    made = await caller.post(f"{ADMIN}/create", new(in_days(20)), token=EVERYTHING)
    assert made.status == 201, made.body
    exam_id = made.json["exam"]["hubspot_id"]
    assert (await listed(caller))[exam_id]["remaining"] == 2
    await shows(shared, exam_id, "2")

    booked = await caller.post("/api/bookings/create", {"examId": exam_id}, token=student("501"))
    assert booked.status == 201
    raised = await caller.ask("PUT", f"{ADMIN}/update", body={"examId": exam_id, "capacity": 5}, token=EVERYTHING)
    assert raised.json["exam"]["capacity"] == 5
    await shows(shared, exam_id, "4")  # what is left, never the capacity
    assert (await listed(caller))[exam_id]["remaining"] == 4

    await caller.ask("PUT", f"{ADMIN}/update", body={"examId": exam_id, "location": "Online"}, token=EVERYTHING)
    assert (await listed(caller))[exam_id]["location"] == "Online"
    mine = await caller.get("/api/bookings/list", token=student("501"))
    assert mine.json["bookings"][0]["location"] == "Online"

    await caller.post(f"{ADMIN}/activate", {"examId": exam_id, "active": False}, token=EVERYTHING)
    assert await listed(caller) == {}
    await caller.post(f"{ADMIN}/activate", {"examId": exam_id}, token=EVERYTHING)
    assert exam_id in await listed(caller)
    deleted = await caller.ask("DELETE", f"{ADMIN}/delete?examId={exam_id}&cancelBookings=true", token=EVERYTHING)
    assert deleted.status == 200, deleted.body
    assert await listed(caller) == {}
    mine = await caller.get("/api/bookings/list", token=student("501"))
    assert mine.json["bookings"][0]["is_active"] == "Cancelled"
    assert portal.emulator.store.portal.types[EXAMS].records[exam_id].archived_at is not None


async def test_staff_sees_who_has_a_seat_and_how_the_sync_stands_and_syncs_by_the_cookie(site):
    caller, _, _ = site
    made = await caller.post(f"{ADMIN}/create", new(in_days(20)), token=EVERYTHING)
    exam_id = made.json["exam"]["hubspot_id"]
    booked = await caller.post("/api/bookings/create", {"examId": exam_id}, token=student("501"))
    listed = await caller.get(f"{ADMIN}/{exam_id}/bookings", token=EVERYTHING)
    assert (listed.status, listed.json["pagination"]["total"]) == (200, 1)
    assert listed.json["bookings"][0]["booking_id"] == booked.json["booking"]["booking_id"]
    caller.cookies["lastseat_session"] = EVERYTHING
    body = {"type": "bookings", "examId": exam_id}
    synced = await caller.post("/api/admin/sync/run", body, headers={"origin": ORIGIN})
    assert (synced.status, synced.json["success"]) == (200, True), synced.body
    status = await caller.get("/api/admin/sync/status")
    live = {line["kind"]: line["live"] for line in status.json["records"]}
    assert (status.status, live["exams"], live["bookings"]) == (200, 1, 1)
    assert (status.json["relay"]["held"], status.json["parts"]["supabase"]["ok"]) == (True, True)


async def test_a_move_is_seen_by_its_student_and_in_both_sessions(site):
    caller, shared, _ = site
    first, second = [
        (await caller.post(f"{ADMIN}/create", new(in_days(days)), token=EVERYTHING)).json["exam"]["hubspot_id"]
        for days in (20, 21)
    ]
    booked = await caller.post("/api/bookings/create", {"examId": first}, token=student("501"))
    body = {"bookingId": booked.json["booking"]["booking_id"], "examId": second}
    moved = await caller.post("/api/admin/bookings/move", body, token=EVERYTHING)
    assert (moved.status, moved.json["previous"]["status"]) == (201, "cancelled"), moved.body
    mine = await caller.get("/api/bookings/list", token=student("501"))
    shown = {booking["mock_exam_id"]: booking["is_active"] for booking in mine.json["bookings"]}
    assert shown == {first: "Cancelled", second: "Active"}
    await shows(shared, first, "2")
    await shows(shared, second, "1")
