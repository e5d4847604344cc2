"""The crowd's GETs take a short way: the same answers, log lines, counts and limits, without the framework."""

import gzip
import io
import json
import time
from collections.abc import Iterator

import pytest

from lastseat.reads.edition import Edition
from lastseat.web import access
from lastseat.web.app import create_app
from lastseat.web.hot_lane import READY_MOST
from tests.web.caller import Caller
from tests.web.fakes import EXAM, FakeLive, World

AVAILABLE = "/api/mock-exams/available"
CAPACITY = f"/api/mock-exams/{EXAM}/capacity"


BODY = b'{"success":true,"exams":[],"from":"the hot lane"}'


@pytest.fixture
def at_hand(world: World) -> FakeLive:
    world.live.body = BODY
    return world.live


@pytest.fixture
def hot(world: World, at_hand: FakeLive) -> Caller:
    return Caller(create_app(world.services()))


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    before = (access.log.handlers, access.log.level, access.log.propagate)
    stream = io.StringIO()
    access.switch_on(stream)
    yield stream
    access.log.handlers, access.log.propagate = before[0], before[2]
    access.log.setLevel(before[1])


@pytest.mark.parametrize("path", [AVAILABLE, CAPACITY])
async def test_a_body_at_hand_is_given_out_below_the_framework(hot: Caller, world: World, path: str):
    world.exams.error = RuntimeError("the framework was asked")
    reply = await hot.get(path)
    assert (reply.status, reply.json["from"]) == (200, "the hot lane")
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["content-length"] == str(len(reply.body))
    assert reply.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("HEAD", AVAILABLE),
        ("GET", f"{AVAILABLE}?location=Calgary"),
        ("GET", "/api/mock-exams/404/capacity"),
        ("POST", AVAILABLE),
        ("GET", "/api/mock-exams//capacity"),
    ],
)
async def test_everything_else_takes_the_long_way(hot: Caller, method: str, path: str):
    assert b"hot lane" not in (await hot.ask(method, path)).body


async def test_what_is_not_at_hand_is_asked_for_the_long_way(hot: Caller, at_hand: FakeLive, world: World):
    at_hand.body = None
    assert (await hot.get(AVAILABLE)).body == world.exams.body


@pytest.mark.parametrize("path", [AVAILABLE, CAPACITY])
async def test_until_its_edition_is_over_a_body_is_given_again_unasked(hot: Caller, at_hand: FakeLive, path: str):
    at_hand.edition = Edition(true_at=time.monotonic(), until=time.monotonic() + 60)
    bodies = [(await hot.get(path)).body for _ in range(20)]
    assert bodies == [BODY] * 20
    assert at_hand.asked == 1
    at_hand.body, over, at_hand.edition = BODY.replace(b"hot", b"new"), at_hand.edition, Edition()
    assert (await hot.get(path)).body == BODY
    assert len(over.given_at) == 21
    over.until = 0.0
    assert (await hot.get(path)).body == BODY.replace(b"hot", b"new")
    assert (len(over.given_at), len(at_hand.edition.given_at)) == (21, 1)
    at_hand.body = None
    assert b"lane" not in (await hot.get(path)).body


async def test_a_body_that_outlives_its_edition_is_not_made_ready_anew(hot: Caller, at_hand: FakeLive):
    await hot.get(AVAILABLE)
    (ready,) = hot.app.hot._ready.values()
    at_hand.edition = Edition()
    await hot.get(AVAILABLE)
    assert [*hot.app.hot._ready.values()] == [ready]
    assert len(at_hand.edition.given_at) == 1


async def test_both_ways_say_the_same_of_the_same_body(hot: Caller, at_hand: FakeLive, world: World):
    at_hand.body = world.exams.body
    short = await hot.get(AVAILABLE)
    long = await hot.get(f"{AVAILABLE}?location=")
    assert short.body == long.body
    ours = {name: value for name, value in short.headers.items() if name != "x-request-id"}
    assert ours == {name: value for name, value in long.headers.items() if name in ours}


async def test_a_caller_that_holds_the_body_hears_so(hot: Caller, at_hand: FakeLive):
    first = await hot.get(AVAILABLE)
    for held in (first.headers["etag"], f'"old", {first.headers["etag"]}', "*"):
        again = await hot.get(AVAILABLE, headers={"if-none-match": held})
        assert (again.status, again.body) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
    at_hand.body = b'{"success":true,"exams":[1]}'
    assert (await hot.get(AVAILABLE, headers={"if-none-match": first.headers["etag"]})).status == 200


async def test_a_long_body_is_compressed_once_for_who_takes_it(hot: Caller, at_hand: FakeLive, monkeypatch):
    at_hand.body = json.dumps({"success": True, "exams": ["a place of many words"] * 100}).encode()
    packed: list[int] = []
    compress = gzip.compress
    monkeypatch.setattr(gzip, "compress", lambda *args, **how: packed.append(1) or compress(*args, **how))
    replies = [await hot.get(AVAILABLE, headers={"accept-encoding": "gzip"}) for _ in range(3)]
    assert all(gzip.decompress(reply.body) == at_hand.body for reply in replies)
    assert packed == [1]
    assert (await hot.get(AVAILABLE)).body == at_hand.body


async def test_short_ways_are_counted_like_long_ones(hot: Caller):
    for path in (AVAILABLE, AVAILABLE, CAPACITY):
        await hot.get(path)
    text = (await hot.get("/metrics")).body.decode()
    assert 'route="/api/mock-exams/available",method="GET",status="200"} 2' in text
    assert 'route="/api/mock-exams/{exam_id}/capacity",method="GET",status="200"} 1' in text


async def test_short_ways_are_logged_like_long_ones(hot: Caller, lines: io.StringIO):
    await hot.get(CAPACITY, headers={"x-request-id": "page-17"})
    await hot.get(f"{AVAILABLE}?location=Calgary")
    while not lines.getvalue():
        await hot.get("/api/health")
    written = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert written[0].keys() == written[1].keys()
    assert written[0]["request_id"] == "page-17"
    assert written[0]["route"] == "/api/mock-exams/{exam_id}/capacity"


async def test_every_answer_has_a_request_id_of_its_own(hot: Caller):
    seen = {(await hot.get(AVAILABLE)).headers["x-request-id"] for _ in range(100)}
    assert len(seen) == 100
    assert all(len(request_id) >= 8 for request_id in seen)
    odd = await hot.get(AVAILABLE, headers={"x-request-id": 'a"b\\c'})
    assert odd.headers["x-request-id"] != 'a"b\\c'


async def test_an_address_is_limited_only_where_it_is_asked_for(world: World, at_hand: FakeLive):
    asked = Caller(create_app(world.services(limit_address_reads=3)))
    answers = [(await asked.get(AVAILABLE)).status for _ in range(5)]
    assert answers == [200, 200, 200, 429, 429]
    assert len(at_hand.edition.given_at) == 3  # who was refused got no answer whose age could count
    told = await asked.get(AVAILABLE)
    assert told.code == "TOO_MANY_REQUESTS"
    assert 1 <= int(told.headers["retry-after"]) <= 10
    free = Caller(create_app(world.services()))
    assert {(await free.get(AVAILABLE)).status for _ in range(50)} == {200}


async def test_prepared_bodies_are_bounded(world: World, at_hand: FakeLive):
    app = create_app(world.services())
    at_hand.capacity_at_hand = lambda _: at_hand.available_at_hand()
    caller = Caller(app)
    for number in range(1, READY_MOST + 20):
        await caller.get(f"/api/mock-exams/{number}/capacity")
    assert len(app.hot._ready) <= READY_MOST
