"""The requirements' own requests with nothing but a token added: what docs/migrating.md says of each."""

import re
from pathlib import Path

from tests.beside.school import STAFF, student

PAGE = Path(__file__).parents[2] / "docs/migrating.md"
PRD_COLUMNS = [
    "hubspot_id",
    "mock_exam_name",
    "mock_type",
    "exam_date",
    "start_time",
    "end_time",
    "location",
    "capacity",
    "total_bookings",
    "is_active",
    "created_at",
    "updated_at",
    "synced_at",
]


async def test_without_a_token_only_the_public_lists_answer(school):
    exam_id = await school.exam()
    caller = school.caller()
    assert (await caller.get("/api/mock-exams/available")).status == 200
    for answer in (
        await caller.get("/api/bookings/list?contactId=501"),
        await caller.post("/api/bookings/create", {"examId": exam_id, "contactId": "501"}),
        await caller.post("/api/bookings/batch-cancel", {"bookingId": "1", "examId": exam_id, "contactId": "501"}),
        await caller.post("/api/admin/mock-exams/create", {}),
        await caller.get("/api/admin/sync/force-supabase?type=exams"),
    ):
        assert (answer.status, answer.code) == (401, "UNAUTHENTICATED")


async def test_the_list_of_exams_has_every_column_and_more(school):
    exam_id = await school.exam()
    (shown,) = (await school.caller().get("/api/mock-exams/available")).json["exams"]
    assert set(PRD_COLUMNS) <= set(shown)
    assert shown["id"] == shown["hubspot_id"] == exam_id
    assert {"remaining", "status", "bookable", "opens_at", "starts_at"} <= set(shown)


async def test_the_old_bodies_book_list_and_cancel(school):
    exam_id, token = await school.exam(), student("501")
    body = {
        "examId": exam_id,
        "contactId": "501",
        "dominantHand": "Left",
        "attendingLocation": "Calgary",
        "studentName": "Zoë Ng",
        "email": "zoe@students.example",
        "exam_date": "2031-01-01",
        "mock_type": "another",
        "booking_status": "confirmed",
        "is_active": "Active",
    }
    made = await school.caller().post("/api/bookings/create", body, token=token)
    assert made.status == 201, made.body
    booking = made.json["booking"]
    assert (booking["student_name"], booking["attending_location"]) == ("Zoë Ng", "Calgary")
    assert booking["dominant_hand"].lower() == "left"
    assert booking["exam_date"] != "2031-01-01"
    listed = (await school.caller().get("/api/bookings/list?contactId=501", token=token)).json
    assert [b["hubspot_id"] for b in listed["bookings"]] == [booking["hubspot_id"]]
    assert set(listed["pagination"]) == {"page", "limit", "total", "pages"}
    old = {"bookingId": booking["hubspot_id"], "examId": exam_id, "contactId": "501"}
    for status in ("cancelled", "already_cancelled"):
        answer = (await school.caller().post("/api/bookings/batch-cancel", old, token=token)).json
        assert [result["status"] for result in answer["results"]] == [status]
    assert await school.remaining(exam_id) == 10


async def test_the_old_error_keeps_its_text_and_gets_a_code(school):
    exam_id = await school.exam(1)
    await school.book("501", exam_id)
    full = await school.book("502", exam_id)
    assert (full.status, full.json["error"], full.json["code"]) == (409, "Session is full", "SESSION_FULL")


async def test_a_field_that_nobody_knows_is_named(school):
    body = {"examId": await school.exam(), "favourite_colour": "red"}
    answer = await school.caller().post("/api/bookings/create", body, token=student("501"))
    assert (answer.status, answer.json["field"]) == (422, "favourite_colour")


async def test_staff_sends_what_it_sent(school):
    body = {
        "mock_exam_name": "Mini-mock",
        "mock_type": "Mini-mock",
        "exam_date": "2031-03-05",
        "start_time": "09:00",
        "end_time": "11:00",
        "location": "Calgary",
        "capacity": "12",
        "is_active": "true",
    }
    made = await school.caller().post("/api/admin/mock-exams/create", body, token=STAFF)
    assert made.status == 201, made.body
    assert (made.json["exam"]["capacity"], made.json["exam"]["is_active"]) == (12, "active")
    exam_id = made.json["exam"]["hubspot_id"]
    await school.book("501", exam_id)
    gone = await school.staff("DELETE", "/api/admin/mock-exams/delete", {"examId": exam_id})
    assert (gone.status, gone.code) == (409, "HAS_BOOKINGS")


def test_every_address_on_the_page_is_one_of_ours():
    from lastseat.web import openapi

    known = {re.sub(r"{\w+}", "{}", path) for path in openapi.document(demo=False)["paths"]}
    named = {re.sub(r"{\w+}", "{}", path) for path in re.findall(r"`(/api/[^`?…]+)[`?…]", PAGE.read_text("utf-8"))}
    assert {path for path in named if not path.endswith("/")} <= known
