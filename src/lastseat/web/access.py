"""Notes answers, to count them and write a JSON line for each, many at once; holds no address, person or token."""

import asyncio
import contextlib
import itertools
import logging
import re
import secrets
import sys
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import cache
from typing import TextIO

FLUSH_S = 0.5
FLUSH_LINES = 500

log = logging.getLogger("lastseat.access")
_faults = logging.getLogger("lastseat.web")


def switch_on(stream: TextIO | None = None) -> None:
    """Write the access log to `stream` (standard error by default); without this call there is none."""
    writer = logging.StreamHandler(stream or sys.stderr)
    writer.setFormatter(logging.Formatter("%(message)s"))
    log.handlers = [writer]
    log.setLevel(logging.INFO)
    log.propagate = False


_ASKED = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_process = secrets.token_hex(4).encode()
_numbers = itertools.count(1)


def request_id(asked: bytes | None) -> bytes:
    """The caller's own id of a request when it is a plain word, else a new one: this process's name and a number."""
    if asked is not None and _ASKED.fullmatch(asked):
        return asked
    return b"%s%x" % (_process, next(_numbers))


What = tuple[str, str, int]
"""An answer's route (the template, never an id), method and status; ours or checked, so none needs escaping."""
Count = Callable[[What, list[float]], None]
# When it began and ended, on the process's clock; request id.
_Line = tuple[float, float, bytes, What]


class AccessLog:
    """Keeps what was answered until there is more of it: done at once, this would cost more than many an answer."""

    def __init__(self, count: Count) -> None:
        """`count` hears the seconds of all answers of a kind, also when no log is written."""
        self._count = count
        self._lines: list[_Line] = []

    def note(self, request_id: bytes, what: What, began_at: float) -> None:
        """Keep one answer, done now and begun at `began_at` of `time.monotonic()`."""
        lines = self._lines
        lines.append((began_at, time.monotonic(), request_id, what))
        if len(lines) >= FLUSH_LINES:
            self.flush()

    def flush(self) -> None:
        """Count and write what is kept; a fault in that costs these lines and no answer."""
        try:
            self._flush()
        except Exception:  # noqa: BLE001  # the timer goes on, and so does who notes an answer
            _faults.exception("the access log could not be written")

    def _flush(self) -> None:
        lines, self._lines = self._lines, []
        took_s: defaultdict[What, list[float]] = defaultdict(list)
        for began_at, ended_at, _, what in lines:
            took_s[what].append(ended_at - began_at)
        for what, seconds in took_s.items():
            self._count(what, seconds)
        if lines and log.isEnabledFor(logging.INFO):
            log.info(b"\n".join(_written(lines)).decode())

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


def _written(lines: Iterable[_Line]) -> Iterator[bytes]:
    epoch = time.time() - time.monotonic()
    begin = form = b""
    known_ms, known = -1, None
    for began_at, ended_at, request_id, what in lines:
        ms = int((epoch + ended_at) * 1000)
        if ms != known_ms or what is not known:
            if ms != known_ms:
                instant = datetime.fromtimestamp(ms // 1000, UTC)
                begin = f'{{"at":"{instant:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}+00:00","request_id":"'.encode()
            known_ms, known = ms, what
            form = begin + _form(what)
        yield form % (request_id, (ended_at - began_at) * 1000)


@cache
def _form(what: What) -> bytes:
    route, method, status = what
    return f'%b","method":"{method}","route":"{route}","status":{status},"ms":%.2f}}'.encode()
