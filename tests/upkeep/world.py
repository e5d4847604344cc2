"""A portal, a ledger and everything between them, for tests of what an operator starts by hand."""

from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from hubspot_emulator.seeding import Seed, SeedEnd, SeedLink, SeedRecord
from lastseat.model import Announcement
from lastseat.settings import Settings
from lastseat.stores.cursors import UpkeepStore
from lastseat.stores.hubspot_codec import Codec
from lastseat.stores.hubspot_lists import HubSpotLists
from lastseat.stores.postgres import PostgresDatabase
from lastseat.upkeep.backfill import Backfill
from lastseat.upkeep.calls import Calls
from lastseat.upkeep.force_sync import ForceSync
from tests.hubspot_client.doubles import BOOKINGS, CONTACTS, EXAMS, FakeBudget, Portal, settings_for

TYPES = {"exams": EXAMS, "contacts": CONTACTS, "bookings": BOOKINGS}
EXAM = {
    "mock_exam_name": "Clinical Skills",
    "mock_type": "Clinical Skills",
    "exam_date": "2031-03-05",
    "start_time": "09:00",
    "location": "Calgary",
    "capacity": "10",
    "is_active": "active",
}


class Heard:
    """A bulletin that remembers what was announced."""

    connected = True

    def __init__(self) -> None:
        self.news: list[Announcement] = []

    async def announce(self, news: Announcement) -> bool:
        self.news.append(news)
        return True

    def subscribe(self, listener: Any) -> None: ...
    async def wake(self) -> None: ...
    def on_wake(self, listener: Any) -> None: ...

    @property
    def contacts(self) -> set[str]:
        return {contact for news in self.news for contact in news.contacts}

    @property
    def seats(self) -> dict[str, int]:
        return {gate.exam_id: gate.taken for news in self.news for gate in news.gates}


class World:
    """One portal and one ledger. `sow` puts records into HubSpot, `rows` reads the mirror."""

    def __init__(self, portal: Portal, url: str, settings: Settings) -> None:
        self.portal = portal
        self.url = url
        self.settings = settings
        self.database = PostgresDatabase(url, connections=2, timeout_s=5)
        codec = Codec(settings.timezone, settings.hubspot_booking_key, settings.hubspot_exam_key)
        self.store = UpkeepStore(self.database, codec, timezone=settings.timezone, verify_after_s=60)
        self.lists = HubSpotLists(settings)
        self.bulletin = Heard()
        self.budget: Any = FakeBudget(1_000_000)

    def sow(self, kind: str, *records: dict[str, Any], archived: bool = False) -> list[str]:
        wanted = [SeedRecord(properties=record, archived=archived) for record in records]
        return self.portal.emulator.sow(Seed(objects={TYPES[kind]: wanted}))[TYPES[kind]]

    def associate(self, booking_id: str, kind: str, other_id: str) -> None:
        link = SeedLink(from_=SeedEnd(type=BOOKINGS, id=booking_id), to=SeedEnd(type=TYPES[kind], id=other_id))
        self.portal.emulator.sow(Seed(associations=[link]))

    def backfill(self, **more: Any) -> Backfill:
        calls = Calls(self.budget, self.settings, "backfill", patience_s=more.pop("patience_s", 1))
        return Backfill(self.lists, self.store, calls, self.bulletin, self.settings, **more)

    def force_sync(self, **more: Any) -> ForceSync:
        return ForceSync(self.lists, self.store, self.budget, self.bulletin, self.settings, **more)

    async def rows(self, kind: str) -> dict[str, Any]:
        table = {"exams": "hubspot_mock_exams"}.get(kind, f"hubspot_{kind}")
        return {row["hubspot_id"]: row for row in await self.sql(f"select * from hubspot_sync.{table}")}

    async def sql(self, statement: str, *values: Any) -> list[Any]:
        connection = await asyncpg.connect(self.url)
        try:
            return await connection.fetch(statement, *values)
        finally:
            await connection.close()

    def calls(self, operation: str | None = None) -> int:
        return sum(operation in (None, call.operation) for call in self.portal.calls)

    async def close(self) -> None:
        await self.lists.close()
        await self.database.close()


@asynccontextmanager
async def world_of(portal: Portal, url: str, **settings: Any):
    given = {"backoff_first_s": 0.01, "backoff_most_s": 0.05, "hubspot_rate_limit": 10_000, **settings}
    world = World(portal, url, settings_for(portal.url, **given))
    try:
        yield world
    finally:
        await world.close()
