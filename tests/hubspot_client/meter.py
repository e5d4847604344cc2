"""HubSpot's rolling limit as the budget meets it: counts arrivals, refuses the one too many, tells its headers."""

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

LOOK_S = 0.005


class Meter:
    """`calls` arrivals per `window_s`, hard."""

    def __init__(self, calls: int, window_s: float, *, latency_s: float = 0.02, jitter_s: float = 0.0) -> None:
        self.calls = calls
        self.window_s = window_s
        self.latency_s = latency_s
        self.jitter_s = jitter_s
        self.arrivals: deque[float] = deque()
        self.refused = 0
        self.accepted = 0
        self.dice = random.Random(7)

    def arrive(self) -> tuple[int, dict[str, str]]:
        """One call arrives: its status and headers."""
        now = asyncio.get_running_loop().time()
        while self.arrivals and self.arrivals[0] <= now - self.window_s:
            self.arrivals.popleft()
        if len(self.arrivals) >= self.calls:
            self.refused += 1
            return 429, self._headers() | {"policy-name": "TEN_SECONDLY_ROLLING"}
        self.arrivals.append(now)
        self.accepted += 1
        return 200, self._headers()

    def _headers(self) -> dict[str, str]:
        return {
            "x-hubspot-ratelimit-max": str(self.calls),
            "x-hubspot-ratelimit-remaining": str(self.calls - len(self.arrivals)),
            "x-hubspot-ratelimit-interval-milliseconds": str(int(self.window_s * 1000)),
        }

    async def call(self, slot) -> int:
        """Make one call with a slot, from send to reply."""
        await asyncio.sleep(self._half())
        status, headers = self.arrive()
        await asyncio.sleep(self._half())
        await slot.close(headers, status)
        return status

    def _half(self) -> float:
        return self.latency_s / 2 + self.dice.uniform(0, self.jitter_s)


async def drive(budget, meter: Meter, kind: str, until: float) -> int:
    """Call whenever the budget allows, until the loop's clock says `until`; how many calls passed."""
    passed, loop = 0, asyncio.get_running_loop()
    while loop.time() < until:
        granted = await budget.reserve(kind)
        if isinstance(granted, int | float):
            await asyncio.sleep(min(granted, 0.02))
        else:
            passed += await meter.call(granted) == 200
    return passed


class Stall:
    """The longest time in which this process, or the store behind `ping`, stood still."""

    most_s = 0.0


@asynccontextmanager
async def stalls(ping: Callable[[], Awaitable[object]]) -> AsyncIterator[Stall]:
    """Measure it meanwhile."""
    loop, stall = asyncio.get_running_loop(), Stall()

    async def look() -> None:
        while True:
            began_at = loop.time()
            await asyncio.sleep(LOOK_S)
            await ping()
            stall.most_s = max(stall.most_s, loop.time() - began_at - LOOK_S)

    task = asyncio.create_task(look())
    try:
        yield stall
    finally:
        task.cancel()
        await asyncio.wait([task])
