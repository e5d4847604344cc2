"""Stand-ins for what the sync's endpoints ask; they ask no store."""

from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from lastseat.model_upkeep import BackfillState, MirroredKind, QueuedKind, RelayState, SyncStatus

AT = datetime(2031, 1, 2, 3, 4, 5, tzinfo=UTC)


class Synced(msgspec.Struct):
    """What the fake sync did."""

    message: str
    synced: int
    archived: int = 0
    rejected: list[object] = []


@dataclass
class FakeStatus:
    """A sync in its best years, unless told what to raise."""

    error: Exception | None = None

    async def look(self) -> SyncStatus:
        if self.error:
            raise self.error
        return SyncStatus(
            at=AT,
            records=[MirroredKind(kind="exams", live=2, archived=1, oldest_synced_at=AT, newest_synced_at=AT)],
            backfill=BackfillState(updated_at=AT, began_at=AT, done=True, passes_done=6, passes=6),
            outbox=[QueuedKind(kind="create", waiting=3, sent=1, oldest_at=AT, attempts_most=2, last_error="no")],
            aside=1,
            relay=RelayState(term=7, held=True, expires_at=AT),
        )
