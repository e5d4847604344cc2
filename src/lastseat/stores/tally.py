"""Adds up over all processes what callers did in a window, in Redis; never names a caller there."""

import hashlib
from collections.abc import Mapping

from lastseat.errors import Unavailable
from lastseat.stores.keys import tally_of
from lastseat.stores.redis import Part, RedisTrips


class RedisTally:
    """Port Tally: one trip for all callers that are worth telling of."""

    def __init__(self, trips: RedisTrips) -> None:
        self._trips = trips

    async def add(self, window: int, counts: Mapping[str, int], *, ttl_s: float) -> dict[str, int]:
        """The sums by key; nothing while Redis is away."""
        if not counts:
            return {}
        args: list[Part] = [round(ttl_s * 1000)]
        for key, count in counts.items():
            args += [hashlib.blake2b(key.encode(), digest_size=12).digest(), count]
        try:
            sums: list[int] = await self._trips.script("tally", [tally_of(window)], args)
        except Unavailable:
            return {}
        return dict(zip(counts, sums, strict=True))
