"""Readers, writers and deletes interleaved as planned, and what was seen; judges by start and end only."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from lastseat.errors import Unavailable
from lastseat.model import Announcement, ContactId
from lastseat.stores.keys import bookings_of
from lastseat.stores.redis import RedisTrips
from tests.fault.proxy import Proxy
from tests.reads.conftest import Process
from tests.reads.waiting import until

_contacts = itertools.count(1)


@dataclass(frozen=True)
class Act:
    """One actor. Delays in milliseconds: before it starts, then before and after its one look at the truth."""

    kind: Literal["read", "write", "foreign del", "flush", "cut", "mend", "away", "back"]
    process: int = 0
    starts_ms: float = 0
    first_ms: float = 0
    then_ms: float = 0


@dataclass(frozen=True)
class Seen:
    began_at: float
    ended_at: float
    version: int
    process: int = 0


@dataclass
class History:
    reads: list[Seen] = field(default_factory=list)
    writes: list[Seen] = field(default_factory=list)

    def steps_back(self) -> list[tuple[Seen, Seen]]:
        """Reads that began after another had ended, and showed something older."""
        pairs = itertools.product(self.reads, self.reads)
        return [(a, b) for a, b in pairs if a.ended_at < b.began_at and b.version < a.version]

    def of(self, process: int) -> "History":
        """What one process read and wrote."""
        return History(
            [read for read in self.reads if read.process == process],
            [write for write in self.writes if write.process == process],
        )

    def missed_writes(self) -> list[tuple[Seen, Seen]]:
        """Reads that began after a write was answered, and do not show it."""
        pairs = itertools.product(self.writes, self.reads)
        return [(w, r) for w, r in pairs if w.ended_at < r.began_at and r.version < w.version]


class Play:
    """One student's view, read and changed by several processes."""

    def __init__(
        self, processes: Sequence[Process], foreign: RedisTrips, *, scale: float = 1.0, proxy: Proxy | None = None
    ) -> None:
        """`proxy` is the second process's way to Redis, to cut and mend."""
        self._proxy = proxy
        self._processes = processes
        self._foreign = foreign
        self._scale = scale
        self._contact = ContactId(f"contact-{next(_contacts)}")
        self._truth = 0
        self._away = self._was_away = False
        self._history = History()

    async def run(self, acts: Sequence[Act]) -> History:
        for process in self._processes:  # connected, so that the acts happen when they are planned
            with contextlib.suppress(Unavailable):
                await process.trips.execute("PING")
        await asyncio.gather(*(self._act(act) for act in acts))
        return self._history

    async def _pause(self, ms: float) -> None:
        if ms:
            await asyncio.sleep(ms * self._scale / 1000)

    async def _act(self, act: Act) -> None:
        await self._pause(act.starts_ms)
        process = self._processes[act.process]
        began_at = time.perf_counter()
        match act.kind:
            case "read":
                try:
                    view = await process.views.bookings(self._contact, self._fill(act))
                except Unavailable:
                    assert self._was_away
                    return
                self._history.reads.append(Seen(began_at, time.perf_counter(), int(view.body), act.process))
            case "write":
                self._truth += 1
                version = self._truth
                await self._pause(act.first_ms)
                await process.bulletin.announce(Announcement(contacts=[self._contact]))
                self._history.writes.append(Seen(began_at, time.perf_counter(), version, act.process))
            case "foreign del":
                await self._foreign.execute("DEL", bookings_of(self._contact))
            case "flush":
                await self._foreign.execute("FLUSHALL")
            case "away" | "back":
                self._away = act.kind == "away"
                self._was_away |= self._away
            case "cut":
                await self._way(act).refuse()
            case "mend":
                await self._way(act).mend()
                await until(lambda: process.trips.execute("PING"))

    def _way(self, act: Act) -> Proxy:
        assert self._proxy is not None
        assert act.process == 1
        return self._proxy

    def _fill(self, act: Act) -> Callable[[], object]:
        async def fill() -> bytes:
            await self._pause(act.first_ms)
            snapshot = self._truth
            await self._pause(act.then_ms)
            if self._away:
                raise Unavailable("Supabase is away")
            return b"%d" % snapshot

        return fill
