"""One JSON line per request, buffered; holds the route's template, never an address, an id of a person or a token."""

import asyncio
import contextlib
import logging
import sys
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import TextIO

import msgspec

FLUSH_S = 0.5
FLUSH_LINES = 500

log = logging.getLogger("lastseat.access")


def switch_on(stream: TextIO | None = None) -> None:
    """Write the access log to `stream` (standard error by default); without this call there is none."""
    writer = logging.StreamHandler(stream or sys.stderr)
    writer.setFormatter(logging.Formatter("%(message)s"))
    log.handlers = [writer]
    log.setLevel(logging.INFO)
    log.propagate = False


class AccessLog:
    """Collects lines and writes many at once: a write per request costs more than many a request."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def note(self, *, request_id: str, method: str, route: str, status: int, took_s: float) -> None:
        """Buffer one line, or do nothing when the log is off."""
        if not log.isEnabledFor(logging.INFO):
            return
        line = {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "request_id": request_id,
            "method": method,
            "route": route,
            "status": status,
            "ms": round(took_s * 1000, 2),
        }
        self._lines.append(msgspec.json.encode(line).decode())
        if len(self._lines) >= FLUSH_LINES:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if self._lines:
            lines, self._lines = self._lines, []
            log.info("\n".join(lines))

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Flush twice a second and at the end."""
        timer = asyncio.create_task(self._flush_often())
        try:
            yield
        finally:
            timer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await timer
            self.flush()

    async def _flush_often(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            self.flush()
