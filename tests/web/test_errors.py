"""Every error, wherever it comes from, has the one shape, a request id and the security headers."""

from typing import get_args

import msgspec
import pytest
from starlette.routing import Route

from lastseat.errors import Code, SetupError, Unavailable
from lastseat.web.app import create_app
from lastseat.web.documents import Problem
from lastseat.web.openapi import document, operations
from lastseat.web.problems import STATUS
from tests.web.caller import ORIGIN, Caller, Reply
from tests.web.fakes import BOOKING, CHANGE, EXAM, World, student

PATHS = {"{exam_id}": EXAM, "{booking_id}": BOOKING, "{name}": "nothing.js", "{change_id}": CHANGE}
app = create_app(World().services(demo=True))
ROUTES = [(route.path, sorted(route.methods or ())) for route in app.routes if isinstance(route, Route)]


def filled(path: str) -> str:
    for part, value in PATHS.items():
        path = path.replace(part, value)
    return path


def assert_problem(reply: Reply) -> None:
    problem = msgspec.json.decode(reply.body, type=Problem)
    assert problem.success is False
    assert problem.error
    assert STATUS[problem.code] == reply.status
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["cache-control"] == "no-store"
    assert_edge_headers(reply)


def assert_edge_headers(reply: Reply) -> None:
    assert len(reply.headers["x-request-id"]) >= 8
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["x-frame-options"] == "DENY"
    assert "script-src 'self'" in reply.headers["content-security-policy"]
    assert "unsafe" not in reply.headers["content-security-policy"]


def test_every_code_has_a_status_and_every_status_a_code():
    assert set(STATUS) == {*get_args(Code), "INTERNAL"}


@pytest.mark.parametrize(("path", "methods"), ROUTES, ids=[path for path, _ in ROUTES])
async def test_a_method_that_an_address_does_not_take_is_405_in_the_one_shape(demo: Caller, path: str, methods: list):
    taken = {method for other, some in ROUTES for method in some if other == path}
    wrong = next(method for method in ("PATCH", "PUT") if method not in taken)
    reply = await demo.ask(wrong, filled(path), token=student())
    assert (reply.status, reply.code) == (405, "METHOD_NOT_ALLOWED")
    assert reply.headers["allow"]
    assert_problem(reply)


@pytest.mark.parametrize(
    "path", ["/nothing", "/api", "/api/bookings/list/", "//", "/static/../app.py", "/static/%2e%2e%2fapp.py", "/docs"]
)
async def test_an_unknown_address_is_404_in_the_one_shape(caller: Caller, path: str):
    reply = await caller.get(path)
    assert (reply.status, reply.code) == (404, "NOT_FOUND")
    assert_problem(reply)


@pytest.mark.parametrize(("method", "path"), operations(demo=True), ids=str)
async def test_bad_requests_on_every_route_have_the_one_shape(demo: Caller, method: str, path: str):
    bad = f"{filled(path)}?page=x&from=x" if method == "GET" else filled(path)
    for token in (student(), "rubbish"):
        reply = await demo.ask(method, bad, body=b"{", token=token, headers={"origin": ORIGIN})
        if reply.status >= 400:
            assert_problem(reply)
        else:
            assert_edge_headers(reply)


BREAKABLE = [
    ("GET", "/api/mock-exams/available", None),
    ("GET", f"/api/mock-exams/{EXAM}/capacity", None),
    ("POST", "/api/bookings/create", {"examId": EXAM}),
    ("POST", "/api/bookings/batch-cancel", {"bookingId": BOOKING}),
]


@pytest.mark.parametrize(("method", "path", "body"), BREAKABLE)
async def test_an_unforeseen_error_is_a_500_that_tells_nothing(
    caller: Caller, world: World, caplog: pytest.LogCaptureFixture, method: str, path: str, body: object
):
    world.broken(RuntimeError("password=hunter2"))
    reply = await caller.ask(method, path, body=body, token=student(), headers={"x-request-id": "find-me-1"})
    assert (reply.status, reply.code) == (500, "INTERNAL")
    assert b"hunter2" not in reply.body
    assert b"Traceback" not in reply.body
    assert reply.json["details"] == {"request_id": "find-me-1"}
    assert "find-me-1" in caplog.text
    assert "RuntimeError" in caplog.text
    assert_problem(reply)


@pytest.mark.parametrize("path", ["/api/bookings/create", "/api/bookings/batch-cancel"])
async def test_a_caller_who_hangs_up_within_the_body_is_499_and_no_fault_of_ours(
    caller: Caller, world: World, caplog: pytest.LogCaptureFixture, path: str
):
    await caller.post(path, chunks=[b'{"examId": '], hangs_up=True, token=student())
    assert "Traceback" not in caplog.text
    assert "unexpected" not in caplog.text
    assert not world.booker.asked
    assert not world.canceller.asked
    counts = (await caller.get("/metrics")).body.decode()
    assert [line for line in counts.splitlines() if path in line and 'status="499"' in line]
    assert 'status="500"' not in counts


@pytest.mark.parametrize("error", [Unavailable("db.internal:6543 is away"), SetupError("no key", way_out="Set it.")])
async def test_an_outage_is_told_to_the_operator_and_kept_from_the_student(
    caller: Caller, world: World, caplog: pytest.LogCaptureFixture, error: Exception
):
    world.broken(error)
    reply = await caller.get("/api/mock-exams/available")
    assert reply.status == 503
    assert "db.internal" not in reply.body.decode()
    assert_problem(reply)


async def test_one_outage_is_one_line_a_second_however_many_ask(
    caller: Caller, world: World, caplog: pytest.LogCaptureFixture
):
    world.broken(Unavailable("one-line-outage"))
    for _ in range(50):
        await caller.get("/api/mock-exams/available")
    assert caplog.text.count("one-line-outage") == 1


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "a\r\nx: y", "é", "<script>"])
async def test_a_request_id_of_strangers_is_replaced(caller: Caller, given: str):
    reply = await caller.get("/api/health", headers={"x-request-id": given})
    assert reply.headers["x-request-id"] != given


def test_the_document_names_every_route_and_nothing_else():
    pages = {"/", "/admin", "/static/{name}", "/sign-in", "/openapi.json"}
    routed = {(method, path) for path, methods in ROUTES for method in methods if method != "HEAD"}
    assert {(method, path) for method, path in routed if path not in pages} == set(operations(demo=True))


async def test_the_document_is_served_and_all_its_references_exist(demo: Caller):
    served = (await demo.get("/openapi.json")).json
    assert served == msgspec.to_builtins(document(demo=True))
    schemas = served["components"]["schemas"]
    for reference in references(served):
        assert reference.removeprefix("#/components/schemas/") in schemas
    assert set(served["components"]["securitySchemes"]) == {"bearer", "session"}


def references(part: object) -> list[str]:
    if isinstance(part, dict):
        own = [part["$ref"]] if "$ref" in part else []
        return own + [found for value in part.values() for found in references(value)]
    if isinstance(part, list):
        return [found for value in part for found in references(value)]
    return []


async def test_every_operation_documents_its_problems_with_the_one_shape(demo: Caller):
    for path, methods in (await demo.get("/openapi.json")).json["paths"].items():
        for method, operation in methods.items():
            assert operation["responses"], (method, path)
            for status, answer in operation["responses"].items():
                if int(status) >= 400:
                    schema = answer["content"]["application/json"]["schema"]
                    assert schema == {"$ref": "#/components/schemas/Problem"}


async def test_the_demos_endpoints_are_documented_in_the_demo_only(caller: Caller):
    assert not [path for path in (await caller.get("/openapi.json")).json["paths"] if "demo" in path]
