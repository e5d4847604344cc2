"""HubSpot as a dictionary, one call at a time: what each does and whether it is answered is said before."""

from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Literal

from lastseat.errors import Refused, Unavailable
from lastseat.model import OutboxRow, Record, RowResult

Fate = Literal["ok", "lost", "lost-before", "late", "down", "portal"]
"""`lost`: committed, no answer. `lost-before`: not committed, no answer. `late`: no answer, committed by `land`."""


class FreeSlot:
    async def close(self, headers=None, status=None): ...
    async def give_back(self): ...


class FreeBudget:
    """No limit at all; counts the slots that were neither used nor given back."""

    def __init__(self):
        self.held = 0
        self.heard = None

    async def reserve(self, kind):
        budget = self
        budget.held += 1

        class Counted(FreeSlot):
            open = True

            async def close(self, headers=None, status=None):
                await self.give_back()

            async def give_back(self):
                budget.held -= self.open
                self.open = False

        return Counted()

    async def free(self):
        return 100

    def others_called(self, ago_s):
        self.heard = ago_s


class MemoryHubSpot:
    """The client's methods. `fates` are used up call by call, then every call is `otherwise`."""

    def __init__(self, first_id: int = 7000):
        self.records: dict[str, Record] = {}
        self.exams: dict[str, dict[str, str]] = {}
        self.links: set[tuple[str, str, str]] = set()
        self.calls: list[tuple[str, list[str]]] = []
        self.slots: list[object] = []
        """The slot of each call."""
        self.fates: deque[Fate] = deque()
        self.otherwise: Fate = "ok"
        self.poison: dict[str, str] = {}
        self.merged: dict[str, str] = {}
        self.waiting: list[Callable[[], None]] = []
        self._next = first_id
        self._clock = 0

    # What the delivery calls.

    async def upsert_bookings(self, slot, rows: Sequence[OutboxRow]) -> list[RowResult]:
        return await self._write(slot, "upsert", rows, self._upsert)

    async def update_bookings(self, slot, rows: Sequence[OutboxRow]) -> list[RowResult]:
        return await self._write(slot, "update", rows, self._update)

    async def link(self, slot, kind, rows: Sequence[OutboxRow]) -> list[RowResult]:
        def link(row: OutboxRow) -> RowResult:
            self.links.add((kind, row.hubspot_id, row.contact_id if kind == "link_contact" else row.exam_id))
            return RowResult(key=row.key, outcome="written")

        return await self._write(slot, kind, rows, link)

    async def update_exams(self, slot, rows: Sequence[OutboxRow]) -> list[RowResult]:
        def update(row: OutboxRow) -> RowResult:
            self.exams.setdefault(row.exam_id, {}).update(row.properties)
            return RowResult(key=row.key, outcome="written", record=self.exam_record(row.exam_id))

        return await self._write(slot, "exams", rows, update)

    async def read_bookings(self, slot, names: Sequence[str], *, by_key: bool) -> list[Record]:
        fate = self._fate(slot, "read", names)
        await slot.close()
        if fate == "portal":
            raise Refused("HubSpot refuses everything")
        if fate != "ok":
            raise Unavailable("HubSpot's answer was lost.")
        held = self.records if by_key else {record.hubspot_id: record for record in self.records.values()}
        return [held[name] for name in names if name in held]

    async def read_exams(self, slot, names: Sequence[str], *, by_key: bool) -> list[Record]:
        fate = self._fate(slot, "read", names)
        await slot.close()
        if fate != "ok":
            raise Unavailable("HubSpot's answer was lost.")
        return [self.exam_record(name) for name in names if name in self.exams]

    def knows(self, kind):
        return True

    async def learn(self, slot, kind):
        await slot.give_back()

    # What a test does.

    def land(self, number: int | None = None) -> None:
        """Let calls that were stuck reach HubSpot now: all, or the oldest so many."""
        stuck, self.waiting = self.waiting[:number], self.waiting[len(self.waiting[:number]) :]
        for call in stuck:
            call()

    def edit(self, key: str, **properties: str) -> Record:
        """What staff does to a record by hand."""
        return self._put(key, properties)

    def merge(self, gone: str, into: str) -> None:
        """What staff does with two records of one thing: the id of the first leads to the second from now on."""
        self.merged[self.records.pop(gone).hubspot_id] = into

    def held(self) -> list[Record]:
        return [r for r in self.records.values() if r.properties.get("is_active") == "Active"]

    def exam_record(self, exam_id: str) -> Record:
        return Record(hubspot_id=exam_id, properties=dict(self.exams[exam_id]), updated_at=self._now())

    # Inside.

    def _fate(self, slot, name: str, keys: Sequence[str]) -> Fate:
        self.calls.append((name, list(keys)))
        self.slots.append(slot)
        return self.fates.popleft() if self.fates else self.otherwise

    async def _write(self, slot, name: str, rows: Sequence[OutboxRow], one) -> list[RowResult]:
        fate = self._fate(slot, name, [row.key for row in rows])
        await slot.close()
        if fate == "down":
            return [
                RowResult(key=row.key, outcome="not_sent", reason="HubSpot could not be reached.") for row in rows
            ]
        if fate == "portal":
            return [RowResult(key=row.key, outcome="portal", reason="a scope is missing") for row in rows]
        if fate == "late":
            self.waiting.append(lambda: [one(row) for row in rows if row.key not in self.poison])
        if fate in ("late", "lost-before"):
            return [RowResult(key=row.key, outcome="unknown", reason="no answer") for row in rows]
        results = [self._refused(row) or one(row) for row in rows]
        if fate == "lost":
            return [RowResult(key=row.key, outcome="unknown", reason="no answer") for row in rows]
        return results

    def _refused(self, row: OutboxRow) -> RowResult | None:
        reason = self.poison.get(row.key) or self.poison.get(row.contact_id or "")
        return None if reason is None else RowResult(key=row.key, outcome="refused", reason=reason)

    def _upsert(self, row: OutboxRow) -> RowResult:
        return RowResult(key=row.key, outcome="written", record=self._put(row.key, row.properties))

    def _update(self, row: OutboxRow) -> RowResult:
        key = next((k for k, r in self.records.items() if r.hubspot_id == row.hubspot_id), None)
        key = key or self.merged.get(row.hubspot_id)
        if key is None:
            return RowResult(key=row.key, outcome="missing", reason="Object not found")
        return RowResult(key=row.key, outcome="written", record=self._put(key, row.properties))

    def _put(self, key: str, properties) -> Record:
        held = self.records.get(key)
        if held is None:
            self._next += 1
        record = Record(
            hubspot_id=held.hubspot_id if held else str(self._next),
            properties={**(held.properties if held else {"booking_id": key}), **properties},
            updated_at=self._now(),
        )
        self.records[key] = record
        return record

    def _now(self) -> datetime:
        # HubSpot's clock has milliseconds; two writes never get the same instant here.
        self._clock += 1
        return datetime.fromtimestamp(1_800_000_000 + self._clock / 1000, UTC)
