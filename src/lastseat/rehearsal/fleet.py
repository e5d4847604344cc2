"""Several servers of one stack, each on a port of its own, so that each can be killed alone; touches no other."""

import asyncio
import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from lastseat.embedded.folder import Say, silent
from lastseat.errors import LastseatError, Unavailable
from lastseat.rehearsal.history import SERVER_LOGS
from lastseat.rehearsal.lines import ask
from lastseat.rehearsal.site import Site
from lastseat.rehearsal.stack import in_thread
from lastseat.stores.dump import ledger_view

BACK_S: Final = 60.0
RESPAWN_S: Final = 10.0
POLL_S: Final = 0.1
PAUSE_S: Final = 0.5
ANSWERS_S: Final = 1.0


class Server:
    """One server: a process that serves, and one that keeps it alive. `turn` is held by who does something to it."""

    def __init__(self, number: int, environment: Mapping[str, str], folder: Path) -> None:
        self.number = number
        self.turn = asyncio.Semaphore(1)
        self._environment = environment
        self._log_path = folder / SERVER_LOGS.format(number)
        self.site = Site(environment, log_path=self._log_path, processes=1, port=None)

    @property
    def port(self) -> int:
        """Where it answers; the same after a restart."""
        return self.site.port

    async def start(self) -> None:
        """Start it, again and again as a supervisor would: it refuses to start while its Postgres is away."""
        if self.site.port:
            self.site = Site(self._environment, log_path=self._log_path, processes=1, port=self.site.port)
        until = time.monotonic() + BACK_S
        while True:
            try:
                return await self.site.start()
            except (LastseatError, TimeoutError):
                if time.monotonic() > until:
                    raise
                await in_thread(self.site.kill)
                await asyncio.sleep(PAUSE_S)

    async def kill(self) -> None:
        """End all its processes as kill -9 does."""
        await in_thread(self.site.kill)

    async def back(self, patience_s: float) -> bool:
        """Whether it answers within this time."""
        until = time.monotonic() + patience_s
        while time.monotonic() < until:
            reply = await ask(self.port, "GET", "/api/health", patience_s=ANSWERS_S)
            if reply.status == 200:
                return True
            await asyncio.sleep(POLL_S)
        return False

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all its processes."""
        with suppress(ProcessLookupError, AssertionError):
            os.killpg(self.site.pid, number)

    def owns(self, pid: int) -> bool:
        """Whether this process is one of this server's."""
        try:
            return os.getpgid(pid) == self.site.pid
        except (ProcessLookupError, AssertionError):
            return False


class Fleet:
    """All servers of a stack."""

    def __init__(self, count: int, environment: Mapping[str, str], folder: Path, *, say: Say = silent) -> None:
        self.servers = [Server(number, environment, folder) for number in range(count)]
        self._say = say

    @property
    def ports(self) -> list[int]:
        """Where they answer."""
        return [server.port for server in self.servers]

    async def start(self) -> None:
        """Start all of them."""
        self._say(f"Starting {len(self.servers)} servers …")
        for server in self.servers:
            await server.start()

    def stop(self) -> None:
        """Stop all of them in order."""
        for server in self.servers:
            server.signal(signal.SIGCONT)
            server.site.stop()

    async def relay(self, postgres_url: str, patience_s: float) -> tuple[Server, int]:
        """The server whose process holds the relay's lease, and that process; raise Unavailable when none does."""
        until = time.monotonic() + patience_s
        while time.monotonic() < until:
            with suppress(LastseatError):
                pid = await _holder(postgres_url)
                found = next((server for server in self.servers if pid and server.owns(pid)), None)
                if found is not None and pid is not None:
                    return found, pid
            await asyncio.sleep(POLL_S)
        raise Unavailable(f"No server of ours held the relay's lease within {patience_s:g} s.")


async def _holder(postgres_url: str) -> int | None:
    """The process that the lease names, while the lease lives."""
    async with ledger_view(postgres_url) as view:
        holder = await view.lease_holder()
    name = (holder or "").partition("-")[0]
    return int(name) if name.isdigit() else None
