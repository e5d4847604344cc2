"""Counts what each account, and where asked for each address, does in a window, over all processes; stores no name.

A process counts for itself and tells the others by a timer of those that come near a limit, so a request costs no
trip. While Redis is away each process counts alone: a limit gets milder, never stricter.
"""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import AsyncGenerator, Callable
from typing import Final

from lastseat.errors import Refused
from lastseat.ports import Tally
from lastseat.settings import Settings

TELL_S: Final = 0.5
TELL_SHARE: Final = 0.25  # of a process's part of the limit: who did less is not told of
CALLERS_MOST: Final = 100_000  # Limit: callers counted at once; others pass

log = logging.getLogger("lastseat.web")


class Limits:
    """A limit of 0 is none. Windows follow the wall clock, so that all processes mean the same one."""

    def __init__(self, settings: Settings, tally: Tally | None, *, now: Callable[[], float] = time.time) -> None:
        self._window_s = settings.limit_window_s
        self._writes, self._reads = settings.limit_writes, settings.limit_reads
        self._address_reads = settings.limit_address_reads
        self._processes = settings.processes
        self._tally = tally
        self._now = now
        self._window = int(now() // self._window_s)
        self._counts: dict[str, int] = {}
        self._others: dict[str, int] = {}
        self._told: dict[str, int] = {}

    def admit(self, account: str, *, writing: bool) -> None:
        """Count a request of an account; raise Refused TOO_MANY_REQUESTS."""
        limit = self._writes if writing else self._reads
        if limit and self._over(f"{'w' if writing else 'r'}:{account}", limit):
            raise self.refusal()

    def admits_address(self, address: str) -> bool:
        """Count a public read; False beyond the limit."""
        return not self._address_reads or not self._over(address, self._address_reads)

    def admit_public(self, client: tuple[str, int] | None) -> None:
        """The same for who asks the long way; raise Refused TOO_MANY_REQUESTS."""
        if client is not None and not self.admits_address(client[0]):
            raise self.refusal()

    def refusal(self) -> Refused:
        """What is said beyond a limit, with the seconds until the window ends."""
        wait_s = math.ceil(self._window_s - self._now() % self._window_s)
        return Refused(
            "Too many requests; wait a moment.", code="TOO_MANY_REQUESTS", details={"retry_after_s": max(wait_s, 1)}
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Begin new windows and tell the other processes, by a timer."""
        timer = asyncio.create_task(self._keep_telling())
        try:
            yield
        finally:
            timer.cancel()
            await asyncio.wait([timer])

    async def tell(self) -> None:
        """Begin a new window if it is time, and exchange counts with the other processes."""
        window = int(self._now() // self._window_s)
        if window != self._window:
            self._window = window
            self._counts, self._others, self._told = {}, {}, {}
        if self._tally is None:
            return
        mine = {key: count for key, count in self._counts.items() if count >= self._worth_telling(key)}
        news = {key: count - self._told.get(key, 0) for key, count in mine.items()}
        sums = await self._tally.add(window, news, ttl_s=2 * self._window_s)
        if window == self._window and sums:
            self._told.update(mine)
            self._others = {key: total - mine[key] for key, total in sums.items()}

    async def _keep_telling(self) -> None:
        while True:
            await asyncio.sleep(min(TELL_S, self._window_s / 4))
            try:
                await self.tell()
            except Exception:  # a limit that nobody tells of is milder, and that is no reason to end
                log.exception("the limits could not be told")

    def _over(self, key: str, limit: int) -> bool:
        count = self._counts.get(key, 0) + 1
        if count > 1 or len(self._counts) < CALLERS_MOST:
            self._counts[key] = count
        return count + self._others.get(key, 0) > limit

    def _worth_telling(self, key: str) -> float:
        kind = key[:2]
        limit = self._writes if kind == "w:" else self._reads if kind == "r:" else self._address_reads
        return max(1.0, limit / self._processes * TELL_SHARE)
