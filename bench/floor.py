"""The floor that reads are measured against: fixed bytes by raw ASGI on the same server; decides nothing.

`floors(sizes)` runs one server per size, each with the settings of `lastseat serve`.
"""

import asyncio
import contextlib
import os
import sys
from pathlib import Path

from load import up

from lastseat.embedded.ports import free_port

BODY = b"x" * int(os.environ.get("FLOOR_BYTES", "0"))
HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())]


async def app(scope, receive, send):
    """The least that a Python application can do."""
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})


@contextlib.asynccontextmanager
async def floors(sizes):
    """Servers by name: {name: (port, pid)} for {name: bytes}."""
    async with contextlib.AsyncExitStack() as opened:
        yield {name: await opened.enter_async_context(_floor(size)) for name, size in sizes.items()}


@contextlib.asynccontextmanager
async def _floor(size):
    port = free_port()
    options = ["--interface", "asgi", "--port", str(port), "--workers", "1", "--loop", "uvloop", "--http", "1"]
    options += ["--no-ws", "--log-level", "warning", "--backlog", "16384", "--backpressure", "16384"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "granian", *options, "floor:app"),
        cwd=Path(__file__).parent,
        env={**os.environ, "FLOOR_BYTES": str(size)},
    )
    try:
        await up(port, "/")
        yield port, process.pid
    finally:
        process.terminate()
        await process.wait()
