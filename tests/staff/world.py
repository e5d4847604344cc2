"""Staff on a real ledger, with HubSpot played by dictionaries that can refuse, lose or hold back an answer."""

import asyncio
import contextlib
import uuid
from datetime import UTC, date, datetime, timedelta

from lastseat.errors import Refused
from lastseat.model import CancelRequest, ChangeRequest, Record, RowResult
from lastseat.model_moves import MoveRequest
from lastseat.writes.book import fingerprint, mint_ids
from lastseat.writes.exams import ExamChanger, mint_change
from lastseat.writes.move import Mover
from lastseat.writes.outcomes import Outcomes
from tests.writes.world import PlayedHubSpot, World, until

__all__ = ["DAY", "EXAM", "OTHER", "StaffWorld", "until"]

EXAM, OTHER = "501", "502"
DAY = (datetime.now(UTC) + timedelta(days=20)).date()
STAFF = "staff:clerk"


class PlayedPortal(PlayedHubSpot):
    """HubSpot with exams. `hold(kind)` keeps calls of a kind waiting until it is left."""

    def __init__(self):
        super().__init__()
        self.exams: dict[str, dict[str, str]] = {}
        self.archived: set[str] = set()
        self.sent: list[tuple[str, str, dict[str, str]]] = []
        self._held: dict[str, asyncio.Event] = {}

    async def deliver(self, kind, slot, rows, may_start):
        if kind in self._held:
            await self._held[kind].wait()
        return await super().deliver(kind, slot, rows, may_start)

    @contextlib.contextmanager
    def hold(self, *kinds):
        event = asyncio.Event()
        self._held |= dict.fromkeys(kinds, event)
        try:
            yield
        finally:
            event.set()
            for kind in kinds:
                self._held.pop(kind)

    def write(self, kind, row):
        if not kind.startswith("exam"):
            return super().write(kind, row)
        self.sent.append((kind, row.key, dict(row.properties)))
        if kind == "exam_archive":
            self.archived.add(row.exam_id)
            return RowResult(key=row.key, outcome="written")
        if kind == "exam_update":
            exam_id = row.exam_id
        else:
            known = {exam.get("lastseat_exam_id"): exam_id for exam_id, exam in self.exams.items()}
            exam_id = known.get(row.key) or str(9000 + len(self.exams))
            self.exams.setdefault(exam_id, {"lastseat_exam_id": row.key})
        self.exams.setdefault(exam_id, {}).update(row.properties)
        return RowResult(key=row.key, outcome="written", record=self.exam_record(exam_id))

    def exam_record(self, exam_id):
        return Record(hubspot_id=exam_id, properties=dict(self.exams[exam_id]), updated_at=datetime.now(UTC))

    def refuse(self, kind, reason="Property values were not valid"):
        def answer(asked, row):
            if asked == kind:
                return RowResult(key=row.key, outcome="refused", reason=reason)
            return self.write(asked, row)

        self.answer = answer

    async def look(self, slot, rows):
        if not rows[0].kind.startswith("exam"):
            return await super().look(slot, rows)
        return {row.key: self.exam_record(row.key) for row in rows if row.key in self.exams}


class StaffWorld(World):
    """The world of the bookings, and what staff does in it."""

    def __init__(self, url, **settings):
        super().__init__(url, **settings)
        self.hubspot = PlayedPortal()
        self._begun: list[asyncio.Task] = []
        common = {"bulletin": self.bulletin, "outcomes": Outcomes(self.bulletin), "settings": self.settings}
        self.changer = ExamChanger(ledger=self.ledger, **common)
        self.mover = Mover(ledger=self.ledger, **common)

    async def exam(self, capacity, exam_id=EXAM, **more):
        properties = {
            "mock_exam_name": "Mock",
            "mock_type": "Mini-mock",
            "location": "Calgary",
            "exam_date": DAY.isoformat(),
            "start_time": "09:00",
            "end_time": "11:00",
            "capacity": str(capacity),
            "is_active": "active",
            **more,
        }
        self.hubspot.exams[exam_id] = properties
        await self.ledger.mirror(exams=[self.hubspot.exam_record(exam_id)])

    def wish(self, kind, exam_id=EXAM, *, key=None, cancel_bookings=False, caller=STAFF, **fields):
        change_id, exam_key = mint_change(caller, key)
        return ChangeRequest(
            change_id=change_id,
            kind=kind,
            caller=caller,
            request_id=uuid.uuid4().hex,
            exam_id=None if kind == "exam_create" else exam_id,
            exam_key=exam_key if kind in ("exam_create", "exam_restore") else None,
            fields=fields,
            cancel_bookings=cancel_bookings,
        )

    async def change(self, kind, exam_id=EXAM, **what):
        return await self.changer.change(self.wish(kind, exam_id, **what))

    async def update(self, exam_id=EXAM, **fields):
        return await self.change("exam_update", exam_id, **fields)

    async def create(self, *, key=None, **more):
        fields = {
            "mock_type": "Mini-mock",
            "location": "Calgary",
            "exam_date": DAY,
            "start_time": "09:00",
            "end_time": "11:00",
            "capacity": 20,
            "is_active": "active",
        }
        return await self.change("exam_create", key=key, **{**fields, **more})

    def later(self, coroutine):
        """Begin now, await later; what is still running at the end is cancelled."""
        task = asyncio.create_task(coroutine)
        self._begun.append(task)
        return task

    async def close(self):
        for task in self._begun:
            task.cancel()
        await asyncio.gather(*self._begun, return_exceptions=True)
        await super().close()

    async def move(self, reference, exam_id=OTHER, *, key=None):
        claim_id, booking_id = mint_ids()
        return await self.mover.move(
            MoveRequest(
                claim_id=claim_id,
                booking_id=booking_id,
                reference=reference,
                exam_id=exam_id,
                caller=STAFF,
                request_id="r",
                key=key,
                fingerprint=fingerprint("move", reference, exam_id),
            )
        )

    async def cancel(self, reference):
        request = CancelRequest(reference=reference, caller=STAFF, request_id="r")
        return (await self.canceller.cancel([request]))[0].outcome

    async def gate(self, exam_id=EXAM):
        return (await self.ledger.gates([exam_id]))[0]

    async def seats(self, exam_id=EXAM):
        gate = await self.gate(exam_id)
        return gate.capacity, gate.taken, gate.remaining, gate.open

    async def settled(self):
        """Wait until nothing is left for the relay."""

        async def empty():
            rows = await self.fetch(
                "select 1 from hubspot_sync.outbox where state in ('waiting', 'sent', 'mirrored') limit 1"
            )
            return not rows

        await until(empty)

    async def fetch(self, query, *args):
        async with self.database._connection() as connection:
            return await connection.fetch(query, *args)

    async def execute(self, statement):
        async with self.database._connection() as connection:
            await connection.execute(statement)


async def refused(coroutine) -> Refused:
    """The refusal it raises."""
    try:
        await coroutine
    except Refused as refusal:
        return refusal
    raise AssertionError("it was not refused")


def in_days(days: int) -> date:
    """A day from today."""
    return (datetime.now(UTC) + timedelta(days=days)).date()
