"""The write path in one process: a real ledger, news without Redis, and HubSpot played by a dictionary."""

import asyncio
import contextlib
import uuid
from datetime import UTC, datetime, timedelta

from lastseat.errors import Refused
from lastseat.model import Announcement, ClaimRequest, Record, RowResult
from lastseat.settings import Settings
from lastseat.stores.hubspot_codec import Codec
from lastseat.stores.ledger import Ledger
from lastseat.stores.postgres import PostgresDatabase
from lastseat.writes.book import Booker, fingerprint, mint_ids
from lastseat.writes.cancel import Canceller
from lastseat.writes.outcomes import Outcomes
from lastseat.writes.relay import Relay

EXAM = "501"


class LocalBulletin:
    """News within this process, as if Redis were away."""

    connected = True
    taken = True

    def __init__(self):
        self.news: list[Announcement] = []
        self._listeners = []
        self._wakers = []

    async def announce(self, news):
        self.news.append(news)
        for listener in self._listeners:
            listener(news)
        return self.taken

    async def wake(self):
        for waker in self._wakers:
            waker()

    def subscribe(self, listener):
        self._listeners.append(listener)

    def on_wake(self, listener):
        self._wakers.append(listener)


class FreeSlot:
    async def close(self, headers=None, status=None): ...
    async def give_back(self): ...


class FreeBudget:
    async def reserve(self, kind):
        return FreeSlot()

    async def free(self):
        return 100

    def others_called(self, ago_s):
        """There is no window that could hold others' calls."""


class PlayedHubSpot:
    """Delivery and HubSpot in one: `answer(row)` may be replaced to refuse, lose or delay rows."""

    def __init__(self):
        self.records: dict[str, dict[str, str]] = {}
        self.calls: list[tuple[str, int]] = []
        self.latency_s = 0.02
        self.answer = self.write

    async def deliver(self, kind, slot, rows, may_start):
        self.calls.append((kind, len(rows)))
        await asyncio.sleep(self.latency_s)
        return [self.answer(kind, row) for row in rows]

    def write(self, kind, row):
        if kind.startswith("link") or kind == "count":
            return RowResult(key=row.key, outcome="written")
        record = self.records.setdefault(row.booking_id, {"id": str(7000 + len(self.records))})
        record.update(row.properties)
        return RowResult(key=row.key, outcome="written", record=self.record(row.booking_id))

    def record(self, key):
        fields = self.records[key]
        return Record(hubspot_id=fields["id"], properties=dict(fields), updated_at=datetime.now(UTC))

    async def prepare(self, may_start):
        return None

    async def look(self, slot, rows):
        return {row.key: self.record(row.key) for row in rows if row.key in self.records}


class World:
    """Ledger, booker, canceller and relays that share one database and one HubSpot."""

    def __init__(self, url, **settings):
        self.settings = Settings(
            relay_poll_s=0.05,
            lease_offer_s=0.02,
            link_quiet_s=0.02,
            backoff_first_s=0.02,
            deadline_s=settings.pop("deadline_s", 3),
            **settings,
        )
        self.database = PostgresDatabase(url, connections=8, timeout_s=5)
        self.ledger = Ledger(
            self.database,
            Codec("America/Toronto"),
            timezone="America/Toronto",
            verify_after_s=self.settings.verify_after_s,
        )
        self.bulletin = LocalBulletin()
        self.hubspot = PlayedHubSpot()
        outcomes = Outcomes(self.bulletin)
        common = {"ledger": self.ledger, "bulletin": self.bulletin, "settings": self.settings}
        self.booker = Booker(look=self._look, outcomes=outcomes, **common)
        self.canceller = Canceller(outcomes=outcomes, **common)
        self.relays: list[asyncio.Task] = []

    async def _look(self, exam_id):
        return next(iter(await self.ledger.gates([exam_id])), None)

    def relay(self, bulletin=None):
        return Relay(
            ledger=self.ledger,
            delivery=self.hubspot,
            budget=FreeBudget(),
            bulletin=bulletin or self.bulletin,
            settings=self.settings,
        )

    def start_relay(self, bulletin=None):
        self.relays.append(asyncio.create_task(self.relay(bulletin).run()))

    async def stop_relays(self):
        while self.relays:
            task = self.relays.pop()
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def close(self):
        await self.stop_relays()
        await self.database.close()

    async def exam(self, capacity, exam_id=EXAM):
        day = (datetime.now(UTC) + timedelta(days=20)).date().isoformat()
        properties = {"mock_exam_name": "M", "exam_date": day, "capacity": str(capacity), "is_active": "active"}
        await self.ledger.mirror(
            exams=[Record(hubspot_id=exam_id, properties=properties, updated_at=datetime.now(UTC))]
        )

    async def book(self, contact, exam_id=EXAM, key=None):
        claim_id, booking_id = mint_ids()
        return await self.booker.book(
            ClaimRequest(
                claim_id=claim_id,
                booking_id=booking_id,
                exam_id=exam_id,
                contact_id=str(contact),
                caller=f"student:{contact}",
                request_id=uuid.uuid4().hex,
                properties={},
                key=key,
                fingerprint=fingerprint(exam_id, contact),
            )
        )

    async def book_all(self, contacts):
        """States or refusal codes, in order."""
        answers = await asyncio.gather(*(self.book(c) for c in contacts), return_exceptions=True)
        return [a.code if isinstance(a, Refused) else a.state for a in answers]

    async def taken(self, exam_id=EXAM):
        return (await self.ledger.gates([exam_id]))[0].taken


async def until(true, seconds=10.0):
    async with asyncio.timeout(seconds):
        while not await true():  # noqa: ASYNC110  # the database tells nobody
            await asyncio.sleep(0.01)
