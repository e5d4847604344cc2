"""Brings records into the mirror and tells everybody; no row of a page can keep its neighbours out."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from lastseat.errors import Refused
from lastseat.model import Announcement, Record
from lastseat.ports import Bulletin, RecordKind, UpkeepLedger
from lastseat.upkeep.calls import Calls

# What a record must have to be of use, by HubSpot's property, and what follows when it has not.
NEEDED: Final[dict[RecordKind, dict[str, str]]] = {
    "exams": {
        "capacity": "has no capacity: nobody can book it",
        "exam_date": "has no exam_date: nobody sees it",
        "start_time": "has no start_time: booking does not end when it starts",
        "is_active": "has no is_active: nobody can book it",
    },
    "contacts": {},
    "bookings": {},  # the exam and the contact may be associations: see linking
}


class Rejected(msgspec.Struct, frozen=True, kw_only=True):
    """A record that was not taken as it is, and why."""

    kind: RecordKind
    id: str
    reason: str


class Overtaken(Refused):
    """Another run goes on from our cursor."""

    def __init__(self) -> None:
        super().__init__("Another `lastseat backfill` was started and goes on from here; this one stops.")


class Intake:
    """Takes records for one actor. `clock` is the database's, as it last said it.

    Whoever reads HubSpot notes the clock before (`read_at`): what the mirror took later than that is not older than
    what was read, and stays.
    """

    def __init__(self, ledger: UpkeepLedger, bulletin: Bulletin, calls: Calls, actor: str, clock: datetime) -> None:
        self._ledger = ledger
        self._bulletin = bulletin
        self._calls = calls
        self._actor = actor
        self.clock = clock

    def faults(self, kind: RecordKind, records: Sequence[Record]) -> list[Rejected]:
        """Values that cannot be read, and what a live record needs and has not."""
        return [
            Rejected(kind=kind, id=record.hubspot_id, reason=reason)
            for record in records
            for reason in [*self._ledger.faults(kind, record), *missing(kind, record)]
        ]

    async def take(
        self,
        kind: RecordKind,
        records: Sequence[Record],
        read_at: datetime,
        cursor: tuple[str, object] | None = None,
    ) -> None:
        """Mirror, keep the cursor, announce; raise Refused when the database takes no such values."""
        taken = await self._calls.patiently(
            lambda: self._ledger.take(kind, records, actor=self._actor, read_at=read_at, cursor=cursor)
        )
        self.clock = taken.now
        if taken.overtaken:
            raise Overtaken
        if taken.news != Announcement():
            await self._bulletin.announce(taken.news)

    async def take_each(self, kind: RecordKind, records: Sequence[Record], read_at: datetime) -> list[Rejected]:
        """Mirror what can be, each for itself; return what the database refused."""
        rejected: list[Rejected] = []
        for record in records:
            try:
                await self.take(kind, [record], read_at)
            except Refused as error:
                rejected.append(Rejected(kind=kind, id=record.hubspot_id, reason=error.message))
        return rejected


def missing(kind: RecordKind, record: Record) -> list[str]:
    """What a live record of this kind needs and has not."""
    if record.archived:
        return []
    return [reason for name, reason in NEEDED[kind].items() if is_empty(record, name)]


def is_empty(record: Record, name: str) -> bool:
    """HubSpot: unset is null, absent or empty text; which one is not documented (2026)."""
    return not (record.properties.get(name) or "").strip()
