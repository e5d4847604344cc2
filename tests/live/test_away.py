"""A real database and a real Redis are killed under a whole process: reads go on as long as anything is known."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from lastseat.embedded.postgres import EmbeddedPostgres
from lastseat.embedded.valkey import EmbeddedValkey
from lastseat.model import Record
from lastseat.settings import Settings
from lastseat.stores.keys import EXAMS_AVAILABLE, bookings_of
from lastseat.stores.redis import RedisTrips
from lastseat.upkeep import schema
from lastseat.web.app import create_app
from lastseat.wire import build, database_of, ledger_of
from tests.embedded_stack import make_open_folder
from tests.reads.waiting import until
from tests.web.caller import Caller, running
from tests.web.fakes import SECRET, staff, student

EXAM, STUDENT = "501", "701"
AVAILABLE, MINE = "/api/mock-exams/available", "/api/bookings/list"
SEATS = f"/api/mock-exams/{EXAM}/capacity"


@dataclass
class Parts:
    """A database and a Redis of one's own."""

    postgres: EmbeddedPostgres
    valkey: EmbeddedValkey

    def settings(self, **more: Any) -> Settings:
        return Settings(
            supabase_db_url=self.postgres.url,
            redis_url=self.valkey.url,
            supabase_jwt_secret=SECRET,
            hubspot_access_token="pat-test",
            hubspot_base_url="http://127.0.0.1:1",
            redis_timeout_s=0.3,
            store_timeout_s=1.0,
            **more,
        )

    @asynccontextmanager
    async def site(self, **more: Any) -> AsyncIterator[Caller]:
        """A whole process, without the server before it."""
        app = create_app(build(self.settings(**more)))
        async with running(app):
            yield Caller(app)


@pytest.fixture(scope="module")
def own() -> Iterator[Parts]:
    """Making a database takes a second, so the tests of this module kill the same one in turn."""
    folder = make_open_folder()
    with EmbeddedPostgres(folder) as postgres, EmbeddedValkey(folder) as valkey:
        asyncio.run(schema.apply_to(postgres.url))
        yield Parts(postgres, valkey)
    shutil.rmtree(folder)


@pytest.fixture
async def parts(own: Parts) -> Parts:
    """Both running; one exam of 20 seats, and a student whose booking HubSpot has."""
    for part in (own.postgres, own.valkey):
        if not part.running:
            part.restart()
    trips = RedisTrips(own.valkey.url, timeout_s=1)
    await until(lambda: trips.execute("FLUSHALL"))
    await trips.close()
    await _fill(own)
    return own


async def _fill(parts: Parts) -> None:
    now = datetime.now(UTC)
    day = (now + timedelta(days=20)).date().isoformat()
    exam = {"mock_exam_name": "M", "exam_date": day, "start_time": "09:00", "capacity": "20", "is_active": "active"}
    booking = {"mock_exam_id": EXAM, "contact_id": STUDENT, "is_active": "Active", "booking_id": "LS-1"}
    connection = await asyncpg.connect(parts.postgres.url)
    await connection.execute("truncate hubspot_sync.hubspot_mock_exams, hubspot_sync.hubspot_bookings")
    await connection.close()
    database = database_of(parts.settings())
    ledger = ledger_of(parts.settings(), database)
    await ledger.mirror(exams=[Record(hubspot_id=EXAM, properties=exam, updated_at=now)])
    await ledger.mirror(bookings=[Record(hubspot_id="901", properties=booking, updated_at=now)])
    await database.close()


async def seen(site: Caller) -> dict[str, Any]:
    """What the three reads say: status, whether stale, and a fact."""
    exams = await site.get(AVAILABLE)
    mine = await site.get(MINE, token=student(STUDENT))
    seats = await site.get(SEATS)
    return {
        "exams": (exams.status, exams.json.get("stale", False), len(exams.json.get("exams", ()))),
        "mine": (mine.status, mine.json.get("stale", False), len(mine.json.get("bookings", ()))),
        "seats": (seats.status, seats.json.get("stale", False), seats.json.get("remaining")),
    }


async def says(site: Caller, wanted: dict[str, Any]) -> bool:
    return await seen(site) == wanted


async def hears(site: Caller) -> bool:
    return (await site.get("/api/ready")).json["parts"]["redis"]["ok"]


async def all_seats_free(site: Caller) -> bool:
    return (await site.get(SEATS)).json["remaining"] == 20


FRESH = {"exams": (200, False, 1), "mine": (200, False, 1), "seats": (200, False, 19)}
STALE = {"exams": (200, True, 1), "mine": (200, True, 1), "seats": (200, True, 19)}
GONE = {"exams": (503, False, 0), "mine": (503, False, 0), "seats": (503, False, None)}


async def drop_views(parts: Parts) -> None:
    """As if they had lived their time."""
    trips = RedisTrips(parts.valkey.url, timeout_s=1)
    await trips.execute("DEL", EXAMS_AVAILABLE, bookings_of(STUDENT))  # pyright: ignore[reportArgumentType]  # a test's id
    await trips.close()


async def test_supabase_killed_reads_go_on_marked_stale_and_recover(parts: Parts):
    async with parts.site() as site:
        assert await seen(site) == FRESH
        parts.postgres.kill()
        assert await seen(site) == FRESH, "the views are still good"
        await drop_views(parts)
        await asyncio.sleep(0.15)
        assert await seen(site) == STALE
        told = await site.get("/api/admin/sync/status", token=staff("exams.edit"))
        assert (told.status, told.json["stale"], told.json["records"], told.json["relay"]) == (200, True, None, None)
        assert (told.json["parts"]["supabase"]["ok"], told.json["parts"]["redis"]["ok"]) == (False, True)
        assert (await site.get(f"/api/admin/mock-exams/{EXAM}/bookings", token=staff("exams.edit"))).status == 503
        parts.postgres.restart()
        await until(lambda: says(site, FRESH), within_s=8)


async def test_what_is_older_than_it_may_be_is_no_longer_served(parts: Parts):
    async with parts.site(stale_s=1.5) as site:
        assert await seen(site) == FRESH
        known_at = time.monotonic()
        parts.postgres.kill()
        await drop_views(parts)
        await asyncio.sleep(0.15)
        assert await seen(site) == STALE
        assert time.monotonic() - known_at < 1.5, "too slow a machine for this test"
        await asyncio.sleep(known_at + 1.6 - time.monotonic())
        assert await seen(site) == GONE
        for path, token in ((AVAILABLE, None), (MINE, student(STUDENT)), (SEATS, None)):
            reply = await site.get(path, token=token)
            assert (reply.status, reply.json["success"], reply.code) == (503, False, "UNAVAILABLE")
            assert reply.json["error"]
            assert int(reply.headers["retry-after"]) >= 1
        parts.postgres.restart()
        await until(lambda: says(site, FRESH), within_s=8)


async def test_both_killed_the_process_serves_what_it_remembers_and_a_new_one_says_503(parts: Parts):
    async with parts.site() as site:
        assert await seen(site) == FRESH
        parts.postgres.kill()
        parts.valkey.kill()
        await asyncio.sleep(0.15)
        assert await seen(site) == STALE
        async with parts.site() as other:
            assert await seen(other) == GONE
            reply = await other.get(AVAILABLE)
            assert (reply.code, int(reply.headers["retry-after"]) >= 1) == ("UNAVAILABLE", True)


async def test_a_new_process_finds_the_last_values_in_redis(parts: Parts):
    async with parts.site() as site:
        assert await seen(site) == FRESH
    parts.postgres.kill()
    await drop_views(parts)
    async with parts.site() as other:
        assert await seen(other) == STALE


async def test_redis_killed_costs_no_truth(parts: Parts):
    async with parts.site() as site:
        assert await seen(site) == FRESH
        parts.valkey.kill()
        await asyncio.sleep(0.15)
        assert await seen(site) == FRESH, "the database answers"
        parts.valkey.restart()
        await until(lambda: hears(site), within_s=8)
        assert await seen(site) == FRESH


async def test_a_redis_restored_from_an_older_copy_is_not_believed(parts: Parts):
    async with parts.site(body_age_s=0.01) as site:
        assert await seen(site) == FRESH
        trips = RedisTrips(parts.valkey.url, timeout_s=1)
        await trips.execute("SAVE")
        database = database_of(parts.settings())
        ledger = ledger_of(parts.settings(), database)
        parts.valkey.kill()
        # Meanwhile the booking is cancelled in HubSpot and mirrored; nobody could tell Redis.
        gone = {"mock_exam_id": EXAM, "contact_id": STUDENT, "is_active": "Cancelled", "booking_id": "LS-1"}
        later = datetime.now(UTC) + timedelta(seconds=1)
        await ledger.mirror(bookings=[Record(hubspot_id="901", properties=gone, updated_at=later)])
        parts.valkey.restart()
        await asyncio.sleep(0.05)
        await until(lambda: all_seats_free(site), within_s=8)
        mine = (await site.get(MINE, token=student(STUDENT))).json["bookings"]
        assert [booking["is_active"] for booking in mine] == ["Cancelled"]
        await trips.close()
        await database.close()
