"""One JSON line per request, buffered; holds the route's template, never an address, an id of a person or a token."""

import asyncio
import contextlib
import itertools
import logging
import re
import secrets
import sys
import time
from collections.abc import AsyncGenerator, Iterable, Iterator
from datetime import UTC, datetime
from typing import TextIO

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


_ASKED = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_process = secrets.token_hex(4)
_numbers = itertools.count(1)


def request_id(asked: bytes | None) -> str:
    """The caller's own id of a request when it is a plain word, else a new one: this process's name and a number."""
    if asked is not None and _ASKED.fullmatch(asked):
        return asked.decode()
    return f"{_process}{next(_numbers):x}"


# When, request id, method, route, status, seconds.
_Line = tuple[float, str, str, str, int, float]


class AccessLog:
    """Collects lines and writes many at once: a write per request costs more than many a request."""

    def __init__(self) -> None:
        self._lines: list[_Line] = []

    def note(self, request_id: str, method: str, route: str, status: int, took_s: float) -> None:
        """Buffer one line, or do nothing when the log is off. The words are ours or checked: none needs escaping."""
        if not log.isEnabledFor(logging.INFO):
            return
        self._lines.append((time.time(), request_id, method, route, status, took_s))
        if len(self._lines) >= FLUSH_LINES:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if self._lines:
            lines, self._lines = self._lines, []
            log.info("\n".join(_written(lines)))

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


def _written(lines: Iterable[_Line]) -> Iterator[str]:
    known_ms, begin = -1, ""
    for at, request_id, method, route, status, took_s in lines:
        ms = int(at * 1000)
        if ms != known_ms:
            known_ms = ms
            instant = datetime.fromtimestamp(ms // 1000, UTC)
            begin = f'{{"at":"{instant:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}+00:00","request_id":"'
        yield (
            f'{begin}{request_id}","method":"{method}","route":"{route}","status":{status},"ms":{took_s * 1000:.2f}}}'
        )
