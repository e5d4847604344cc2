"""Sends JSON to one SQL function and reads its answer; resends what was lost, and never calls a doubt a failure."""

import asyncio
from typing import TypeVar

import msgspec

from lastseat.errors import LeaseLost, Unavailable, Uncertain
from lastseat.ports import Database

_RESENDS = 3  # Limit: a call is resent this often before its caller hears that its outcome is unknown.
_RESEND_PAUSE_S = 0.05

T = TypeVar("T")


class SqlCalls:
    """What every store over the SQL functions is made of. All functions are safe to repeat."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def _call(self, function: str, args: object, answer: type[T], *, resends: int = _RESENDS) -> T:
        """A change. Once a reply was lost it may have happened, whatever is said of a resend."""
        body = msgspec.json.encode(args)
        lost: Uncertain | None = None
        for attempt in range(resends + 1):
            if lost is not None:
                await asyncio.sleep(_RESEND_PAUSE_S * attempt)
            try:
                return msgspec.json.decode(await self._database.call(function, body), type=answer)
            except Uncertain as error:
                lost = error
            except Unavailable as error:
                if lost is None or isinstance(error, LeaseLost):
                    raise
        assert lost is not None
        raise lost

    async def _read(self, function: str, args: object, answer: type[T]) -> T:
        """A question. Nothing happens when it is asked, so a lost reply is no reason for doubt."""
        try:
            return await self._call(function, args, answer, resends=1)
        except Uncertain as error:
            raise Unavailable(error.message) from error
