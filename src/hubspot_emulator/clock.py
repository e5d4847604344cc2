"""The one source of time, so that a test can inject its own; never read the system clock elsewhere."""

import asyncio
import time
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


def iso(at: float) -> str:
    """Epoch seconds as HubSpot writes an instant: `2026-03-05T14:00:00.123Z`."""
    moment = datetime.fromtimestamp(int(at * 1000) / 1000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
