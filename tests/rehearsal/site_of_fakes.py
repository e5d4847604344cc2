"""A server process as `lastseat serve` sets it up, over fakes whose seats change when asked; not the service.

Run as a module. LEFT_OUT names the guards that it goes without, FILES how many files it may open at first.
"""

import os
import resource
import socket
import sys
from pathlib import Path
from typing import Any

from lastseat.cli import serving
from lastseat.embedded.ports import free_port
from lastseat.model import ExamId, Gate
from lastseat.rehearsal.lines import FILES_MOST
from lastseat.rehearsal.site import Site
from lastseat.settings import load
from lastseat.web import events, listening
from lastseat.web.app import create_app
from tests.house.rules import ROOT
from tests.web.fakes import World

EXAMS = 4_000
CHANGE = "/change"


class SiteOfFakes(Site):
    """Needs no store."""

    def __init__(self, log_path: Path, environment: dict[str, str]) -> None:
        environment = {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}", **environment}
        super().__init__(environment, log_path=log_path, processes=1, port=free_port())

    def _command(self) -> list[str]:
        return [sys.executable, "-m", __name__]

    @property
    def worker(self) -> int:
        """The one process that serves."""
        (worker,) = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return int(worker)


def app() -> Any:
    """Each change makes a frame of half a megabyte: one or two fill what the server holds for a reader."""
    world = World()
    inner = create_app(world.services())
    world.live.gates = seats(1)[:1]

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] == CHANGE:
            world.live.gates = seats(world.live.gates[0].version + 1)
            world.live.change(*world.live.gates)
        await inner(scope, receive, send)

    return asgi


def seats(version: int) -> list[Gate]:
    taken = version % 20
    return [
        Gate(
            exam_id=ExamId(str(10_000 + number)),
            version=version,
            capacity=20,
            taken=taken,
            remaining=20 - taken,
            open=True,
        )
        for number in range(EXAMS)
    ]


def leave_out(guards: str) -> None:
    """Do as before there were these guards."""
    if "count" in guards:
        events._await_end = _free_at_once
    if "files" in guards:
        serving.raise_file_limit = lambda: FILES_MOST
    limit = (lambda port, _: len(at(port))) if "limit" in guards else listening.limit
    listening.limit = lambda port, ms: hold_little(port) or limit(port, ms)


def hold_little(port: int) -> None:
    """The system would hold megabytes for each reader."""
    for handle in at(port):
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)


def at(port: int) -> list[socket.socket]:
    return [handle for handle in listening._sockets() if handle.getsockname()[1] == port]


def _free_at_once(_: Any, leaving: Any, place: Any) -> None:
    leaving.cancel()
    place.give_back()


def serve(left_out: str, files: int) -> None:
    leave_out(left_out)
    if files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    made = serving.Granian

    def granian(_: str, **told: Any) -> Any:
        kept = {name: value for name, value in told.items() if name not in left_out}
        return made("tests.rehearsal.site_of_fakes:app", **kept)

    serving.Granian = granian
    serving._serve(load(), serving.Stores(None, {}))


if __name__ == "__main__":
    serve(os.environ.get("LEFT_OUT", ""), int(os.environ.get("FILES", "0")))
