"""Waiting for something to become true; never longer than a few seconds."""

import asyncio
from collections.abc import Awaitable, Callable

from lastseat.errors import Unavailable


async def until(condition: Callable[[], Awaitable[object]], *, within_s: float = 3.0) -> None:
    """Ask again and again until the answer is true; Unavailable counts as no."""
    async with asyncio.timeout(within_s):
        while True:
            try:
                if await condition():
                    return
            except Unavailable:
                pass
            await asyncio.sleep(0.005)
