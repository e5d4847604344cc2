"""A whole service in this process: real Postgres, real Valkey, an emulated HubSpot, and people who call it."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any
from unittest.mock import patch
from zoneinfo import ZoneInfo

import redis.asyncio

from lastseat import wire
from lastseat.errors import Unavailable
from lastseat.model import Record
from lastseat.settings import Settings
from lastseat.stores.cursors import UpkeepStore
from lastseat.stores.hubspot_codec import Codec
from lastseat.stores.postgres import PostgresDatabase
from lastseat.web.app import create_app
from lastseat.web.roles import PERMISSIONS
from tests.hubspot_client.doubles import BOOKINGS, CONTACTS, EXAMS, Portal, running_portal
from tests.web.caller import Caller, Reply, running
from tests.web.fakes import SECRET, staff, student

ZONE = ZoneInfo("America/Toronto")
STAFF = staff(*PERMISSIONS)


class WatchedDatabase(PostgresDatabase):
    """Notes every call; `away` makes it as if Supabase did not answer."""

    asked: list[str]
    away = False

    async def call(self, function: str, args: bytes) -> bytes:
        self.asked.append(function)
        if self.away:
            raise Unavailable("Supabase is away")
        return await super().call(function, args)


class School:
    """One server process and everything behind it. `asked`: the functions that were called in Supabase."""

    def __init__(self, app: Any, portal: Portal, shared: Any, database: WatchedDatabase, url: str) -> None:
        self.app = app
        self.settings: Settings = app.state.services.settings
        self.portal = portal
        self.url = url
        self.redis = shared
        self.database = database
        self.asked = database.asked
        self._own = PostgresDatabase(url, connections=6, timeout_s=5)
        # A look of our own, which is not counted.
        self.store = UpkeepStore(self._own, Codec(ZONE), timezone=ZONE.key, verify_after_s=60)

    def caller(self) -> Caller:
        """Somebody with cookies of his own."""
        return Caller(self.app)

    async def exam(self, capacity: int = 10, *, days: int = 20, **fields: str) -> str:
        """A session in HubSpot, and in the mirror as a backfill would have it."""
        day = (datetime.now(ZONE) + timedelta(days=days)).date().isoformat()
        properties = {
            "mock_exam_name": "Mini-mock – Calgary",
            "mock_type": "Mini-mock",
            "exam_date": day,
            "start_time": "09:00",
            "end_time": "11:00",
            "location": "Calgary",
            "capacity": str(capacity),
            "is_active": "active",
            **fields,
        }
        exam_id = await self.portal.make(EXAMS, **properties)
        await self.store.mirror(exams=[Record(hubspot_id=exam_id, properties=dict(properties))])
        # Nobody announced this: it was written past the service. Like another app, say so by a delete.
        await self.redis.delete("user:exams:available")
        await asyncio.sleep(self.settings.body_age_s)
        return exam_id

    async def book(self, contact_id: object, exam_id: str, **how: Any) -> Reply:
        return await self.caller().post(
            "/api/bookings/create", {"examId": exam_id}, token=student(str(contact_id)), **how
        )

    async def cancel(self, contact_id: object, booking_id: str) -> Reply:
        body = {"bookingIds": [booking_id]}
        return await self.caller().post("/api/bookings/batch-cancel", body, token=student(str(contact_id)))

    async def staff(self, method: str, path: str, body: object = None, **how: Any) -> Reply:
        return await self.caller().ask(method, path, body=body, token=STAFF, **how)

    async def listed(self) -> dict[str, dict[str, Any]]:
        reply = await self.caller().get("/api/mock-exams/available")
        assert reply.status == 200, reply.body
        return {exam["id"]: exam for exam in reply.json["exams"]}

    async def remaining(self, exam_id: str) -> int:
        return (await self.caller().get(f"/api/mock-exams/{exam_id}/capacity")).json["remaining"]

    async def mine(self, contact_id: object) -> list[dict[str, Any]]:
        reply = await self.caller().get("/api/bookings/list", token=student(str(contact_id)))
        assert reply.status == 200, reply.body
        return reply.json["bookings"]

    @property
    def calls(self) -> list[Any]:
        """The calls that HubSpot got, oldest first."""
        return list(self.portal.calls)

    async def drained(self) -> None:
        """Wait until no row of the outbox is left to act on."""
        async with asyncio.timeout(20):
            while await self.unfinished():  # noqa: ASYNC110  # the database tells nobody
                await asyncio.sleep(0.02)

    async def unfinished(self) -> int:
        rows = await self.rows("select from hubspot_sync.outbox where state in ('waiting', 'sent', 'mirrored')")
        return len(rows)

    async def rows(self, query: str, *args: object) -> list[Any]:
        pool = self._own._pool or await self._own._open()
        return await pool.fetch(query, *args)

    async def close(self) -> None:
        await self._own.close()


@asynccontextmanager
async def open_school(url: str, redis_url: str, *, portal: dict[str, Any] | None = None, **more: Any):
    """Open one; `portal` sets limits of the emulated HubSpot."""
    async with running_portal(**(portal or {})) as hubspot:
        settings = Settings(
            supabase_db_url=url,
            redis_url=redis_url,
            supabase_jwt_secret=SECRET,
            hubspot_base_url=hubspot.url,
            hubspot_access_token="pat-demo",
            **{"lease_offer_s": 0.05, "deadline_s": 5, "link_quiet_s": 0.05, "redis_timeout_s": 1, **more},
        )
        databases: list[WatchedDatabase] = []

        def database_of(_: Settings) -> WatchedDatabase:
            made = WatchedDatabase(url, connections=6, timeout_s=5)
            made.asked = []
            databases.append(made)
            return made

        with patch.object(wire, "database_of", database_of):
            app = create_app(wire.build(settings))
        async with running(app), redis.asyncio.Redis.from_url(redis_url, decode_responses=True) as shared:
            school = School(app, hubspot, shared, databases[0], url)
            await relay_is_up(school)
            yield school
            await school.close()


async def relay_is_up(school: School) -> None:
    """The relay takes its lease in the background; a booking before that would wait for it."""
    await until(lambda: _holds(school))


async def _holds(school: School) -> bool:
    return bool(await school.rows("select from hubspot_sync.relay_lease where expires_at > now()"))


async def until(true: Callable[[], Awaitable[bool]], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not await true():  # noqa: ASYNC110  # the stores tell nobody
            await asyncio.sleep(0.01)


__all__ = ["BOOKINGS", "CONTACTS", "EXAMS", "SECRET", "STAFF", "School", "open_school", "student", "until"]
