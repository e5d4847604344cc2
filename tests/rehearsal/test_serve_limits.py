"""`lastseat serve` says to server and system how much to hold: each of its words is missed when it is not said."""

import asyncio
import contextlib
import os
import resource
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lastseat.rehearsal.lines import FILES_MOST, LOOPBACK, ask
from tests.rehearsal.openings import begins
from tests.rehearsal.site_of_fakes import SiteOfFakes

GRANIANS_LEAST = 128  # its backlog, and its places when it is told of no other
STREAMS, BACKLOGGED = 140, 160
MOST = 150
FEW_FILES = 512
PATIENCE_S = 5.0
HARD = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
SAID = {
    "files": FILES_MOST if HARD == resource.RLIM_INFINITY else min(HARD, FILES_MOST),
    "backlog": GRANIANS_LEAST,
    "backpressure": STREAMS,
}


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize(
    ("left_out", "otherwise"),
    [
        ("", {}),
        ("files", {"files": FEW_FILES}),
        ("backlog", {"backlog": BACKLOGGED}),
        ("backpressure", {"backpressure": GRANIANS_LEAST}),
    ],
    ids=["all said", "control: files", "control: backlog", "control: backpressure"],
)
async def test_server_and_system_hold_as_much_as_they_were_told(
    tmp_path: Path, left_out: str, otherwise: dict[str, int]
):
    environment = {
        "LEFT_OUT": left_out,
        "FILES": str(FEW_FILES),
        "LASTSEAT_BACKLOG": str(GRANIANS_LEAST),
        "LASTSEAT_BACKPRESSURE": str(MOST),
        "LASTSEAT_EVENTS_MOST": str(STREAMS),
    }
    site = SiteOfFakes(tmp_path / "site.log", environment)
    try:
        await site.start()
        found = {
            "files": may_open(site.worker),
            "backlog": backlogged(site),
            "backpressure": await streams(site.port, patience_s=1.0 if left_out == "backpressure" else PATIENCE_S),
        }
    finally:
        site.kill()
    assert found == SAID | otherwise


def may_open(process: int) -> int:
    limits = Path(f"/proc/{process}/limits").read_text().splitlines()
    return int(next(line.split()[3] for line in limits if line.startswith("Max open files")))


def backlogged(site: SiteOfFakes) -> int:
    """How many connections the system holds while the process takes none; Linux holds one more than it was told."""
    with contextlib.ExitStack() as held, stopped(site.worker):
        lines = [held.enter_context(socket.socket()) for _ in range(BACKLOGGED)]
        for line in lines:
            line.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                line.connect((LOOPBACK, site.port))
        taken = sum(connected(line) for line in lines)
    return taken - 1 if taken < BACKLOGGED else taken


@contextmanager
def stopped(process: int) -> Iterator[None]:
    os.kill(process, signal.SIGSTOP)
    while any(Path(task, "stat").read_text().rsplit(")")[-1].split()[0] != "T" for task in tasks(process)):
        pass
    yield
    os.kill(process, signal.SIGCONT)


def tasks(process: int) -> Iterator[Path]:
    return Path(f"/proc/{process}/task").iterdir()


def connected(line: socket.socket) -> bool:
    try:
        line.getpeername()
    except OSError:
        return False
    return True


async def streams(port: int, *, patience_s: float) -> int:
    """How many begin."""
    assert (await ask(port, "GET", "/api/health")).status == 200
    writers: list[asyncio.StreamWriter] = []
    begun = await asyncio.gather(*(begins(port, writers, patience_s) for _ in range(STREAMS)))
    for writer in writers:
        writer.close()
    return sum(begun)
