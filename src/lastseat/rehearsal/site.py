"""Runs `lastseat serve` as a child of ours with a given environment; never serves in this process."""

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from lastseat.embedded.folder import Say, silent
from lastseat.embedded.ports import free_port
from lastseat.embedded.process import Child, bare_environment, spawn_child
from lastseat.errors import SetupError
from lastseat.rehearsal.lines import ask, in_time

START_S: Final = 60.0
POLL_S: Final = 0.1
PORT_TRIES: Final = 5
LISTEN: Final = "0A"
TABLE: Final = Path("/proc/net/tcp")


class Site:
    """The server processes of a stack, on a port of this machine."""

    def __init__(
        self, environment: Mapping[str, str], *, log_path: Path, processes: int, port: int | None, say: Say = silent
    ) -> None:
        self.processes = processes
        self.log_path = log_path
        self._environment = dict(environment)
        self._wanted = port
        self._say = say
        self._child: Child | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """Where a browser finds it."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process whose children serve."""
        assert self._child is not None, "not started"
        return self._child.pid

    async def start(self) -> None:
        """Start it and wait until every process answers."""
        self._say(f"Starting the site with {self.processes} process{'es' if self.processes > 1 else ''} …")
        for _ in range(PORT_TRIES):
            self.port = self._wanted or free_port()
            child = self._child = self._spawn()
            async with in_time(START_S, "The site did not answer", way_out=f"Its log is {self.log_path}."):
                if await self._answers(child):
                    return
            # Race: another program took the free port between our look and the server's bind.
            if self._wanted or "in use" not in child.output():
                break
        raise self._failure()

    def _spawn(self) -> Child:
        settings = {"LASTSEAT_PORT": str(self.port), "LASTSEAT_PROCESSES": str(self.processes)}
        return spawn_child(
            self._command(),
            env={**bare_environment(), **self._environment, **settings},
            log_path=self.log_path,
        )

    def _command(self) -> list[str]:
        return [sys.executable, "-m", "lastseat", "serve"]

    async def _answers(self, child: Child) -> bool:
        """False when the child ended before it served."""
        while child.poll() is None:
            if listeners(self.port) >= self.processes and (await ask(self.port, "GET", "/api/health")).status == 200:
                return True
            await asyncio.sleep(POLL_S)
        return False

    def _failure(self) -> SetupError:
        lines = self._child.output().strip().splitlines() if self._child is not None else []
        said = lines[-1] if lines else "it said nothing."
        return SetupError(f"The site did not start: {said}", way_out=f"Its log is {self.log_path}.")

    def log(self) -> str:
        """What the server processes have written."""
        return self.log_path.read_text(errors="replace")

    def kill(self) -> None:
        """End all its processes as kill -9 does; `start()` brings them back."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def stop(self) -> None:
        """Ask it to end, and see that it does."""
        if self._child is not None:
            self._child.stop()
            self._child = None


def listeners(port: int) -> int:
    """How many sockets of this machine listen on the port; where that cannot be seen, as many as one may want.

    Each server process opens its own: until the last one listens, the first gets all the connections.
    """
    if not TABLE.exists():
        return sys.maxsize
    wanted = f"{port:04X}"
    rows = [line.split() for line in TABLE.read_text().splitlines()[1:]]
    return sum(row[3] == LISTEN and row[1].endswith(f":{wanted}") for row in rows)
