"""What the fault tests share: one ledger on a real Postgres, wishes, and a relay whose every step is done by hand."""

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import asyncpg

from lastseat.model import CancelRequest, ClaimRequest, OutboxRow, Record, Settlement
from lastseat.settings import Settings
from lastseat.stores.hubspot_codec import Codec
from lastseat.stores.ledger import Ledger
from lastseat.stores.postgres import PostgresDatabase
from lastseat.writes.exam_delivery import FullDelivery
from lastseat.writes.settling import Settling
from tests.fault.memory_hubspot import FreeBudget, FreeSlot, MemoryHubSpot

EXAM = "501"
ZONE = "America/Toronto"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def ledger_on(database, *, verify_after_s: float = 60) -> Ledger:
    return Ledger(database, Codec(ZONE), timezone=ZONE, verify_after_s=verify_after_s)


def exam(exam_id: str = EXAM, *, capacity: int = 2, days: int = 30, at: datetime = LONG_AGO, **more: str) -> Record:
    day = (datetime.now(UTC) + timedelta(days=days)).date().isoformat()
    properties = {
        "mock_exam_name": f"Mock {exam_id}",
        "mock_type": "Mini-mock",
        "exam_date": day,
        "start_time": "09:00",
        "end_time": "11:00",
        "capacity": str(capacity),
        "is_active": "active",
        **more,
    }
    return Record(hubspot_id=exam_id, properties=properties, updated_at=at)


def wish(contact="1", exam_id=EXAM, **fields) -> ClaimRequest:
    claim_id = str(uuid.uuid4())
    values = {
        "claim_id": claim_id,
        "booking_id": f"LS-{claim_id[:8].upper()}",
        "exam_id": exam_id,
        "contact_id": contact,
        "caller": f"student:{contact}",
        "request_id": "r1",
        "properties": {"dominant_hand": "left"},
    }
    return ClaimRequest(**{**values, **fields})


def cancelling(reference: str, contact: str | None = None) -> CancelRequest:
    return CancelRequest(reference=reference, caller=f"student:{contact}", request_id="r2", owner=contact)


class Hand:
    """A relay that takes one step when told to. What it has sent and not settled is in `open`."""

    def __init__(self, ledger: Ledger, hubspot: MemoryHubSpot, settings: Settings | None = None):
        self.ledger = ledger
        self.hubspot = hubspot
        self.settings = settings or Settings(hubspot_extra_wait_s=0.05, backoff_first_s=0.01)
        self.delivery = FullDelivery(hubspot, FreeBudget(), self.settings)
        self.settling = Settling(self.settings)
        self.term = 0

    async def take(self) -> int:
        """Become the relay, whoever was it before."""
        lease = await self.ledger.take_lease(uuid.uuid4().hex, 60)
        assert lease is not None
        self.term = lease.term
        return lease.term

    async def send(self, kind="create", limit: int = 100) -> list[OutboxRow]:
        return await self.ledger.send(self.term, kind, limit)

    async def deliver(self, rows: Sequence[OutboxRow]) -> Settlement:
        results = await self.delivery.deliver(rows[0].kind, FreeSlot(), rows, lambda: True)
        return self.settling.of(rows, results, 0.0)

    async def settle(self, settlement: Settlement):
        return await self.ledger.settle(self.term, settlement)

    async def carry(self, kind="create"):
        """One batch of one kind from `sent` to `announced`; returns the news, None when nothing was due."""
        rows = await self.send(kind)
        if not rows:
            return None
        news, told = await self.settle(await self.deliver(rows))
        await self.ledger.announced(self.term, told)
        return news

    async def verify(self) -> int:
        """Look at HubSpot again for all that is due; returns how many rows."""
        rows = await self.ledger.to_verify(self.term, 100)
        if rows:
            found = await self.delivery.look(FreeSlot(), rows)
            await self.ledger.verified(self.term, [(row, found.get(row.key)) for row in rows])
        return len(rows)


class Rows:
    """Looks into the tables, and moves their clocks."""

    def __init__(self, connection: asyncpg.Connection):
        self._connection = connection

    async def of(self, query: str, *values):
        return [dict(row) for row in await self._connection.fetch(query, *values)]

    async def outbox(self, where: str = "true"):
        return await self.of(f"select * from hubspot_sync.outbox where {where} order by outbox_id")

    async def claims(self):
        return await self.of("select * from hubspot_sync.claims order by created_at")

    async def do(self, statement: str, *values) -> None:
        await self._connection.execute(statement, *values)

    async def blocked(self) -> bool:
        """Whether somebody in this database waits for a row or an index entry that another transaction holds."""
        here = "select l.pid from pg_locks l join pg_database d on d.oid = l.database"
        waiting = f"select from pg_locks where not granted and pid in ({here} where d.datname = current_database())"
        return bool(await self.of(waiting))

    async def end_lease(self) -> None:
        """As if its holder had died long ago."""
        await self.do("update hubspot_sync.relay_lease set expires_at = '-infinity'")

    async def due_now(self) -> None:
        """As if every back-off and every time to look again were over."""
        await self.do("update hubspot_sync.outbox set not_before = '-infinity' where not_before > now()")
        await self.do("update hubspot_sync.outbox set verify_at = '-infinity' where verify_at is not null")


def database_at(url: str, connections: int = 4) -> PostgresDatabase:
    return PostgresDatabase(url, connections=connections, timeout_s=5)


# Functions that may write: those that Postgres may not take for a mere read.
WRITING = (
    "select p.proname as name from pg_proc p join pg_namespace n on n.oid = p.pronamespace"
    " where n.nspname = 'lastseat_api' and p.provolatile = 'v'"
)
