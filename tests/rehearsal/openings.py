"""Opens event streams at a real server and tells whether they begin; reads no further."""

import asyncio

from lastseat.rehearsal.lines import LOOPBACK, request


async def begins(port: int, writers: list[asyncio.StreamWriter], patience_s: float) -> bool:
    """Whether a stream begins in time; its connection stays open, in `writers`."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    writers.append(writer)
    writer.write(request("GET", "/api/events", port=port))
    try:
        async with asyncio.timeout(patience_s):
            return b" 200 " in await reader.readline()
    except TimeoutError:
        return False
