"""The OpenAPI document, one entry per endpoint, from the models that check the traffic; routes nothing."""

from dataclasses import dataclass, field
from typing import Any, cast

import msgspec
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from lastseat import __version__
from lastseat.web import contract as asks
from lastseat.web import documents as says
from lastseat.web import staff_contract as staff_asks
from lastseat.web.auth import COOKIE
from lastseat.web.problems import STATUS, ProblemCode
from lastseat.web.sync import SyncQuery

_REF = "#/components/schemas/{name}"
_JSON = "application/json"

Answers = dict[int, tuple[str, type[msgspec.Struct] | None]]


@dataclass(frozen=True)
class Operation:
    """One endpoint as documented. `problems` are its codes beyond INTERNAL; `signed_in`: needs a token.

    Who is signed in is limited by account; `limited`: others too, where a limit by address is set. `by_bearer`: the
    token must come as a bearer token, never as a cookie.
    """

    summary: str
    answers: Answers
    problems: tuple[ProblemCode, ...] = ()
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    path: tuple[str, ...] = ()
    signed_in: bool = False
    limited: bool = False
    by_bearer: bool = False
    headers: tuple[str, ...] = field(default=())


_NEEDS_TOKEN: tuple[ProblemCode, ...] = ("UNAUTHENTICATED", "FORBIDDEN")
_NEEDS_BODY: tuple[ProblemCode, ...] = ("INVALID", "TOO_LARGE")
_NEEDS_STORE: tuple[ProblemCode, ...] = ("UNAVAILABLE",)

STUDENT: dict[tuple[str, str], Operation] = {
    ("GET", "/api/mock-exams/available"): Operation(
        "Sessions with their seats left",
        {200: ("The sessions", says.Exams), 304: ("The same as the ETag sent", None)},
        ("INVALID", *_NEEDS_STORE),
        query=asks.ExamQuery,
        limited=True,
    ),
    ("GET", "/api/mock-exams/{exam_id}/capacity"): Operation(
        "Seats of one exam",
        {200: ("The seats", says.Capacity), 304: ("The same as the ETag sent", None)},
        ("EXAM_NOT_FOUND", *_NEEDS_STORE),
        path=("exam_id",),
        limited=True,
    ),
    ("GET", "/api/events"): Operation(
        "Live seats as server-sent events; with a session also own outcomes",
        {200: ("text/event-stream: `seats`, `exams`, `booking` and `bookings`", None)},
        ("UNAUTHENTICATED", "UNAVAILABLE"),
        limited=True,
        headers=("Last-Event-ID",),
    ),
    ("GET", "/api/bookings/list"): Operation(
        "Own bookings; for staff anybody's",
        {200: ("A page of bookings", says.Bookings)},
        (*_NEEDS_TOKEN, "INVALID", *_NEEDS_STORE),
        query=asks.ListQuery,
        signed_in=True,
    ),
    ("GET", "/api/bookings/{booking_id}"): Operation(
        "One booking, by our id or HubSpot's",
        {200: ("The booking", says.OneBooking)},
        (*_NEEDS_TOKEN, "BOOKING_NOT_FOUND", *_NEEDS_STORE),
        path=("booking_id",),
        signed_in=True,
    ),
    ("POST", "/api/bookings/create"): Operation(
        "Book one seat",
        {
            200: ("A repeated key whose booking was cancelled since", says.CancelledBooking),
            201: ("Booked: HubSpot has it", says.OneBooking),
            202: ("The seat is held, HubSpot has not confirmed yet", says.PendingBooking),
        },
        (
            *_NEEDS_TOKEN,
            *_NEEDS_BODY,
            "EXAM_NOT_FOUND",
            "SESSION_FULL",
            "ALREADY_BOOKED",
            "EXAM_CLOSED",
            "REFUSED_BY_HUBSPOT",
            "KEY_REUSED",
            "UNCERTAIN",
            *_NEEDS_STORE,
        ),
        body=asks.CreateBody,
        signed_in=True,
        headers=("Idempotency-Key",),
    ),
    ("POST", "/api/bookings/batch-cancel"): Operation(
        "Cancel up to 100 bookings",
        {200: ("One result per booking", says.CancelResults)},
        (*_NEEDS_TOKEN, *_NEEDS_BODY, "UNCERTAIN", *_NEEDS_STORE),
        body=asks.CancelBody,
        signed_in=True,
    ),
}

_CHANGES: Answers = {
    200: ("Done, as HubSpot has it now", says.ChangedExam),
    202: ("Written down; HubSpot has not confirmed it yet", says.PendingExam),
}
_MAKES: Answers = {201: ("Made", says.ChangedExam), 202: _CHANGES[202]}
_CHANGE_PROBLEMS: tuple[ProblemCode, ...] = (
    *_NEEDS_TOKEN,
    *_NEEDS_BODY,
    "REFUSED_BY_HUBSPOT",
    "KEY_REUSED",
    "UNCERTAIN",
    *_NEEDS_STORE,
)


def _change(summary: str, answers: Answers, body: type[BaseModel], *more: ProblemCode) -> Operation:
    problems = (*_CHANGE_PROBLEMS, *more)
    return Operation(summary, answers, problems, body=body, signed_in=True, headers=("Idempotency-Key",))


_SYNC = Operation(
    "Bring all exams, or one exam's bookings, up to HubSpot; GET and POST do the same",
    {200: ("What was brought up", says.SyncDone)},
    (*_NEEDS_TOKEN, "INVALID_SYNC_TYPE", "EXAM_NOT_FOUND", "UNCERTAIN", "SETUP", *_NEEDS_STORE),
    query=SyncQuery,
    signed_in=True,
    by_bearer=True,
)

SYNC: dict[tuple[str, str], Operation] = {
    ("GET", "/api/admin/sync/force-supabase"): _SYNC,
    ("POST", "/api/admin/sync/force-supabase"): _SYNC,
    ("POST", "/api/admin/sync/run"): Operation(
        "The same for our own pages: the session cookie will do",
        {200: ("What was brought up", says.SyncDone)},
        (*_NEEDS_TOKEN, *_NEEDS_BODY, "EXAM_NOT_FOUND", "UNCERTAIN", "SETUP", *_NEEDS_STORE),
        body=staff_asks.SyncBody,
        signed_in=True,
    ),
    ("GET", "/api/admin/sync/status"): Operation(
        "How the mirror, the outbox and the relay stand",
        {200: ("The state; Supabase's part is null while it is away", says.SyncState)},
        (*_NEEDS_TOKEN, *_NEEDS_STORE),
        signed_in=True,
    ),
}

STAFF: dict[tuple[str, str], Operation] = {
    ("POST", "/api/admin/mock-exams/create"): _change("Make an exam", _MAKES, staff_asks.CreateExamBody),
    ("PUT", "/api/admin/mock-exams/update"): _change(
        "Change an exam", _CHANGES, staff_asks.UpdateExamBody, "EXAM_NOT_FOUND", "CAPACITY_BELOW_SOLD"
    ),
    ("DELETE", "/api/admin/mock-exams/delete"): _change(
        "Delete an exam, softly", _CHANGES, staff_asks.DeleteExamBody, "EXAM_NOT_FOUND", "HAS_BOOKINGS"
    ),
    ("POST", "/api/admin/mock-exams/activate"): _change(
        "Open an exam, or close it", _CHANGES, staff_asks.ActivateExamBody, "EXAM_NOT_FOUND"
    ),
    ("POST", "/api/admin/mock-exams/restore"): _change(
        "Bring a deleted exam back, under a new id", _MAKES, staff_asks.RestoreExamBody, "EXAM_NOT_FOUND"
    ),
    ("GET", "/api/admin/mock-exams/changes/{change_id}"): Operation(
        "How far a change is",
        {200: ("The change", says.OneChange)},
        (*_NEEDS_TOKEN, "NOT_FOUND", *_NEEDS_STORE),
        path=("change_id",),
        signed_in=True,
    ),
    ("POST", "/api/admin/bookings/move"): Operation(
        "Move a booking to another session",
        {
            200: ("A repeated key whose new booking was cancelled since", says.UnmovedBooking),
            201: ("Moved: HubSpot has the new booking", says.MovedBooking),
            202: ("The new seat is held, HubSpot has not confirmed yet", says.MovingBooking),
        },
        (
            *_CHANGE_PROBLEMS,
            "BOOKING_NOT_FOUND",
            "BOOKING_NOT_ACTIVE",
            "BOOKING_WITHOUT_CONTACT",
            "EXAM_NOT_FOUND",
            "SESSION_FULL",
            "ALREADY_BOOKED",
            "EXAM_CLOSED",
        ),
        body=staff_asks.MoveBody,
        signed_in=True,
        headers=("Idempotency-Key",),
    ),
}

STAFF_READS: dict[tuple[str, str], Operation] = {
    ("GET", "/api/admin/mock-exams"): Operation(
        "All exams, closed and deleted ones too",
        {200: ("A page of exams", says.AllExams)},
        (*_NEEDS_TOKEN, "INVALID", *_NEEDS_STORE),
        query=staff_asks.ExamsQuery,
        signed_in=True,
    ),
    ("GET", "/api/admin/mock-exams/{exam_id}"): Operation(
        "One exam, also a deleted one",
        {200: ("The exam", says.OneExam)},
        (*_NEEDS_TOKEN, "EXAM_NOT_FOUND", *_NEEDS_STORE),
        path=("exam_id",),
        signed_in=True,
    ),
    ("GET", "/api/admin/mock-exams/{exam_id}/bookings"): Operation(
        "Who has a seat in an exam or waits for one, by name",
        {200: ("A page of bookings", says.Bookings)},
        (*_NEEDS_TOKEN, "INVALID", "EXAM_NOT_FOUND", *_NEEDS_STORE),
        query=staff_asks.ExamsQuery,
        path=("exam_id",),
        signed_in=True,
    ),
}

ASIDE: dict[tuple[str, str], Operation] = {
    ("GET", "/api/admin/set-aside"): Operation(
        "What HubSpot refused for itself",
        {200: ("A page of rows", says.AsideRows)},
        (*_NEEDS_TOKEN, "INVALID", *_NEEDS_STORE),
        query=staff_asks.AsideQuery,
        signed_in=True,
    ),
    ("POST", "/api/admin/set-aside/retry"): Operation(
        "Try one again; a booking needs a free seat",
        {200: ("Nothing was left to do", says.TriedAgain), 202: ("Queued for HubSpot", says.TriedAgain)},
        (
            *_NEEDS_TOKEN,
            *_NEEDS_BODY,
            "NOT_FOUND",
            "EXAM_NOT_FOUND",
            "SESSION_FULL",
            "ALREADY_BOOKED",
            "EXAM_CLOSED",
            "NOT_RETRYABLE",
            "UNCERTAIN",
            *_NEEDS_STORE,
        ),
        body=staff_asks.RetryBody,
        signed_in=True,
    ),
}

SESSION: dict[tuple[str, str], Operation] = {
    ("GET", "/api/session"): Operation("Who is signed in", {200: ("The session, or null", says.SessionState)}),
    ("POST", "/api/session"): Operation(
        "Keep a token as the session cookie; same origin only",
        {200: ("Signed in; the cookie is set", says.SessionState)},
        (*_NEEDS_TOKEN, *_NEEDS_BODY),
        body=asks.SessionBody,
    ),
    ("DELETE", "/api/session"): Operation(
        "Sign out; same origin only", {200: ("Signed out", says.SessionState)}, ("FORBIDDEN",)
    ),
}

DEMO: dict[tuple[str, str], Operation] = {
    ("GET", "/api/demo/students"): Operation(
        "Sample students; demo mode only", {200: ("The students", says.Samples)}, _NEEDS_STORE
    ),
    ("POST", "/api/demo/session"): Operation(
        "Sign in as a sample student or as staff; demo mode only, same origin only",
        {200: ("Signed in; the cookie is set", says.SessionState)},
        ("FORBIDDEN", *_NEEDS_BODY, *_NEEDS_STORE),
        body=asks.SampleBody,
    ),
}

OPERATOR: dict[tuple[str, str], Operation] = {
    ("GET", "/api/health"): Operation("The process answers", {200: ("Alive", says.Health)}),
    ("GET", "/api/ready"): Operation("Every needed part is well", {200: ("Ready", says.Ready)}, ("UNAVAILABLE",)),
    ("GET", "/metrics"): Operation("Counters of this process", {200: ("Prometheus text", None)}),
}


def operations(*, demo: bool) -> dict[tuple[str, str], Operation]:
    """Every documented endpoint."""
    return {**STUDENT, **STAFF, **STAFF_READS, **ASIDE, **SYNC, **SESSION, **OPERATOR, **(DEMO if demo else {})}


def document(*, demo: bool) -> dict[str, Any]:
    """The whole document, OpenAPI 3.1."""
    listed = operations(demo=demo)
    paths: dict[str, dict[str, Any]] = {}
    for (method, path), operation in listed.items():
        paths.setdefault(path, {})[method.lower()] = _entry(method, path, operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Lastseat", "version": __version__, "description": _DESCRIPTION},
        "paths": paths,
        "components": {"schemas": _schemas(listed), "securitySchemes": _SECURITY},
    }


_DESCRIPTION = "Books seats in mock exams. Every error has the shape of Problem; its codes are named per answer."
_SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "A Supabase Auth token"},
    "session": {"type": "apiKey", "in": "cookie", "name": COOKIE, "description": "Set by POST /api/session"},
}


def _entry(method: str, path: str, operation: Operation) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": f"{method.lower()}{path.replace('/', '_').replace('{', '').replace('}', '')}",
        "parameters": _parameters(operation),
        "responses": {**_good(operation), **_bad(operation)},
    }
    if operation.body is not None:
        schema = {"$ref": _REF.format(name=operation.body.__name__)}
        entry["requestBody"] = {"required": True, "content": {_JSON: {"schema": schema}}}
    if operation.signed_in:
        entry["security"] = [{"bearer": []}] + ([] if operation.by_bearer else [{"session": []}])
    return entry


def _good(operation: Operation) -> dict[str, Any]:
    good: dict[str, Any] = {}
    for status, (description, shape) in operation.answers.items():
        good[str(status)] = {"description": description}
        if shape is not None:
            good[str(status)]["content"] = {_JSON: {"schema": {"$ref": _REF.format(name=shape.__name__)}}}
    return good


def _bad(operation: Operation) -> dict[str, Any]:
    """Problem codes by their status."""
    codes: dict[int, list[str]] = {}
    limited: tuple[ProblemCode, ...] = ("TOO_MANY_REQUESTS",) if operation.signed_in or operation.limited else ()
    for code in (*operation.problems, *limited, "INTERNAL"):
        codes.setdefault(STATUS[code], []).append(code)
    content = {_JSON: {"schema": {"$ref": _REF.format(name="Problem")}}}
    return {str(status): {"description": ", ".join(names), "content": content} for status, names in codes.items()}


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    text = {"type": "string"}
    inside = [{"name": name, "in": "path", "required": True, "schema": text} for name in operation.path]
    sent = [
        {"name": name, "in": "header", "required": False, "schema": {**text, "minLength": 1, "maxLength": 255}}
        for name in operation.headers
    ]
    if operation.query is None:
        return [*inside, *sent]
    asked = cast("dict[str, Any]", operation.query.model_json_schema()["properties"])
    return [*inside, *sent, *({"name": name, "in": "query", "schema": schema} for name, schema in asked.items())]


def _schemas(listed: dict[tuple[str, str], Operation]) -> dict[str, Any]:
    bodies = [(operation.body, "validation") for operation in listed.values() if operation.body is not None]
    shapes = [shape for operation in listed.values() for _, shape in operation.answers.values() if shape is not None]
    _, asked = models_json_schema(cast("Any", bodies), ref_template="#/components/schemas/{model}")
    _, said = msgspec.json.schema_components([*shapes, says.Problem], ref_template=_REF)
    said["Problem"]["properties"]["code"] = {"enum": sorted(STATUS)}
    return {**asked.get("$defs", {}), **said}
