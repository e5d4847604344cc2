"""A server process without a process: everything that `wire.build` builds, stopped or killed at a named step.

A killed one does not tidy up: from that moment on none of its calls leaves, and none of its answers arrives. A paused
one stands still in the same way, and goes on when it is woken.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal

from msgspec.structs import replace

from lastseat import wire
from lastseat.errors import LastseatError, Unavailable, Uncertain
from lastseat.model import OutboxRow
from lastseat.settings import Settings
from lastseat.stores.bulletin import RedisBulletin
from lastseat.stores.gate import GateKeeper
from lastseat.stores.link_memory import RememberingHubSpot
from lastseat.stores.redis import RedisTrips

Moment = Literal["before", "after"]
Strike = Callable[[], Awaitable[None]]
STEPS = ("admit", "claim", "write", "mirror", "announce", "link")
STEP_OF_FUNCTION = {
    "claim": "claim",
    "cancel": "claim",
    "move_booking": "claim",
    "change_exam": "claim",
    "settle": "mirror",
}
NO_STEP = {
    "send": "the mark before the call: whoever dies before `write` dies after it; tests/fault/test_relay.py loses it",
    "announced": "the mark after `announce`: whoever dies after that step dies before it",
    "unannounced": "looks for what was not told; it writes nothing",
    "backlog": "looks for what waits; it writes nothing",
    "warm": "asks for nothing before anybody asks, and writes nothing: tests/live/test_warmth.py",
    "take_lease": "no request waits for it: tests/fault/test_relay.py",
    "release_lease": "no request waits for it: tests/fault/test_relay.py",
    "to_verify": "the second look is no step of a request: tests/fault/test_verify.py",
    "verified": "the second look is no step of a request: tests/fault/test_verify.py",
    "mirror": "what an operator brings by hand: tests/upkeep/test_force_sync.py",
    "mirror_page": "what an operator brings by hand: tests/upkeep/test_backfill.py",
    "save_cursor": "what an operator brings by hand: tests/upkeep/test_backfill.py",
    "retry_aside": "staff's second try of one row: tests/fault/test_aside.py",
    "housekeep": "forgets what has ended: tests/fault/test_housekeeping.py",
    "recount": "an operator's after a change by hand: tests/fault/test_housekeeping.py",
    "some_exams": "a sample for the checks at run time; it writes nothing",
}
"""Why a function that Postgres calls volatile is struck at no step."""


class Process:
    """One server process in this one. `strikes[step, moment]` happens once, when that step is met."""

    def __init__(self, settings: Settings, monkeypatch: Any):
        self.strikes: dict[tuple[str, Moment], Strike] = {}
        self.met: list[tuple[str, Moment]] = []
        self.dead = False
        self.rows: Sequence[OutboxRow] = ()
        self.poisoned: set[str] = set()
        self.loses: str | None = None
        self._postgres_back_at = 0.0
        self._runs = asyncio.Event()
        self._runs.set()
        self._over = asyncio.Event()
        self._database: Any = None
        with monkeypatch.context() as patched:
            for name, ours in self._ports(settings).items():
                patched.setattr(wire, name, ours)
            self.services = wire.build(settings)
        self._life = contextlib.AsyncExitStack()

    async def start(self) -> "Process":
        await self._life.enter_async_context(self.services.lifespan())
        return self

    async def stop(self) -> None:
        """An orderly end; for a killed one the end of its remains, long after it mattered."""
        self._over.set()
        self._runs.set()
        await self._life.aclose()

    def kill(self) -> None:
        self.dead = True
        self._runs.clear()

    def pause(self) -> None:
        self._runs.clear()

    def wake(self) -> None:
        self._runs.set()

    @property
    def paused(self) -> bool:
        return not self._runs.is_set()

    async def alive(self) -> None:
        """Stand still while paused, and for ever when dead."""
        await self._runs.wait()
        if self.dead or self._over.is_set():
            raise Unavailable("this process has ended")

    def away_for(self, seconds: float) -> None:
        """Postgres cannot be reached for so long."""
        self._postgres_back_at = asyncio.get_running_loop().time() + seconds

    def spoilt(self, rows: "Sequence[OutboxRow]") -> "list[OutboxRow]":
        """The rows, the poisoned ones with a value that HubSpot does not take."""
        return [
            replace(row, properties={**row.properties, "exam_date": "soon"}) if row.key in self.poisoned else row
            for row in rows
        ]

    def lost(self, step: str | None, error: type[LastseatError]) -> None:
        """Raise instead of an answer, once, if the reply of this step is to be lost."""
        if step is not None and self.loses == step:
            self.loses = None
            raise error("the reply was lost")

    async def at(self, step: str | None, moment: Moment) -> None:
        if step is not None:
            self.met.append((step, moment))
            strike = self.strikes.pop((step, moment), None)
            if strike is not None:
                await strike()
        await self.alive()

    async def through(self, step: str | None, work: Callable[[], Awaitable[Any]]) -> Any:
        await self.at(step, "before")
        answer = await work()
        await self.at(step, "after")
        return answer

    def _ports(self, settings: Settings) -> dict[str, Any]:
        process, database_of = self, wire.database_of

        class Database:
            def __init__(self):
                self._inner = database_of(settings)
                self.name = self._inner.name

            async def call(self, function: str, args: bytes) -> bytes:
                step = STEP_OF_FUNCTION.get(function)

                async def reached() -> bytes:
                    if asyncio.get_running_loop().time() < process._postgres_back_at:
                        raise Unavailable("Postgres cannot be reached")
                    return await self._inner.call(function, args)

                answer = await process.through(step, reached)
                process.lost(step, Uncertain)
                return answer

            async def close(self) -> None:
                await self._inner.close()

        class Trips(RedisTrips):
            async def execute(self, *command):
                reply = await process.through(None, lambda: super(Trips, self).execute(*command))
                process.lost("admit" if command[0] == "MGET" else None, Unavailable)
                return reply

            async def script(self, name, keys, args):
                reply = await process.through(None, lambda: super(Trips, self).script(name, keys, args))
                process.lost(name, Unavailable)
                return reply

        class Keeper(GateKeeper):
            async def look(self, exam_id):
                return await process.through("admit", lambda: super(Keeper, self).look(exam_id))

        class Bulletin(RedisBulletin):
            async def announce(self, news):
                step = "announce" if news.outcomes else None
                return await process.through(step, lambda: super(Bulletin, self).announce(news))

        return {
            "database_of": lambda _: Database(),
            "RedisTrips": Trips,
            "GateKeeper": Keeper,
            "RedisBulletin": Bulletin,
            "RememberingHubSpot": _hooked_hubspot(process),
            "_rest_the_collector": lambda: None,
        }


def _hooked_hubspot(process: Process) -> type[RememberingHubSpot]:
    class HubSpot(RememberingHubSpot):
        async def upsert_bookings(self, slot, rows):
            process.rows = rows
            upsert = super().upsert_bookings
            return await process.through("write", lambda: upsert(slot, process.spoilt(rows)))

        async def update_bookings(self, slot, rows):
            process.rows = rows
            update = super().update_bookings
            return await process.through("write", lambda: update(slot, process.spoilt(rows)))

        async def update_exams(self, slot, rows):
            step = "link" if rows[0].kind == "count" else "write"
            process.rows = rows
            update = super().update_exams
            return await process.through(step, lambda: update(slot, process.spoilt(rows)))

        async def link(self, slot, kind, rows):
            process.rows = rows
            return await process.through("link", lambda: super(HubSpot, self).link(slot, kind, rows))

        async def upsert_exams(self, slot, rows):
            return await process.through("write", lambda: super(HubSpot, self).upsert_exams(slot, rows))

        async def _call(self, *args):
            return await process.through(None, lambda: super(HubSpot, self)._call(*args))

    return HubSpot
