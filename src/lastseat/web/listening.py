"""Has the system end connections whose peers take nothing or are gone; never opens, reads or closes one itself.

A server cannot close a connection while what it wrote to it waits for the peer: a phone that sleeps would keep its
socket for a quarter of an hour, and with it a place for requests. Connections inherit the limit from their listener.
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Final

from lastseat.settings import Settings

FILES: Final = Path("/proc/self/fd")
OPTION: Final[int | None] = getattr(socket, "TCP_USER_TIMEOUT", None)  # Linux
LOOK_S: Final = 0.1
LOOKS: Final = 100  # Limit: looks for a listener, which the server opens after the application has started
PATIENCE: Final = 3  # times what a stream's reader may take nothing: it has been dropped by then
LEAST_MS, MOST_MS = 1_000, 86_400_000

log = logging.getLogger("lastseat.web")


def silence_ms(settings: Settings) -> int:
    """How long a peer may take nothing of what waits for it."""
    return max(LEAST_MS, min(MOST_MS, int(settings.events_slow_s * PATIENCE * 1000)))


@contextlib.asynccontextmanager
async def letting_go(settings: Settings) -> AsyncGenerator[None]:
    """Limit the listener as soon as it is there; where the system has no such limit, leave everything as it is."""
    task = asyncio.create_task(_limit_soon(settings.port, silence_ms(settings)))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _limit_soon(port: int, ms: int) -> None:
    for _ in range(LOOKS if OPTION is not None and FILES.exists() else 0):
        if limit(port, ms):
            return
        await asyncio.sleep(LOOK_S)
    log.debug("no listener at port %d takes a limit for peers that take nothing", port)


def limit(port: int, ms: int) -> int:
    """Limit what this process has at the port; return how many listeners that were."""
    listeners = 0
    for handle in _sockets():
        with handle, contextlib.suppress(OSError):
            if handle.getsockname()[1] == port and OPTION is not None:
                handle.setsockopt(socket.IPPROTO_TCP, OPTION, ms)  # also where somebody was faster than we
                listeners += handle.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    return listeners


def _sockets() -> Iterator[socket.socket]:
    """Second handles of the server's own, which it shows nobody; closing one leaves the first open."""
    for file in FILES.iterdir():
        with contextlib.suppress(OSError):  # closed since
            copy = os.dup(int(file.name))
            try:
                handle = socket.socket(fileno=copy)
            except OSError:  # no socket
                os.close(copy)
                continue
            if handle.family in (socket.AF_INET, socket.AF_INET6):
                yield handle
            else:
                handle.close()
