"""Runs the HubSpot emulator as a child of ours and asks it what it saw; knows its endpoints, none of its code."""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from lastseat.embedded.folder import Say, silent
from lastseat.embedded.process import Child, spawn_child
from lastseat.errors import SetupError, Unavailable
from lastseat.model import Properties
from lastseat.rehearsal.lines import ask, in_time

START_S: Final = 30.0
POLL_S: Final = 0.05
TOKEN: Final = "pat-demo"  # noqa: S105  the emulator's documented token, worth nothing elsewhere
REQUESTS_LOG: Final = "requests.jsonl"
JOURNAL: Final = "journal.jsonl"


class _Sown(msgspec.Struct):
    ids: dict[str, list[str]]


class _Logged(msgspec.Struct):
    arrived_at: float


class _Health(msgspec.Struct):
    in_flight: int
    landing: int


class Portal:
    """The emulated HubSpot of a stack: its own process, its data in `folder`."""

    def __init__(
        self, folder: Path, *, limit: int, latency_ms: float, faults: str = "", seed: int = 0, say: Say = silent
    ) -> None:
        self.folder = folder
        self.url = ""
        self._flags = {"limit": limit, "latency-ms": latency_ms, "faults": faults, "seed": seed}
        self._say = say
        self._child: Child | None = None
        self._port = 0

    async def start(self) -> None:
        """Start it and wait until it listens; started again, it keeps its port and its data."""
        self._say("Starting the HubSpot emulator …")
        self.folder.mkdir(parents=True, exist_ok=True)
        ready = self.folder / "ready"
        ready.unlink(missing_ok=True)
        flags = [f"--{name}={value}" for name, value in self._flags.items() if value != ""]
        places = [f"--port={self._port}", f"--data={self.folder}", f"--ready-file={ready}"]
        self._child = spawn_child(
            [sys.executable, "-m", "hubspot_emulator", *places, *flags], log_path=self.folder / "emulator.log"
        )
        log_path = self.folder / "emulator.log"
        async with in_time(START_S, "The HubSpot emulator did not start", way_out=f"Its log is {log_path}."):
            while not ready.exists():
                self._refuse_dead(self._child)
                await asyncio.sleep(POLL_S)
        self.url = ready.read_text().strip()
        self._port = urlsplit(self.url).port or 80

    def _refuse_dead(self, child: Child) -> None:
        if child.poll() is not None:
            lines = child.output().strip().splitlines() or ["it said nothing"]
            said = lines[-1].removeprefix("Error: ")
            way_out = "Check the options that were given for HubSpot."
            raise SetupError(f"The HubSpot emulator did not start: {said.rstrip('.')}.", way_out=way_out)

    def stop(self) -> None:
        """End it; what it acknowledged is on disk."""
        if self._child is not None:
            self._child.stop()
            self._child = None

    def kill(self) -> None:
        """End it as kill -9 does; `start()` brings it back."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    async def spoil(self, faults: str, seed: int) -> None:
        """Replace the faults in force; an empty text is good weather. A restart forgets them."""
        await self._control("POST", "faults", {"faults": faults, "seed": seed})

    async def sow(self, objects: Mapping[str, Sequence[Properties]]) -> dict[str, list[str]]:
        """Put records in past all limits; returns their ids by object type, in the order given."""
        sent = {name: [{"properties": one} for one in records] for name, records in objects.items()}
        return msgspec.json.decode(await self._control("POST", "seed", {"objects": sent}), type=_Sown).ids

    async def state(self) -> bytes:
        """Every record it holds, as it says them itself."""
        return await self._control("GET", "state")

    async def settle(self, patience_s: float) -> None:
        """Wait until no call is under way and none is still to land."""
        async with in_time(patience_s, "HubSpot's calls did not end", way_out="Give --patience-s more."):
            while True:
                health = msgspec.json.decode(await self._control("GET", "health"), type=_Health)
                if health.in_flight == health.landing == 0:
                    return
                await asyncio.sleep(POLL_S)

    def log(self, since: float) -> bytes:
        """Its request log from this instant (epoch seconds) on."""
        lines = (self.folder / REQUESTS_LOG).read_bytes().splitlines(keepends=True)
        return b"".join(line for line in lines if msgspec.json.decode(line, type=_Logged).arrived_at >= since)

    def journal(self) -> bytes:
        """Every change it made, by which call, and whether long after its caller had gone."""
        return (self.folder / JOURNAL).read_bytes()

    async def _control(self, method: str, name: str, body: object = None) -> bytes:
        sent = b"" if body is None else msgspec.json.encode(body)
        reply = await ask(self._port, method, f"/_emulator/{name}", body=sent, patience_s=START_S)
        if reply.status != 200:
            raise Unavailable(f"The HubSpot emulator refused {name}: {reply.error or reply.body[:200].decode()}.")
        return reply.body
