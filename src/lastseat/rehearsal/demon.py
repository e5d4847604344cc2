"""Carries out a schedule of blows against our own stack and writes down each one; never touches what is not ours."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final

from lastseat.embedded.folder import Say, silent
from lastseat.embedded.part import Part
from lastseat.errors import SetupError, Unavailable
from lastseat.rehearsal.fleet import BACK_S, RESPAWN_S, Fleet, Server
from lastseat.rehearsal.history import Struck
from lastseat.rehearsal.schedule import Blow
from lastseat.rehearsal.stack import LocalStack, in_thread
from lastseat.stores.redis import RedisTrips

HOLDER_S: Final = 20.0
"""How long the demon looks for the relay: a lease that nobody renewed must run out first."""


class Demon:
    """One stack's demon. Blows overlap when their times do, but each part suffers one kill at a time."""

    def __init__(self, stack: LocalStack, fleet: Fleet, *, say: Say = silent) -> None:
        self._stack = stack
        self._fleet = fleet
        self._say = say
        self._turns = {name: asyncio.Semaphore(1) for name in ("postgres", "valkey", "emulator", "weather")}
        self._faults = ("", 0)
        self._began_at = 0.0
        self.struck: list[Struck] = []

    async def rage(self, blows: list[Blow]) -> None:
        """Carry out the whole schedule from now on; returns when every part is back."""
        self._began_at = time.time()
        async with asyncio.TaskGroup() as falling:
            for blow in blows:
                falling.create_task(self._at(blow))

    async def _at(self, blow: Blow) -> None:
        await asyncio.sleep(max(0.0, self._began_at + blow.at_s - time.time()))
        deeds: dict[str, Callable[[Blow], Coroutine[Any, Any, Struck]]] = {
            "server": self._server,
            "relay": self._relay,
            "postgres": self._postgres,
            "valkey": self._valkey,
            "emulator": self._emulator,
            "flush": self._flush,
            "hubspot": self._weather,
            "freeze": self._freeze,
        }
        struck = await deeds[blow.what](blow)
        self.struck.append(struck)
        self._say(f"{struck.at - self._began_at:6.1f} s  {_words(struck)}")

    async def _server(self, blow: Blow) -> Struck:
        server = self._fleet.servers[blow.server or 0]
        async with server.turn:
            at = time.time()
            await server.kill()
            await asyncio.sleep(blow.lasts_s)
            return await self._again(blow, at, server)

    async def _again(self, blow: Blow, at: float, server: Server) -> Struck:
        again_at = time.time()
        await server.start()
        return Struck(what=blow.what, at=at, again_at=again_at, well_at=time.time(), server=server.number)

    async def _relay(self, blow: Blow) -> Struck:
        """Kill the very process that holds the lease; the server brings itself another one, or is started again."""
        until = time.monotonic() + HOLDER_S
        while True:
            server, pid = await self._fleet.relay(self._stack.embedded.postgres_url, until - time.monotonic())
            async with server.turn:
                # Race: while we waited for our turn the process may have ended, and its number may be another's now.
                if not server.owns(pid):
                    continue
                at = time.time()
                os.kill(pid, signal.SIGKILL)
                if await server.back(RESPAWN_S):
                    return Struck(what="relay", at=at, again_at=at, well_at=time.time(), server=server.number)
                await server.kill()
                return await self._again(blow, at, server)

    async def _postgres(self, blow: Blow) -> Struck:
        return await self._part(blow, self._stack.embedded.postgres)

    async def _valkey(self, blow: Blow) -> Struck:
        return await self._part(blow, self._stack.embedded.valkey)

    async def _part(self, blow: Blow, part: Part) -> Struck:
        async with self._turns[blow.what]:
            at, port = time.time(), part.port
            await in_thread(part.kill)
            await asyncio.sleep(blow.lasts_s)
            again_at = time.time()
            await in_thread(part.restart)
            if part.port != port:
                raise SetupError(f"Another program took the port of {part.what}.", way_out="Run the torture again.")
            return Struck(what=blow.what, at=at, again_at=again_at, well_at=time.time())

    async def _emulator(self, blow: Blow) -> Struck:
        portal = self._stack.portal
        async with self._turns["emulator"]:
            at = time.time()
            await in_thread(portal.kill)
            await asyncio.sleep(blow.lasts_s)
            again_at = time.time()
            await portal.start()
            # A restart forgets the faults in force; bad weather goes on.
            await portal.spoil(*self._faults)
            return Struck(what="emulator", at=at, again_at=again_at, well_at=time.time())

    async def _flush(self, blow: Blow) -> Struck:
        at = time.time()
        trips = RedisTrips(self._stack.embedded.redis_url, timeout_s=1.0)
        try:
            await trips.execute("FLUSHALL")
        except Unavailable:
            return Struck(what=blow.what, at=at, note="Redis was away already")
        finally:
            await trips.close()
        return Struck(what=blow.what, at=at)

    async def _weather(self, blow: Blow) -> Struck:
        async with self._turns["weather"]:
            at = time.time()
            await self._spoil(blow.faults, blow.seed)
            await asyncio.sleep(blow.lasts_s)
            await self._spoil("", 0)
            return Struck(what=blow.what, at=at, well_at=time.time(), note=blow.faults)

    async def _spoil(self, faults: str, seed: int) -> None:
        self._faults = (faults, seed)
        # Crash: an emulator that is away hears of it when it comes back.
        with suppress(Unavailable):
            async with self._turns["emulator"]:
                await self._stack.portal.spoil(faults, seed)

    async def _freeze(self, blow: Blow) -> Struck:
        """Stop a server in its tracks until its lease has gone to another, then let it go on."""
        server = self._fleet.servers[blow.server or 0]
        async with server.turn:
            at = time.time()
            server.signal(signal.SIGSTOP)
            try:
                await asyncio.sleep(blow.lasts_s)
            finally:
                server.signal(signal.SIGCONT)
            again_at = time.time()
            if not await server.back(BACK_S):
                raise Unavailable(f"Server {server.number} did not go on after it was frozen.")
            return Struck(what="freeze", at=at, again_at=again_at, well_at=time.time(), server=server.number)

    async def calm(self) -> None:
        """Good weather, and every server answers."""
        await self._spoil("", 0)
        for server in self._fleet.servers:
            async with server.turn:
                if not await server.back(RESPAWN_S):
                    await server.kill()
                    await server.start()


def _words(struck: Struck) -> str:
    where = "" if struck.server is None else f" {struck.server}"
    took = "" if struck.well_at is None else f", well after {struck.well_at - struck.at:.1f} s"
    note = f" ({struck.note})" if struck.note else ""
    return f"{struck.what}{where}{took}{note}"
