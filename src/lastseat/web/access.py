"""Notes answers, to count them and write a JSON line for each, many at once; holds no address, person or token."""

import asyncio
import contextlib
import itertools
import logging
import re
import secrets
import sys
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
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
Count = Callable[[str, str, int, float], None]


class AccessLog:
    """Keeps what was answered until there is more of it: done at once, this would cost more than many an answer."""

    def __init__(self, count: Count) -> None:
        """`count` hears route, method, status and seconds of each, also when no log is written."""
        self._count = count
        self._lines: list[_Line] = []

    def note(self, request_id: str, method: str, route: str, status: int, took_s: float) -> None:
        """Keep one answer. The words are ours or checked: none needs escaping."""
        lines = self._lines
        lines.append((time.time(), request_id, method, route, status, took_s))
        if len(lines) >= FLUSH_LINES:
            self.flush()

    def flush(self) -> None:
        """Count and write what is kept."""
        lines, self._lines = self._lines, []
        for _, _, method, route, status, took_s in lines:
            self._count(route, method, status, took_s)
        if lines and log.isEnabledFor(logging.INFO):
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
    middles: dict[tuple[str, str, int], str] = {}
    for at, request_id, method, route, status, took_s in lines:
        ms = int(at * 1000)
        if ms != known_ms:
            known_ms = ms
            instant = datetime.fromtimestamp(ms // 1000, UTC)
            begin = f'{{"at":"{instant:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}+00:00","request_id":"'
        middle = middles.get((method, route, status))
        if middle is None:
            middle = f'","method":"{method}","route":"{route}","status":{status},"ms":'
            middles[method, route, status] = middle
        yield f"{begin}{request_id}{middle}{took_s * 1000:.2f}}}"
