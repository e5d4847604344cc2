"""The last body of each view, for when Supabase is away; never an older one than Redis or this process knows.

Copies of another era count as absent, as everything in Redis does: they may be older than what somebody has seen
since, and a view never goes back in time. So after a failover while Supabase is away a process serves what it
remembers, tells Redis of it for the others, and says 503 where it remembers nothing.

Limit: copies are ordered by when their fills began, on the clocks of those who filled them. A reader who asked
Supabase past a lease may have read later than a fill that began after it; only a fill after both sets that right.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

from lastseat.errors import Unavailable
from lastseat.group_commit import GroupCommit
from lastseat.ports import View
from lastseat.stores.keys import last_of
from lastseat.stores.redis import ERA, RedisTrips

MAGIC: Final = b"LS1"
HEADER: Final = 48
REMEMBERED_MOST: Final = 2_000  # Limit: last bodies kept in the process
ASKS: Final = 500  # Limit: readers whose question to Redis is one trip, so that no reply is huge
TRIPS: Final = 8


class LastViews:
    """What this process served last, and the copies in Redis; whichever is younger."""

    def __init__(self, trips: RedisTrips, *, stale_s: float, now: Callable[[], float]) -> None:
        """No body older than `stale_s` is served."""
        self._trips = trips
        self._stale_s = stale_s
        self._now = now
        self._known: OrderedDict[str, View] = OrderedDict()
        self._asks = GroupCommit(self._ask_all, window_s=0, limit=ASKS, trips=TRIPS)

    def remember(self, key: str, view: View) -> None:
        """Keep it, unless a younger one is known.

        Race: who looked first may be served last. A clock that was set back must not keep an old body for ever.
        """
        known = self._known.get(key)
        if known is None or not view.filled_at < known.filled_at <= self._now():
            self._known[key] = view
        self._known.move_to_end(key)
        if len(self._known) > REMEMBERED_MOST:
            self._known.popitem(last=False)

    async def of(self, key: str, *, ask: bool = True) -> View | None:
        """The youngest, marked stale; `ask`: of Redis too, after this call, in one question for all who ask now."""
        last = self._known.get(key)
        if ask:
            try:
                last = await self._asks.submit(key)
            except Unavailable:
                last = self._known.get(key)
        if last is None or self._age_s(last) > self._stale_s:
            return None
        return View(body=last.body, filled_at=last.filled_at, stale=True)

    async def tell(self, key: str, view: View) -> None:
        """Put it where the others find it, unless a younger one is there; an unreachable Redis is no error."""
        ttl_ms = round((self._stale_s - self._age_s(view)) * 1000)
        if ttl_ms <= 0:
            return
        try:
            await self._trips.script("view_last", [last_of(key)], [ERA, filled_ms(view), ttl_ms, view.body])
        except Unavailable:
            return

    async def _ask_all(self, keys: Sequence[str]) -> list[View | None]:
        """One question for each key, however many ask; what Redis has lost it is told first, then it is served."""
        distinct = list(dict.fromkeys(keys))
        values: list[bytes | None] = await self._trips.execute("MGET", *map(last_of, distinct))
        last: dict[str, View] = {}
        untold: dict[str, View] = {}
        for key, value in zip(distinct, values, strict=True):
            kept = self._understood(value)
            if kept is not None:
                self.remember(key, kept)
            known = self._known.get(key)
            if known is not None:
                last[key] = known
                if kept is None or kept.filled_at < known.filled_at:
                    untold[key] = known
        await asyncio.gather(*(self.tell(key, view) for key, view in untold.items()))
        return [last.get(key) for key in keys]

    def _understood(self, value: bytes | None) -> View | None:
        if value is None or not value.startswith(MAGIC + self._trips.era.encode()):
            return None
        moment = value[HEADER - 13 : HEADER]
        if len(moment) != 13 or not moment.isdigit():
            return None
        return View(body=value[HEADER:], filled_at=int(moment) / 1000)

    def _age_s(self, view: View) -> float:
        return self._now() - view.filled_at


def filled_ms(view: View) -> str:
    """When it was filled, as the scripts write it: 13 digits, so that they compare as text."""
    return f"{round(view.filled_at * 1000):013d}"
