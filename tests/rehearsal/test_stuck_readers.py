"""A real server goes on answering while readers of live seats take nothing, and gets their places back."""

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lastseat.rehearsal.lines import LOOPBACK, ask, request
from lastseat.settings import load
from lastseat.web.listening import LOOK_S, silence_ms
from tests.rehearsal.site_of_fakes import CHANGE, SiteOfFakes

MOST, PLACES = 8, 12
SLOW_S = 0.3
SILENCE_S = silence_ms(load(events_slow_s=SLOW_S)) / 1000
PATIENCE_S = 5.0
STREAMS = request("GET", "/api/events", port=0)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such limit, and no /proc")


@asynccontextmanager
async def running(tmp_path: Path, *, left_out: str) -> AsyncIterator[int]:
    """The port of a server that has few places."""
    environment = {
        "LEFT_OUT": left_out,
        "LASTSEAT_BACKPRESSURE": str(PLACES),
        "LASTSEAT_EVENTS_MOST": str(MOST),
        "LASTSEAT_EVENTS_SLOW_S": str(SLOW_S),
        "LASTSEAT_EVENTS_TICK_S": "0.01",
    }
    site = SiteOfFakes(tmp_path / "site.log", environment)
    try:
        await site.start()
        await asyncio.sleep(2 * LOOK_S)  # until the listener has its limit
        yield site.port
    finally:
        site.kill()  # it would wait for the readers


async def reader(port: int, held: contextlib.ExitStack) -> int:
    """The status that one who takes nothing more than that gets; 0: nothing came."""
    loop = asyncio.get_running_loop()
    connection = held.enter_context(socket.socket())
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setblocking(False)
    try:
        async with asyncio.timeout(PATIENCE_S):
            await loop.sock_connect(connection, (LOOPBACK, port))
            await loop.sock_sendall(connection, STREAMS)
            status = int((await loop.sock_recv(connection, 12)).split()[1])
    except TimeoutError:
        return 0
    if status != 200:
        connection.close()
    return status


async def figure(port: int, *names: str) -> int:
    """The sum of what /metrics says of them at one moment."""
    text = (await ask(port, "GET", "/metrics")).body.decode()
    starts = tuple(f"lastseat_event_{name}{{" for name in names)
    return sum(int(line.split()[-1]) for line in text.splitlines() if line.startswith(starts))


async def filled(port: int, held: contextlib.ExitStack) -> None:
    """As many stuck readers as may be."""
    assert [await reader(port, held) for _ in range(MOST)] == [200] * MOST


async def pressed(port: int, names: list[str], wanted: int, within_s: float) -> bool:
    """Change seats until the figures are in all as wanted; False when it is not in time."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            while await figure(port, *names) != wanted:
                await ask(port, "GET", CHANGE)
            return True
    return False


@pytest.mark.parametrize("left_out", ["limit", "limit, count"], ids=["counted", "control: not counted"])
async def test_stuck_readers_leave_other_requests_their_places(tmp_path: Path, left_out: str):
    """The system is not asked to end their connections here: it would hide what counting is for."""
    counted = "count" not in left_out
    async with running(tmp_path, left_out=left_out) as port:
        with contextlib.ExitStack() as held:
            await filled(port, held)
            assert await pressed(port, ["dropped_total"], MOST, 20)
            assert not counted or await figure(port, "stuck") == MOST
            more = [await reader(port, held) for _ in range(PLACES - MOST)]
            assert more == [503 if counted else 200] * (PLACES - MOST)
            wait_s = PATIENCE_S if counted else 0.5
            plain = await asyncio.gather(*(ask(port, "GET", "/api/health", patience_s=wait_s) for _ in range(3)))
            assert [reply.status for reply in plain] == [200 if counted else 0] * 3
            if counted:
                await asyncio.sleep(2 * SILENCE_S)
                assert await figure(port, "stuck") == MOST, "control for the next test: by itself none ends"


async def test_the_system_ends_connections_whose_peers_take_nothing(tmp_path: Path):
    async with running(tmp_path, left_out="") as port:
        with contextlib.ExitStack() as held:
            await filled(port, held)
            assert await pressed(port, ["streams", "stuck"], 0, 20)
            assert await reader(port, held) == 200
