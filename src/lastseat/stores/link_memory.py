"""Keeps the association types that one process discovered for all others; never trusts one that HubSpot refused."""

import logging
from collections.abc import Sequence
from typing import Final, Protocol

import msgspec

from lastseat.errors import LastseatError
from lastseat.model import OutboxKind, OutboxRow, RowResult
from lastseat.ports import Slot
from lastseat.settings import Settings
from lastseat.stores.hubspot import LinkType
from lastseat.stores.hubspot_lists import HubSpotLists

CURSOR: Final = "link_types"
_REFUSED = {"portal", "refused"}

log = logging.getLogger(__name__)


class Memory(Protocol):
    """The part of the cursors that is needed."""

    async def cursor(self, name: str) -> tuple[bytes | None, object]: ...
    async def save_cursor(self, name: str, value: object) -> object: ...


class RememberingHubSpot(HubSpotLists):
    """HubSpot, with association types kept in the ledger, so that a new relay need not ask for them.

    A type with which HubSpot refused every row is doubted: it is learnt anew before the next batch of links. Losing
    the memory costs a call or two, so no failure of it stops a link.
    """

    def __init__(self, settings: Settings, memory: Memory) -> None:
        super().__init__(settings)
        self._memory = memory
        self._doubted: set[str] = set()

    async def recall(self) -> None:
        """Fill in what is unknown here and known in the ledger."""
        try:
            kept, _ = await self._memory.cursor(CURSOR)
            known = msgspec.json.decode(kept, type=dict[str, LinkType]) if kept else {}
        except (LastseatError, msgspec.MsgspecError) as error:
            log.warning("association types are not recalled: %s", error)
            return
        for pair, link_type in known.items():
            self.link_types.setdefault(pair, link_type)

    def knows(self, kind: OutboxKind) -> bool:
        """True when the association type of these links is known and was not refused."""
        return super().knows(kind) and ">".join(self._pair(kind)) not in self._doubted

    async def learn(self, slot: Slot, kind: OutboxKind) -> LinkType:
        """Discover the association type of these links, and keep it."""
        found = await super().learn(slot, kind)
        self._doubted.discard(">".join(self._pair(kind)))
        try:
            await self._memory.save_cursor(CURSOR, self.link_types)
        except LastseatError as error:
            log.warning("association types are not kept: %s", error.message)
        return found

    async def link(self, slot: Slot, kind: OutboxKind, rows: Sequence[OutboxRow]) -> list[RowResult]:
        """Associate, and doubt the type when no row passed with it.

        The type stays in use meanwhile: the batch may be parted to find one bad row among good ones.
        """
        results = await super().link(slot, kind, rows)
        outcomes = {result.outcome for result in results}
        if "written" in outcomes:
            self._doubted.discard(">".join(self._pair(kind)))
        elif outcomes <= _REFUSED:
            self._doubted.add(">".join(self._pair(kind)))
        return results
