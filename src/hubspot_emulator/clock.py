"""The one source of time, so that a test can inject its own; never read the system clock elsewhere."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime


class Clock:
    """Epoch seconds that never go backwards, and a sleep that follows them."""

    def __init__(self) -> None:
        # A stepped system clock must not empty or fill the rolling window.
        self._offset_s = time.time() - time.monotonic()

    def now(self) -> float:
        """Epoch seconds."""
        return time.monotonic() + self._offset_s

    async def sleep(self, delay_s: float) -> None:
        """Wait for `delay_s` seconds of this clock."""
        await asyncio.sleep(delay_s)

    @asynccontextmanager
    async def limit(self, delay_s: float) -> AsyncGenerator[None]:
        """End the block with TimeoutError once it has taken `delay_s` seconds of this clock."""
        async with asyncio.timeout(None) as limit:
            alarm = asyncio.get_running_loop().create_task(self._alarm(limit, delay_s))
            try:
                yield
            finally:
                alarm.cancel()

    async def _alarm(self, limit: asyncio.Timeout, delay_s: float) -> None:
        await self.sleep(delay_s)
        limit.reschedule(asyncio.get_running_loop().time())


def iso(at: float) -> str:
    """Epoch seconds as HubSpot writes an instant: `2026-03-05T14:00:00.123Z`."""
    moment = datetime.fromtimestamp(int(at * 1000) / 1000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
