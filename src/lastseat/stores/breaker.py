"""Answers at once while Supabase is away, and finds out when it is back; never lets a crowd wait for a time-out."""

import asyncio
import time
from collections.abc import Callable

from lastseat.errors import LastseatError, LeaseLost, Unavailable, Uncertain
from lastseat.ports import Database
from lastseat.settings import Settings

_ANY_QUESTION = ("gates", b'{"exam_ids":[]}')
_LEAST_S = 0.05


class Breaker:
    """Port Database around another. Closed: calls pass. Open: they are refused at once. After a while one asks.

    It opens after so many failures in a row, of any calls: not reached, too slow, or the reply lost. What Postgres
    refuses is an answer. While it is open, the first caller after the wait asks a question of no consequence; when
    that is answered, everybody passes again.
    """

    def __init__(self, inner: Database, settings: Settings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._inner = inner
        self._settings = settings
        self._clock = clock
        self._failures = 0
        self._wait_s = settings.breaker_first_s
        self._retry_at = 0.0
        self._asking = False
        self.away_because: str | None = None
        self.opened = 0

    async def call(self, function: str, args: bytes) -> bytes:
        """Pass the call on, or raise Unavailable with the time after which to come again."""
        if self.away_because is not None:
            await self._ask()
        try:
            answer = await self._inner.call(function, args)
        except LeaseLost:
            self._heard()
            raise
        except (Unavailable, Uncertain) as error:
            self._failed(error)
            raise
        except LastseatError:
            self._heard()
            raise
        self._heard()
        return answer

    def _heard(self) -> None:
        self._failures = 0
        self.away_because = None
        self._wait_s = self._settings.breaker_first_s

    def _failed(self, error: LastseatError) -> None:
        # A call that began before the others failed says nothing new.
        if self.away_because is not None:
            return
        self._failures += 1
        if self._failures >= self._settings.breaker_failures:
            self.opened += 1
            self._open(error)

    def _open(self, error: LastseatError) -> None:
        self.away_because = error.message
        self._retry_at = self._clock() + self._wait_s
        self._wait_s = min(self._wait_s * 2, self._settings.breaker_most_s)

    async def _ask(self) -> None:
        """Half-open: one caller asks, for all. Race: the others must not follow it into a time-out."""
        left_s = self._retry_at - self._clock()
        if self._asking or left_s > 0:
            away_s = max(left_s, _LEAST_S)
            raise Unavailable(f"Supabase is away: {self.away_because}", retry_after_s=away_s, unsent=True)
        self._asking = True
        try:
            async with asyncio.timeout(self._settings.breaker_probe_s):
                await self._inner.call(*_ANY_QUESTION)
        except TimeoutError:
            error = Unavailable("Supabase is away: it does not answer", retry_after_s=self._wait_s, unsent=True)
            self._open(error)
            raise error from None
        except LastseatError as error:
            self._open(error)
            away = f"Supabase is away: {error.message}"
            raise Unavailable(away, retry_after_s=self._wait_s, unsent=True) from error
        finally:
            self._asking = False
        self._heard()
