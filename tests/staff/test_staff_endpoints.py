"""Every staff endpoint for every role, every rule of every field, and the one shape of every answer."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest

from lastseat.errors import Unavailable, Uncertain
from lastseat.model import ChangeAnswer
from lastseat.settings import Settings
from lastseat.web.app import create_app
from lastseat.web.openapi import STAFF
from lastseat.web.problems import STATUS
from lastseat.web.roles import PERMISSIONS
from lastseat.writes.exams import ExamChanger, mint_change
from tests.staff.world import in_days
from tests.web.caller import ORIGIN, Caller
from tests.web.fakes import BOOKING, CHANGE, EXAM, SECRET, World, staff, student

ADMIN = "/api/admin/mock-exams"
NEW = {
    "mock_type": "Clinical Skills",
    "exam_date": in_days(30).isoformat(),
    "start_time": "09:00",
    "end_time": "11:30",
    "location": "Richmond Hill",
    "capacity": 20,
}
MOVE = {"bookingId": BOOKING, "examId": "9002"}
ROLES = {
    "nobody": None,
    "student": student(),
    "stranger": staff("newsletter.read"),
    **{permission: staff(permission) for permission in sorted(PERMISSIONS)},
    "mover": staff("bookings.create", "bookings.cancel"),
    "editor who opens": staff("exams.edit", "exams.activate"),
}
EXAM_STAFF = {"exams.create", "exams.edit", "exams.delete", "exams.activate", "editor who opens"}
# (method, path, body): who may, and what they get; nobody else gets anything but 401 or 403.
CASES: list[tuple[str, str, Any, set[str], int]] = [
    ("POST", f"{ADMIN}/create", NEW, {"exams.create"}, 201),
    ("PUT", f"{ADMIN}/update", {"examId": EXAM, "capacity": 30}, {"exams.edit", "editor who opens"}, 200),
    ("PUT", f"{ADMIN}/update", {"examId": EXAM, "is_active": False}, {"editor who opens"}, 200),
    ("DELETE", f"{ADMIN}/delete", {"examId": EXAM}, {"exams.delete"}, 200),
    ("DELETE", f"{ADMIN}/delete?examId={EXAM}&cancelBookings=true", None, {"exams.delete"}, 200),
    ("POST", f"{ADMIN}/activate", {"examId": EXAM}, {"exams.activate", "editor who opens"}, 200),
    ("POST", f"{ADMIN}/restore", {"examId": EXAM}, {"exams.delete"}, 201),
    ("GET", f"{ADMIN}/changes/{CHANGE}", None, EXAM_STAFF, 200),
    ("POST", "/api/admin/bookings/move", MOVE, {"mover"}, 201),
]


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def caller(world: World) -> Caller:
    return Caller(create_app(world.services()))


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]} {case[1]} {sorted(case[2] or ())}")
async def test_each_staff_endpoint_answers_each_role_as_the_contract_says(caller, world, case, role):
    method, path, body, may, status = case
    reply = await caller.ask(method, path, body=body, token=ROLES[role], headers={"origin": ORIGIN})
    expected = status if role in may else 401 if role == "nobody" else 403
    assert reply.status == expected, reply.body
    if role not in may:
        assert world.changer.asked == world.mover.asked == []


def test_every_staff_endpoint_has_a_case():
    named = {(method, path.partition("?")[0].replace(CHANGE, "{change_id}")) for method, path, *_ in CASES}
    assert named == {operation for operation in STAFF if "/sync/" not in operation[1]}


async def test_a_permission_that_a_user_gave_himself_counts_for_nothing(caller):
    own = {"sub": "user", "aud": "authenticated", "exp": 4_000_000_000, "app_metadata": {"contact_id": "501"}}
    token = jwt.encode({**own, "user_metadata": {"permissions": ["exams.edit"]}}, SECRET, algorithm="HS256")
    reply = await caller.ask("PUT", f"{ADMIN}/update", body={"examId": EXAM, "capacity": 3}, token=token)
    assert (reply.status, reply.code) == (403, "FORBIDDEN")
    assert "exams.edit" in reply.json["error"]


async def test_a_browser_of_another_site_changes_nothing_with_the_cookie(caller, world):
    caller.cookies["lastseat_session"] = ROLES["exams.delete"]
    reply = await caller.ask(
        "DELETE", f"{ADMIN}/delete?examId={EXAM}", headers={"origin": "https://elsewhere.example"}
    )
    assert (reply.status, reply.code) == (403, "FORBIDDEN")
    assert world.changer.asked == []


def whole(**changes: Any) -> dict[str, Any]:
    return {name: value for name, value in {**NEW, **changes}.items() if value is not ...}


BAD_FIELDS: list[tuple[dict[str, Any], str, str]] = [
    ({"mock_type": ...}, "mock_type", "is missing"),
    ({"mock_type": ""}, "mock_type", "must not be empty"),
    ({"mock_type": 5}, "mock_type", "must be text"),
    ({"mock_type": "x" * 201}, "mock_type", "at most 200"),
    ({"mock_type": "Juggling"}, "mock_type", "must be one of: Situational Judgment"),
    ({"location": "Atlantis"}, "location", "must be one of: Mississauga"),
    ({"location": None}, "location", "must not be empty"),
    ({"exam_date": ...}, "exam_date", "is missing"),
    ({"exam_date": None}, "exam_date", "must not be empty"),
    ({"exam_date": "2027-02-29"}, "exam_date", "must be a date as YYYY-MM-DD"),
    ({"exam_date": "03/05/2027"}, "exam_date", "must be a date as YYYY-MM-DD"),
    ({"exam_date": 20270305}, "exam_date", "must be a date as YYYY-MM-DD"),
    ({"exam_date": "2020-01-01"}, "exam_date", "is past"),
    ({"start_time": "25:00"}, "start_time", "HH:MM"),
    ({"start_time": "9"}, "start_time", "HH:MM"),
    ({"start_time": None}, "start_time", "HH:MM"),
    ({"end_time": "11:60"}, "end_time", "HH:MM"),
    ({"capacity": 0}, "capacity", "from 1 to 10,000"),
    ({"capacity": 10_001}, "capacity", "from 1 to 10,000"),
    ({"capacity": -3}, "capacity", "from 1 to 10,000"),
    ({"capacity": 2.5}, "capacity", "from 1 to 10,000"),
    ({"capacity": True}, "capacity", "from 1 to 10,000"),
    ({"capacity": None}, "capacity", "from 1 to 10,000"),
    ({"capacity": "many"}, "capacity", "from 1 to 10,000"),
    ({"is_active": "perhaps"}, "is_active", "active, inactive or scheduled"),
    ({"is_active": None}, "is_active", "active, inactive or scheduled"),
    ({"opens_at": "2027-03-01T12:00:00"}, "opens_at", "with its offset"),
    ({"opens_at": "soon"}, "opens_at", "with its offset"),
    ({"opens_at": 5}, "opens_at", "with its offset"),
    ({"mock_exam_name": "a\u0000b"}, "mock_exam_name", "control characters"),
    ({"mock_exam_name": "\ud800"}, "mock_exam_name", "broken Unicode"),
    ({"remaining": 5}, "remaining", "is not a field"),
    ({"total_bookings": 5}, "total_bookings", "is not a field"),
    ({"seats_taken": 0}, "seats_taken", "is not a field"),
    ({"hubspot_id": "1"}, "hubspot_id", "is not a field"),
]


class Silent:
    """A ledger and a bulletin that are not to be asked."""

    def subscribe(self, listener: object) -> None: ...

    async def change_exam(self, wish: object) -> tuple[ChangeAnswer, object]:
        raise AssertionError(f"a bad field came through: {wish}")


@pytest.fixture
def strict(world: World) -> Caller:
    """The application with the real rules behind it."""
    services = world.services()
    nothing: Any = Silent()
    changer = ExamChanger(ledger=nothing, bulletin=nothing, outcomes=nothing, settings=Settings())
    return Caller(create_app(replace(services, changer=changer)))


@pytest.mark.parametrize(("changes", "field", "words"), BAD_FIELDS, ids=lambda value: str(value)[:40])
async def test_each_field_has_a_rule_and_a_message_for_a_new_exam(strict, changes, field, words):
    reply = await strict.post(f"{ADMIN}/create", whole(**changes), token=ROLES["exams.create"])
    assert (reply.status, reply.code, reply.json["field"]) == (422, "INVALID", field)
    assert words in reply.json["error"]
    assert reply.json["error"].startswith(field)


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [bad for bad in BAD_FIELDS if bad[2] not in ("is missing", "is past")],
    ids=lambda value: str(value)[:40],
)
async def test_each_field_has_the_same_rule_for_a_change(strict, changes, field, words):
    body = {"examId": EXAM, **changes}
    reply = await strict.ask("PUT", f"{ADMIN}/update", body=body, token=ROLES["editor who opens"])
    assert (reply.status, reply.code, reply.json["field"]) == (422, "INVALID", field)
    assert words in reply.json["error"]


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("PUT update", {"capacity": 5}, "examId"),
        ("PUT update", {"examId": "x", "capacity": 5}, "examId"),
        ("PUT update", {"examId": EXAM}, "examId"),
        ("PUT update", [], "body"),
        ("PUT update", b"{", "body"),
        ("DELETE delete", {"examId": EXAM, "cancelBookings": "perhaps"}, "cancelBookings"),
        ("DELETE delete", {"examId": EXAM, "force": True}, "force"),
        ("DELETE delete", None, "examId"),
        ("POST activate", {"examId": EXAM, "active": "perhaps"}, "active"),
        ("POST restore", {}, "examId"),
        ("POST move", {"examId": EXAM}, "bookingId"),
        ("POST move", {"bookingId": BOOKING}, "examId"),
        ("POST move", {"bookingId": "../x", "examId": EXAM}, "bookingId"),
    ],
)
async def test_a_bad_request_names_the_field(caller, world, path, body, field):
    method, _, name = path.partition(" ")
    address = "/api/admin/bookings/move" if name == "move" else f"{ADMIN}/{name}"
    everything = staff(*PERMISSIONS)
    reply = await caller.ask(method, address, body=body, token=everything)
    assert (reply.status, reply.code, reply.json["field"]) == (422, "INVALID", field)
    assert world.changer.asked == world.mover.asked == []


async def test_values_are_normalised_once_at_the_edge(caller, world):
    body = whole(
        start_time="9:05",
        end_time="14:00:00",
        capacity="40",
        is_active="Yes",
        opens_at="2027-03-01T12:00:00-05:00",
        mock_exam_name="  Zoë’s mock  ",
    )
    camel = {"mockType": body.pop("mock_type"), "examDate": body.pop("exam_date")}
    await caller.post(f"{ADMIN}/create", {**body, **camel}, token=ROLES["exams.create"])
    fields = world.changer.asked[0].fields
    assert (fields["start_time"], fields["end_time"], fields["capacity"]) == ("09:05", "14:00", 40)
    assert (fields["is_active"], fields["mock_exam_name"]) == ("active", "Zoë’s mock")
    assert fields["opens_at"] == datetime(2027, 3, 1, 17, tzinfo=UTC)
    assert fields["exam_date"] == in_days(30)


async def test_a_change_holds_only_what_was_named_and_null_clears(caller, world):
    body = {"examId": int(EXAM), "mock_exam_name": None, "opens_at": "", "location": "Calgary"}
    await caller.ask("PUT", f"{ADMIN}/update", body=body, token=ROLES["exams.edit"])
    assert world.changer.asked[0].exam_id == EXAM
    assert world.changer.asked[0].fields == {"mock_exam_name": None, "opens_at": None, "location": "Calgary"}


async def test_words_of_the_lists_are_taken_in_any_case_and_kept_as_configured(world):
    seen: list[Any] = []

    class Keeping(Silent):
        async def change_exam(self, wish: Any) -> tuple[ChangeAnswer, object]:
            seen.append(wish)
            raise Unavailable("that is enough")

    ledger: Any = Keeping()
    settings = Settings(mock_types=("Oral",), locations=("Café",))
    changer = ExamChanger(ledger=ledger, bulletin=ledger, outcomes=ledger, settings=settings)
    caller = Caller(create_app(replace(world.services(), changer=changer)))
    await caller.post(f"{ADMIN}/create", whole(mock_type="ORAL", location="café"), token=ROLES["exams.create"])
    assert (seen[0].fields["mock_type"], seen[0].fields["location"]) == ("Oral", "Café")


async def test_what_is_not_confirmed_yet_is_202_with_an_address_that_works(caller, world):
    world.changer.status = "pending"
    reply = await caller.ask(
        "PUT", f"{ADMIN}/update", body={"examId": EXAM, "capacity": 3}, token=ROLES["exams.edit"]
    )
    assert (reply.status, reply.json["status"]) == (202, "pending")
    assert reply.json["statusUrl"] == reply.headers["location"]
    assert reply.json["statusUrl"] == f"{ADMIN}/changes/{world.changer.asked[0].change_id}"
    shown = await caller.get(f"{ADMIN}/changes/{CHANGE}", token=ROLES["exams.edit"])
    assert shown.json["change"]["status"] == "pending"


@pytest.mark.parametrize("name", ["nothing", "00000000-0000-4000-8000-000000000002", CHANGE.upper() + "A"])
async def test_a_change_that_nobody_asked_for_is_404(caller, name):
    reply = await caller.get(f"{ADMIN}/changes/{name}", token=ROLES["exams.edit"])
    assert (reply.status, reply.code) == (404, "NOT_FOUND")


@pytest.mark.parametrize(("state", "status"), [("booked", 201), ("open", 202), ("cancelled", 200), ("refused", 409)])
async def test_a_move_is_answered_as_far_as_it_has_come(caller, world, state, status):
    world.mover.state = state
    reply = await caller.post("/api/admin/bookings/move", MOVE, token=ROLES["mover"])
    assert reply.status == status
    if status != 409:
        assert reply.json["previous"] == {"bookingId": BOOKING, "status": "pending"}
    if status == 202:
        assert reply.json["statusUrl"] == f"/api/bookings/{world.mover.asked[0].booking_id}"


@pytest.mark.parametrize("error", [Unavailable("away"), Uncertain("lost")])
async def test_an_outage_has_its_one_answer(caller, world, error):
    world.broken(error)
    for method, path, body, may, _ in CASES:
        reply = await caller.ask(method, path, body=body, token=ROLES[min(may)])
        assert (reply.status, reply.code) == (STATUS[error.code], error.code)
        assert reply.headers["retry-after"]


def test_a_key_gives_the_same_ids_to_one_caller_and_others_to_another():
    assert mint_change("staff:a", "k") == mint_change("staff:a", "k")
    ids = {mint_change(caller, key) for caller in ("staff:a", "staff:b") for key in ("k", "l", None, None)}
    assert len(ids) == 8
    assert all(exam_key.startswith("LX-") and len(exam_key) == 19 for _, exam_key in ids)


async def test_the_key_of_the_header_becomes_the_changes_name(caller, world):
    headers = {"idempotency-key": "k"}
    for _ in range(2):
        await caller.post(f"{ADMIN}/create", NEW, token=ROLES["exams.create"], headers=headers)
    assert len({wish.change_id for wish in world.changer.asked}) == 1
    assert {wish.caller for wish in world.changer.asked} == {"staff:clerk"}
