"""Health, readiness, metrics and the access log: they say enough to operate and nothing about persons."""

import io
import json
import logging
import time
from collections.abc import Iterator
from datetime import datetime

import pytest

from lastseat.web import access
from lastseat.web.app import create_app
from lastseat.web.metrics import Metrics
from tests.web.caller import ORIGIN, Caller, running
from tests.web.fakes import BOOKING, EXAM, World, student


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    before = (access.log.handlers, access.log.level, access.log.propagate)
    stream = io.StringIO()
    access.switch_on(stream)
    yield stream
    access.log.handlers, access.log.propagate = before[0], before[2]
    access.log.setLevel(before[1])


async def test_ready_lists_its_parts(caller: Caller):
    reply = await caller.get("/api/ready")
    assert (reply.status, reply.json["status"]) == (200, "ready")
    assert reply.json["parts"]["supabase"]["ok"] is True


async def test_not_ready_names_the_part_and_what_to_do(caller: Caller, world: World):
    world.parts["hubspot"] = {"ok": False, "detail": "refuses the token: set HUBSPOT_ACCESS_TOKEN"}
    reply = await caller.get("/api/ready")
    assert (reply.status, reply.code) == (503, "UNAVAILABLE")
    assert "hubspot" in reply.json["error"]
    assert reply.json["details"]["parts"]["hubspot"]["detail"].endswith("HUBSPOT_ACCESS_TOKEN")


async def test_a_part_that_is_not_needed_does_not_take_the_service_out(caller: Caller, world: World):
    world.parts["redis"] = {"ok": False, "detail": "away: slower", "needed": False}
    assert (await caller.get("/api/ready")).status == 200


async def test_health_asks_no_store(caller: Caller, world: World):
    world.broken(RuntimeError("all away"))
    assert (await caller.get("/api/health")).status == 200


async def test_requests_are_counted_by_route_and_status_without_ids(caller: Caller):
    await caller.get(f"/api/bookings/{BOOKING}", token=student())
    await caller.get(f"/api/mock-exams/{EXAM}/capacity")
    await caller.get("/no/such/thing")
    await caller.ask("BREW", "/no/such/thing")
    text = (await caller.get("/metrics")).body.decode()
    assert 'route="/api/bookings/{booking_id}",method="GET",status="200"} 1' in text
    assert 'route="unmatched",method="GET",status="404"} 1' in text
    assert 'route="unmatched",method="OTHER",status="404"} 1' in text
    assert BOOKING not in text
    assert EXAM not in text


def test_the_histogram_is_cumulative():
    metrics = Metrics()
    metrics.observe(("/x", "GET", 200), [0.001, 0.005])
    metrics.observe(("/x", "GET", 200), [0.006, 60.0])
    text = metrics.text()
    assert 'le="0.005"} 2' in text
    assert 'le="0.01"} 3' in text
    assert 'le="10.0"} 3' in text
    assert 'le="+Inf"} 4' in text
    assert "_sum{" in text
    assert text.splitlines()[-1].endswith(" 4")


async def test_the_access_log_has_one_json_line_per_request_and_nobody_in_it(world: World, lines: io.StringIO):
    app = create_app(world.services(demo=True))
    caller = Caller(app)
    token = student()
    async with running(app):
        body = {"examId": EXAM, "student_name": "Zoë", "student_email": "zoe@school.test"}
        await caller.post("/api/bookings/create", body, token=token, headers={"idempotency-key": "secret-key"})
        await caller.get(f"/api/bookings/{BOOKING}?contactId=501", token=token)
        await caller.post("/api/session", {"token": token}, headers={"origin": ORIGIN})
        assert lines.getvalue() == ""  # buffered
    written = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert [(line["method"], line["route"], line["status"]) for line in written] == [
        ("POST", "/api/bookings/create", 201),
        ("GET", "/api/bookings/{booking_id}", 200),
        ("POST", "/api/session", 200),
    ]
    assert set(written[0]) == {"at", "request_id", "method", "route", "status", "ms"}
    for private in (token, "Zo", "zoe@school.test", "501", BOOKING, "secret-key"):
        assert private not in lines.getvalue()


async def test_without_being_switched_on_nothing_is_logged(caller: Caller, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.WARNING)
    await caller.get("/api/health")
    assert caplog.text == ""


async def test_a_full_buffer_is_written_at_once(lines: io.StringIO):
    counted: dict[access.What, list[float]] = {}
    log = access.AccessLog(counted.__setitem__)
    for number in range(access.FLUSH_LINES):
        log.note(b"r", ("/", "GET", 200 if number else 304), time.monotonic() - 0.001)
    written = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert [line["status"] for line in written] == [304] + [200] * (access.FLUSH_LINES - 1)
    assert {kind: len(seconds) for kind, seconds in counted.items()} == {
        ("/", "GET", 304): 1,
        ("/", "GET", 200): access.FLUSH_LINES - 1,
    }
    assert all(0.001 <= one < 0.1 for seconds in counted.values() for one in seconds)
    assert all(1 <= line["ms"] < 100 for line in written)
    assert abs(datetime.fromisoformat(written[-1]["at"]).timestamp() - time.time()) < 1


async def test_what_stands_behind_starts_and_stops_with_the_site(world: World):
    async with running(create_app(world.services())):
        assert world.started == ["up"]
    assert world.started == ["up", "down"]
