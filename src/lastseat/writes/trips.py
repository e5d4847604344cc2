"""Carries one batch from `sent` to `announced`: deliver, settle, tell; never takes a batch or a lease by itself."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from lastseat.errors import LastseatError, LeaseLost, Refused
from lastseat.model import Announcement, OutboxKind, OutboxRow, Record, RowResult, Settlement
from lastseat.ports import Bulletin, RelayLedger, Slot
from lastseat.settings import Settings
from lastseat.writes.settling import Settling, apart

VERIFY = "verify"
ANNOUNCE = "announce"
log = logging.getLogger(__name__)


class Deliverer(Protocol):
    """What is needed of `writes.delivery`: batches brought to HubSpot, and a look at what it holds."""

    async def deliver(
        self, kind: OutboxKind, slot: Slot, rows: Sequence[OutboxRow], may_start: Callable[[], bool]
    ) -> list[RowResult]: ...

    async def look(self, slot: Slot, rows: Sequence[OutboxRow]) -> dict[str, Record]: ...

    async def prepare(self, may_start: Callable[[], bool]) -> str | None:
        """Learn what the first booking would otherwise wait for; say why something is still unknown."""
        ...


class Trips:
    """What a relay does with a batch, once it holds the lease. `holds(term)`: it still does."""

    def __init__(
        self,
        *,
        ledger: RelayLedger,
        delivery: Deliverer,
        bulletin: Bulletin,
        settings: Settings,
        holds: Callable[[int], bool],
    ) -> None:
        self._ledger = ledger
        self._delivery = delivery
        self._bulletin = bulletin
        self._settings = settings
        self._holds = holds
        self.settling = Settling(settings)

    async def deliver(
        self, term: int, kind: OutboxKind, slot: Slot, rows: Sequence[OutboxRow], may_start: Callable[[], bool]
    ) -> None:
        """One batch to its end. Crash: wherever this stops, the rows are still in the outbox."""
        results = await self._delivery.deliver(kind, slot, rows, may_start)
        await self._conclude(term, self.settling.of(rows, results, _now()))

    async def verify(self, term: int, slot: Slot, rows: Sequence[OutboxRow]) -> None:
        """A stuck call may have landed after its read-back: read again, and let the ledger compare."""
        try:
            found = await self._delivery.look(slot, rows)
        except LastseatError as error:
            # Limit: looking again must not eat the calls of an outage.
            self.settling.failed(VERIFY, _now(), away=error.message)
            raise
        await self._compare(term, [(row, found.get(row.key)) for row in rows])
        self.settling.heard(VERIFY)

    async def tell_what_was_mirrored(self, term: int) -> None:
        """Crash: a relay that ended between mirror and announce left these; told twice is harmless.

        Nor were those told whom Redis could not reach. Limit: it is asked with back-off; this process has heard.
        """
        while self.settling.pauses_s(ANNOUNCE, _now()) == 0:
            news, told = await self._ledger.unannounced(term)
            if not told or not await self._announce(term, news, told):
                return

    async def _conclude(self, term: int, settlement: Settlement) -> None:
        try:
            news, told = await self._persist(term, settlement)
        except Refused as refusal:
            parts = apart(settlement, refusal.message, self._settings.backoff_most_s)
            if not parts:
                raise
            for part in parts:
                await self._conclude(term, part)
            return
        await self._announce(term, news, told)

    async def _persist(self, term: int, settlement: Settlement) -> tuple[Announcement, list[int]]:
        """HubSpot has spoken; try until Supabase has heard it, or refuses it, or the lease is over."""
        while True:
            try:
                return await self._ledger.settle(term, settlement)
            except (LeaseLost, Refused):
                raise
            except LastseatError:
                if not self._holds(term):
                    raise
                await asyncio.sleep(self._settings.relay_poll_alone_s)

    async def _compare(self, term: int, found: Sequence[tuple[OutboxRow, Record | None]]) -> None:
        try:
            news, told = await self._ledger.verified(term, found)
        except Refused as refusal:
            if len(found) > 1:
                for one in found:
                    await self._compare(term, [one])
                return
            row, record = found[0]
            if record is None:
                raise
            log.warning("relay: row %d cannot be compared: %s", row.outbox_id, refusal.message)
            news, told = await self._ledger.verified(term, [(row, None)])
        await self._announce(term, news, told)

    async def _announce(self, term: int, news: Announcement, told: list[int]) -> bool:
        """Crash: rows that Redis was not told of stay `mirrored`, for this relay or its successor to tell."""
        if not await self._bulletin.announce(news):
            self.settling.stumbled(ANNOUNCE, _now())
            return False
        self.settling.heard(ANNOUNCE)
        if told:
            await self._ledger.announced(term, told)
        return True


def _now() -> float:
    return asyncio.get_running_loop().time()
