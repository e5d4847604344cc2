"""Every endpoint for every role: who may, who may not, and who must not even learn that something is there."""

import msgspec
import pytest

from lastseat.errors import Refused
from lastseat.model import ContactId, Identity
from lastseat.web import roles
from lastseat.web.app import create_app
from lastseat.web.openapi import STAFF, operations
from tests.web.caller import ORIGIN, Caller
from tests.web.fakes import BOOKING, EXAM, OTHER, OTHERS_BOOKING, STUDENT, World, staff, student

ROLES = {
    "nobody": None,
    "student": student(),
    "other student": student(OTHER),
    "clerk who looks": staff("bookings.view"),
    "clerk who books": staff("bookings.create"),
    "clerk who cancels": staff("bookings.cancel"),
    "exam editor": staff("exams.edit"),
    "stranger": staff("newsletter.read"),
}


class Case(msgspec.Struct, frozen=True):
    """One request and the status for each role; `rest` is for the roles that are not named."""

    method: str
    path: str
    statuses: dict[str, int]
    rest: int
    body: object = None
    operation: str = ""

    @property
    def name(self) -> tuple[str, str]:
        return self.method, self.operation or self.path.partition("?")[0]


own_body, foreign_body = {"examId": EXAM}, {"examId": EXAM, "contactId": "777"}
looks = {"clerk who looks": 200, "clerk who books": 200, "clerk who cancels": 200, "exam editor": 200}
CASES = [
    Case("GET", "/api/mock-exams/available", {}, 200),
    Case("GET", f"/api/mock-exams/{EXAM}/capacity", {}, 200, operation="/api/mock-exams/{exam_id}/capacity"),
    Case("GET", "/api/events", {}, 200),
    Case("GET", "/api/bookings/list", {"nobody": 401, "stranger": 403}, 200),
    Case(
        "GET",
        f"/api/bookings/list?contactId={STUDENT}",
        {"nobody": 401, "student": 200, "other student": 403, "stranger": 403, **looks},
        0,
    ),
    Case(
        "GET",
        f"/api/bookings/{BOOKING}",
        {"nobody": 401, "student": 200, "other student": 404, "stranger": 403, **looks},
        0,
        operation="/api/bookings/{booking_id}",
    ),
    # Staff must say for whom: 422, not a seat for nobody.
    Case(
        "POST",
        "/api/bookings/create",
        {"nobody": 401, "student": 201, "other student": 201, "clerk who books": 422},
        403,
        own_body,
    ),
    Case("POST", "/api/bookings/create", {"nobody": 401, "clerk who books": 201}, 403, foreign_body),
    Case(
        "POST",
        "/api/bookings/batch-cancel",
        {"nobody": 401, "student": 200, "other student": 200, "clerk who cancels": 200},
        403,
        {"bookingIds": [BOOKING]},
    ),
    Case(
        "POST",
        "/api/bookings/batch-cancel",
        {"nobody": 401, "clerk who cancels": 200},
        403,
        {"bookingIds": [BOOKING], "contactId": "777"},
    ),
    Case("GET", "/api/admin/set-aside", {"nobody": 401, "clerk who looks": 200, "clerk who books": 200}, 403),
    Case("POST", "/api/admin/set-aside/retry", {"nobody": 401, "clerk who books": 202}, 403, {"outboxId": 7}),
    Case("GET", "/api/admin/sync/force-supabase?type=exams", {"nobody": 401, "exam editor": 200}, 403),
    Case(
        "POST",
        f"/api/admin/sync/force-supabase?type=bookings&examId={EXAM}",
        {"nobody": 401, "exam editor": 200},
        403,
    ),
    Case("GET", "/api/admin/mock-exams?page=2&limit=5", {"nobody": 401, **looks}, 403),
    Case(
        "GET",
        f"/api/admin/mock-exams/{EXAM}",
        {"nobody": 401, **looks},
        403,
        operation="/api/admin/mock-exams/{exam_id}",
    ),
    Case(
        "GET",
        f"/api/admin/mock-exams/{EXAM}/bookings",
        {"nobody": 401, **looks},
        403,
        operation="/api/admin/mock-exams/{exam_id}/bookings",
    ),
    Case("GET", "/api/admin/sync/status", {"nobody": 401, **looks}, 403),
    Case("POST", "/api/admin/sync/run", {"nobody": 401, "exam editor": 200}, 403, {"type": "exams"}),
    Case("GET", "/api/session", {}, 200),
    Case("POST", "/api/session", {}, 200, {"token": student()}),
    Case("DELETE", "/api/session", {}, 200),
    Case("GET", "/api/health", {}, 200),
    Case("GET", "/api/ready", {}, 200),
    Case("GET", "/metrics", {}, 200),
    Case("GET", "/api/demo/students", {}, 200),
    Case("POST", "/api/demo/session", {}, 200, {"contact_id": STUDENT}),
    Case("POST", "/api/demo/session", {}, 200, {"staff": True}),
]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.method} {case.path} {sorted(case.body or ())}")
async def test_each_endpoint_answers_each_role_as_the_contract_says(demo: Caller, case: Case, role: str):
    reply = await demo.ask(case.method, case.path, body=case.body, token=ROLES[role], headers={"origin": ORIGIN})
    assert reply.status == case.statuses.get(role, case.rest), reply.body


def test_every_documented_endpoint_has_a_case_for_every_role():
    assert {case.name for case in CASES} == set(operations(demo=True)) - set(STAFF)  # those: tests/staff


async def test_without_a_token_the_answer_says_how_to_sign_in(caller: Caller):
    reply = await caller.get("/api/bookings/list")
    assert (reply.status, reply.code) == (401, "UNAUTHENTICATED")
    assert reply.headers["www-authenticate"].startswith("Bearer")


async def test_another_students_booking_looks_like_one_that_does_not_exist(caller: Caller):
    foreign = await caller.get(f"/api/bookings/{OTHERS_BOOKING}", token=student())
    missing = await caller.get("/api/bookings/LS-NOSUCHBOOKING000", token=student())
    assert foreign.status == missing.status == 404
    assert foreign.body == missing.body


async def test_cancelling_another_students_booking_looks_like_cancelling_nothing(caller: Caller, world: World):
    body = {"bookingIds": [OTHERS_BOOKING, "LS-NOSUCHBOOKING000"]}
    reply = await caller.post("/api/bookings/batch-cancel", body, token=student())
    foreign, missing = reply.json["results"]
    assert {**foreign, "bookingId": ""} == {**missing, "bookingId": ""}
    assert foreign["status"] == "not_found"
    assert all(request.owner == STUDENT for request in world.canceller.asked)


async def test_a_student_always_books_for_himself(caller: Caller, world: World):
    await caller.post("/api/bookings/create", own_body, token=student())
    await caller.post("/api/bookings/create", {**own_body, "contactId": int(STUDENT)}, token=student())
    assert [(wish.contact_id, wish.caller) for wish in world.booker.asked] == [(STUDENT, f"student:{STUDENT}")] * 2


@pytest.mark.parametrize(
    "body",
    [foreign_body, {"examId": EXAM, "contact_id": "777"}],
    ids=["as in the PRD", "as a column"],
)
async def test_a_foreign_contact_is_refused_and_nothing_is_booked(caller: Caller, world: World, body: dict):
    reply = await caller.post("/api/bookings/create", body, token=student())
    assert (reply.status, reply.code, reply.json["field"]) == (403, "FORBIDDEN", "contactId")
    assert world.booker.asked == []


async def test_without_the_rule_a_student_would_book_for_another(
    caller: Caller, world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(roles, "books_for", lambda identity, asked: asked or identity.contact_id)
    await caller.post("/api/bookings/create", foreign_body, token=student())
    assert world.booker.asked[0].contact_id == "777"


async def test_without_the_owner_a_student_would_read_anothers_booking(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(roles, "owner_when_reading", lambda identity: None)
    assert (await caller.get(f"/api/bookings/{OTHERS_BOOKING}", token=student())).status == 200


@pytest.mark.parametrize("path", [f"/api/admin/mock-exams/{EXAM}/bookings", "/api/admin/sync/status"])
async def test_without_the_rule_a_student_would_read_what_staff_reads(
    caller: Caller, path: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(roles, "need_staff", lambda identity: None)
    assert (await caller.get(path, token=student())).status == 200


async def test_staff_books_under_its_own_name_for_a_student(caller: Caller, world: World):
    await caller.post("/api/bookings/create", foreign_body, token=ROLES["clerk who books"])
    assert world.booker.asked[0].contact_id == "777"
    assert world.booker.asked[0].caller == "staff:clerk"


async def test_staff_lists_everybody_or_one_student(caller: Caller, world: World):
    await caller.get("/api/bookings/list", token=ROLES["clerk who looks"])
    await caller.get("/api/bookings/list?contactId=502", token=ROLES["clerk who looks"])
    assert [asked[0] for asked in world.bookings.asked] == ["everybody", "502"]


async def test_staff_with_the_permission_cancels_anybodys_booking(caller: Caller, world: World):
    body = {"bookingId": OTHERS_BOOKING}
    reply = await caller.post("/api/bookings/batch-cancel", body, token=ROLES["clerk who cancels"])
    assert reply.json["results"][0]["status"] == "cancelled"
    assert world.canceller.asked[0].owner is None


async def test_the_demos_endpoints_do_not_exist_outside_the_demo(caller: Caller):
    assert (await caller.get("/api/demo/students")).status == 404
    assert (await caller.get("/sign-in")).status == 404
    for body in ({"contact_id": STUDENT}, {"staff": True}):
        reply = await caller.post("/api/demo/session", body, headers={"origin": ORIGIN})
        assert (reply.status, caller.cookies) == (404, {})


def test_staff_who_is_also_a_student_needs_no_permission_for_the_own_seat():
    both = Identity(subject="x", contact_id=STUDENT, permissions=frozenset({"exams.edit"}))
    assert roles.books_for(both, None) == STUDENT
    assert roles.owner_when_cancelling(both, None) == STUDENT
    with pytest.raises(Refused, match=r"bookings\.create"):
        roles.books_for(both, ContactId("777"))


async def test_a_token_without_student_and_permission_gets_nothing():
    caller = Caller(create_app(World().services()))
    reply = await caller.get("/api/bookings/list", token=ROLES["stranger"])
    assert (reply.status, reply.code) == (403, "FORBIDDEN")
