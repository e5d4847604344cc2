"""A reader gets gzip only where it takes it, and 304 however it names the body that it holds, at every address."""

import gzip
import json
from collections.abc import Callable

import pytest

from lastseat.web import wanted
from lastseat.web.app import create_app
from lastseat.web.prepared import SQUEEZE_LEAST
from tests.web.caller import Caller
from tests.web.fakes import World

HOT = "/api/mock-exams/available"
ADDRESSES = {"hot lane": HOT, "framework": f"{HOT}?location=", "page": "/"}
LONG = json.dumps({"success": True, "exams": ["a place of many words"] * 100}).encode()
SHORT = b'{"success":true,"exams":[]}'

Asking = Callable[..., Caller]


@pytest.fixture(params=ADDRESSES)
def address(request: pytest.FixtureRequest) -> str:
    return ADDRESSES[request.param]


@pytest.fixture
def asking(world: World) -> Asking:
    """A caller that sends these header lines with everything."""
    world.live.body = world.exams.body = LONG
    app = create_app(world.services())

    def sending(*lines: tuple[str, str]) -> Caller:
        more = [(name.encode(), value.encode()) for name, value in lines]

        async def asked(scope, receive, send) -> None:
            await app({**scope, "headers": [*scope["headers"], *more]}, receive, send)

        return Caller(asked)

    return sending


ACCEPTED = [
    (["gzip, deflate, br"], True),
    (["gzip"], True),
    (["GZip;Q=0.5"], True),
    (["x-gzip"], True),
    (["br;q=1.0, *;q=0.1"], True),
    (["gzip, *;q=0"], True),
    (["gzip", "br"], True),
    (["br", "gzip"], True),
    ([], False),
    ([""], False),
    (["identity"], False),
    (["br, deflate"], False),
    (["gzip;q=0"], False),
    (["gzip; q=0.000, br"], False),
    (["*;q=0"], False),
    (["*, gzip;q=0"], False),
    (["gzip;q=often"], False),
    (["nogzip"], False),
    (["gzip;q=0", "br"], False),
]


@pytest.mark.parametrize(("accepted", "takes"), ACCEPTED, ids=lambda value: str(value))
async def test_only_who_takes_gzip_gets_it(asking: Asking, address: str, accepted: list[str], takes: bool):
    plain = await asking().get(address)
    reply = await asking(*(("accept-encoding", value) for value in accepted)).get(address)
    assert reply.headers.get("content-encoding") == ("gzip" if takes else None)
    assert (gzip.decompress(reply.body) if takes else reply.body) == plain.body
    assert reply.headers["etag"] == plain.headers["etag"]
    assert reply.headers["vary"] == "accept-encoding"


HELD = [
    (["{tag}"], 304),
    (["{strong}"], 304),
    (['"old", {tag}'], 304),
    (['W/"old",{strong} , "older"'], 304),
    (["*"], 304),
    ([" * "], 304),
    (['"old"', "{tag}"], 304),
    (["{tag}", '"old"'], 304),
    ([], 200),
    ([""], 200),
    (['"old"'], 200),
    (["{bare}"], 200),
    (["w/{strong}"], 200),
    (['"old", *'], 200),
    (['"old{bare}"'], 200),
]


@pytest.mark.parametrize(("lines", "status"), HELD, ids=lambda value: str(value))
async def test_a_body_is_held_however_its_tag_is_named(asking: Asking, address: str, lines: list[str], status: int):
    tag = (await asking().get(address)).headers["etag"]
    strong = tag.removeprefix("W/")
    named = [line.format(tag=tag, strong=strong, bare=strong.strip('"')) for line in lines]
    reply = await asking(*(("if-none-match", value) for value in named)).get(address)
    assert (reply.status, reply.body == b"") == (status, status == 304)
    assert reply.headers["etag"] == tag


@pytest.mark.parametrize("path", [HOT, f"{HOT}?location="])
async def test_a_short_body_stays_plain(asking: Asking, world: World, path: str):
    world.live.body = world.exams.body = SHORT
    assert len(SHORT) < SQUEEZE_LEAST
    reply = await asking(("accept-encoding", "gzip")).get(path)
    assert (reply.body, reply.headers.get("content-encoding")) == (SHORT, None)
    world.live.body = world.exams.body = SHORT.ljust(SQUEEZE_LEAST)
    assert (await asking(("accept-encoding", "gzip")).get(path)).headers["content-encoding"] == "gzip"


def test_what_was_asked_before_is_known_and_memory_is_bounded():
    wanted.takers.clear()
    for _ in range(2):
        assert wanted.takes_gzip(b"gzip, deflate, br")
    assert wanted.takers == {b"gzip, deflate, br": True}
    assert wanted.takes_gzip(b"gzip" + b" " * wanted.LONG)
    assert len(wanted.takers) == 1, "what is too long is read each time"
    for number in range(wanted.KNOWN_MOST * 2):
        assert not wanted.takes_gzip(b"x-%d" % number)
        assert len(wanted.takers) <= wanted.KNOWN_MOST
