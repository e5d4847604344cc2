"""Lets a request wait for its own outcome to be announced; never asks a store and never decides."""

import asyncio
from collections import OrderedDict
from collections.abc import Hashable

from lastseat.model import Announcement, Outcome
from lastseat.ports import Bulletin

_REMEMBERED = 2000  # Limit: outcomes kept for those who ask a moment after the announcement.


class Outcomes:
    """Futures by claim id (bookings) and by outbox id (cancels), filled by announcements."""

    def __init__(self, bulletin: Bulletin) -> None:
        self._waiting: dict[Hashable, list[asyncio.Future[Outcome]]] = {}
        self._lately: OrderedDict[Hashable, Outcome] = OrderedDict()
        bulletin.subscribe(self._hear)

    async def wait(self, name: Hashable, seconds: float) -> Outcome | None:
        """The outcome of this claim or cancel, or None when it is not known within `seconds`.

        Race: the announcement may come before the waiter, on the way back from the ledger; lately heard ones count.
        """
        if name in self._lately:
            return self._lately[name]
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(name, []).append(future)
        try:
            async with asyncio.timeout(max(seconds, 0)):
                return await future
        except TimeoutError:
            return None
        finally:
            self._forget(name, future)

    def _hear(self, news: Announcement) -> None:
        for outcome in news.outcomes:
            if outcome.state == "open":
                # A refused booking is tried again: what was heard of it before is no longer so.
                self._lately.pop(outcome.claim_id, None)
                continue
            names: list[Hashable] = []
            if outcome.outbox_id is not None:
                names.append(outcome.outbox_id)
            if outcome.claim_id is not None:
                names.append(outcome.claim_id)
            for name in names:
                self._remember(name, outcome)
                for future in self._waiting.get(name, ()):
                    if not future.done():
                        future.set_result(outcome)

    def _remember(self, name: Hashable, outcome: Outcome) -> None:
        self._lately[name] = outcome
        self._lately.move_to_end(name)
        if len(self._lately) > _REMEMBERED:
            self._lately.popitem(last=False)

    def _forget(self, name: Hashable, future: asyncio.Future[Outcome]) -> None:
        waiting = self._waiting.get(name, [])
        if future in waiting:
            waiting.remove(future)
        if not waiting:
            self._waiting.pop(name, None)
