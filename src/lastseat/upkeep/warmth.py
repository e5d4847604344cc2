"""Keeps the connections to the database open and their plans made; asks for nothing, and nobody waits for it.

A rush comes out of a quiet hour. Its first claims and settlements would each open a connection and plan all of their
statements on it, some 30 ms for one ms of work, and hold the locks of the exams meanwhile.
"""

import asyncio
from typing import Final

from lastseat.errors import LastseatError
from lastseat.ports import Database

AGAIN_S: Final = 20.0  # Limit: sooner than asyncpg (300 s) and PostgREST (30 s) close a connection that nobody uses


class Warmth:
    """One per process."""

    def __init__(self, database: Database, *, connections: int) -> None:
        self._database = database
        self._connections = connections

    async def run(self) -> None:
        """Warm all connections now and again, until cancelled."""
        while True:
            # At the same moment, so that each call needs a connection of its own.
            await asyncio.gather(*(self._warm() for _ in range(self._connections)))
            await asyncio.sleep(AGAIN_S)

    async def _warm(self) -> None:
        try:
            await self._database.call("warm", b"{}")
        except LastseatError:
            return  # whoever needs the database says that it is away
