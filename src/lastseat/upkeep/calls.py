"""Makes HubSpot calls of one kind: waits for the budget, asks again what was not answered; never repeats a write."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from lastseat.errors import LastseatError, SetupError, Unavailable, Uncertain
from lastseat.ports import RateBudget, Slot
from lastseat.settings import Settings

T = TypeVar("T")
PATIENCE_S = 120.0
"""How long, in all, an outage may last before an operator's command gives up."""


class Calls:
    """Reads that belong together. `made` counts them.

    `patience_s` is what the pauses after failures may last between two successes. With `deadline_s` also waiting
    for the budget ends, that long after the start. `on_wait` hears how long it will wait for calls of its own.
    `begins`: where no server runs, the first call is the one that tells how full HubSpot's window is.
    """

    def __init__(
        self,
        budget: RateBudget,
        settings: Settings,
        kind: str,
        *,
        patience_s: float = PATIENCE_S,
        deadline_s: float | None = None,
        on_wait: Callable[[float], None] | None = None,
        begins: bool = False,
    ) -> None:
        self._budget = budget
        self._settings = settings
        self._kinds = iter((["discover"] if begins else []) + [kind])
        self._kind = next(self._kinds)
        self._patience_s = patience_s
        self._ends_at = None if deadline_s is None else asyncio.get_running_loop().time() + deadline_s
        self._on_wait = on_wait
        self.made = 0

    async def ask(self, call: Callable[[Slot], Awaitable[T]]) -> T:
        """One read; raise Unavailable when HubSpot stays away, SetupError or Refused at once."""

        return await self.patiently(lambda: self.once(call))

    async def once(self, call: Callable[[Slot], Awaitable[T]]) -> T:
        """One call that must not be repeated by itself."""
        slot = await self._slot()
        self._kind = next(self._kinds, self._kind)
        self.made += 1
        return await call(slot)

    async def patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        """Anything that may be done twice, until it is done."""
        pause_s, left_s = self._settings.backoff_first_s, self._patience_s
        while True:
            try:
                return await work()
            except (Unavailable, Uncertain) as error:
                _need_no_hand(error)
                left_s -= pause_s
                if left_s < 0:
                    raise
                self._need_time(pause_s, error)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, self._settings.backoff_most_s)

    async def _slot(self) -> Slot:
        while True:
            granted = await self._budget.reserve(self._kind)
            if not isinstance(granted, int | float):
                return granted
            self._need_time(granted, Unavailable("HubSpot's calls are needed for bookings.", retry_after_s=granted))
            if self._on_wait is not None:
                self._on_wait(granted)
            await asyncio.sleep(granted)

    def _need_time(self, wait_s: float, otherwise: LastseatError) -> None:
        if self._ends_at is not None and asyncio.get_running_loop().time() + wait_s > self._ends_at:
            raise otherwise


def _need_no_hand(error: LastseatError) -> None:
    """A store that only the operator can make answer says how; waiting for it is in vain."""
    way_out: object = getattr(error, "way_out", None)
    if isinstance(way_out, str):
        raise SetupError(f"{error.message.rstrip('.')}.", way_out=way_out) from error
