"""Says how the mirror, the outbox and the relay stand; changes nothing and asks Supabase at most every 2 s."""

import asyncio
import time
from collections.abc import Callable
from typing import Final, Protocol

from msgspec.structs import replace

from lastseat.model_upkeep import SyncStatus
from lastseat.upkeep.backfill import PASSES

KEPT_S: Final = 2.0  # Limit: whole tables are counted for it; pages that stay open ask again and again.


class StatusLedger(Protocol):
    """The database's own word."""

    async def sync_status(self) -> SyncStatus: ...


class StatusBoard:
    """One answer for all who ask in the same two seconds; who comes while it is asked for waits for it too."""

    def __init__(self, ledger: StatusLedger, *, now: Callable[[], float] = time.monotonic) -> None:
        self._ledger = ledger
        self._now = now
        self._kept: SyncStatus | None = None
        self._kept_until = 0.0
        self._asking: asyncio.Task[SyncStatus] | None = None

    async def look(self) -> SyncStatus:
        """Raise Unavailable while Supabase is away: nothing is kept for then."""
        if self._kept is not None and self._now() < self._kept_until:
            return self._kept
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
            self._asking.add_done_callback(_hear_out)
        return await asyncio.shield(self._asking)

    async def _ask(self) -> SyncStatus:
        try:
            found = await self._ledger.sync_status()
        finally:
            self._asking = None
        if found.backfill is not None:
            found = replace(found, backfill=replace(found.backfill, passes=len(PASSES)))
        self._kept, self._kept_until = found, self._now() + KEPT_S
        return found


def _hear_out(task: asyncio.Task[SyncStatus]) -> None:
    """Whoever asked may have hung up; then nobody else hears of an error."""
    if not task.cancelled():
        task.exception()
