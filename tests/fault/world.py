"""One process in small: booker, canceller and relay over one ledger, HubSpot in memory, and no Redis."""

import asyncio
import contextlib
import uuid
from collections.abc import Awaitable, Callable
from typing import Literal

from lastseat.errors import LastseatError, Refused
from lastseat.model import Announcement
from lastseat.settings import Settings
from lastseat.writes.book import Booker, fingerprint
from lastseat.writes.cancel import Canceller
from lastseat.writes.exam_delivery import FullDelivery
from lastseat.writes.outcomes import Outcomes
from lastseat.writes.relay import Relay
from tests.fault.kit import EXAM, cancelling, database_at, exam, ledger_on, wish
from tests.fault.memory_hubspot import FreeBudget, MemoryHubSpot

Moment = Literal["before", "after"]
QUICK = {
    "relay_poll_s": 0.03,
    "relay_poll_alone_s": 0.02,
    "relay_window_s": 0.005,
    "relay_window_max_s": 0.02,
    "lease_s": 0.6,
    "lease_margin_s": 0.05,
    "lease_offer_s": 0.03,
    "link_quiet_s": 0.01,
    "backoff_first_s": 0.02,
    "backoff_most_s": 0.3,
    "verify_after_s": 0.3,
    "hubspot_timeout_s": 0.2,
    "hubspot_connect_timeout_s": 0.1,
    "hubspot_extra_wait_s": 0.05,
    "deadline_s": 1.5,
}


class FlakyDatabase:
    """Port Database; `fault(function, moment)` may return an error to raise instead of the answer."""

    def __init__(self, inner):
        self._inner = inner
        self.calls: list[str] = []
        self.fault: Callable[[str, Moment], LastseatError | None] = lambda function, moment: None

    async def call(self, function: str, args: bytes) -> bytes:
        self.calls.append(function)
        if (error := self.fault(function, "before")) is not None:
            raise error
        answer = await self._inner.call(function, args)
        if (error := self.fault(function, "after")) is not None:
            raise error
        return answer

    async def close(self) -> None:
        await self._inner.close()


class LocalBulletin:
    """News within this process."""

    connected = True
    taken = True

    def __init__(self):
        self.news: list[Announcement] = []
        self._listeners = []
        self._wakers = []

    async def announce(self, news: Announcement) -> bool:
        self.news.append(news)
        for listener in self._listeners:
            listener(news)
        return self.taken

    async def wake(self) -> None:
        for waker in self._wakers:
            waker()

    def subscribe(self, listener) -> None:
        self._listeners.append(listener)

    def on_wake(self, listener) -> None:
        self._wakers.append(listener)


class World:
    def __init__(self, url: str, **settings):
        self.settings = Settings(**{**QUICK, **settings})
        self.database = FlakyDatabase(database_at(url, connections=8))
        self.ledger = ledger_on(self.database, verify_after_s=self.settings.verify_after_s)
        self.bulletin = LocalBulletin()
        self.hubspot = MemoryHubSpot()
        self.budget = FreeBudget()
        outcomes = Outcomes(self.bulletin)
        common = {"ledger": self.ledger, "bulletin": self.bulletin, "settings": self.settings}
        self.booker = Booker(look=self._look, outcomes=outcomes, **common)
        self.canceller = Canceller(outcomes=outcomes, **common)
        self.relay = self.new_relay()
        self._running: list[asyncio.Task[None]] = []

    async def _look(self, exam_id):
        return next(iter(await self.ledger.gates([exam_id])), None)

    def new_relay(self) -> Relay:
        return Relay(
            ledger=self.ledger,
            delivery=FullDelivery(self.hubspot, self.budget, self.settings),
            budget=self.budget,
            bulletin=self.bulletin,
            settings=self.settings,
        )

    def start(self, relay: Relay | None = None) -> None:
        self._running.append(asyncio.create_task((relay or self.relay).run()))

    async def stop(self) -> None:
        for task in self._running:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._running.clear()

    async def close(self) -> None:
        await self.stop()
        await self.database.close()

    async def exams(self, *records) -> None:
        await self.ledger.mirror(exams=records or [exam(capacity=50)])

    async def book(self, contact, exam_id=EXAM, key=None):
        asked = wish(str(contact), exam_id, key=key, request_id=uuid.uuid4().hex, fingerprint=fingerprint(exam_id))
        return await self.booker.book(asked)

    async def state_of(self, contact, **more) -> str:
        """The state of the claim, or the code of the refusal."""
        try:
            return (await self.book(contact, **more)).state
        except Refused as refusal:
            return refusal.code

    async def cancel(self, reference: str, contact: str | None = None) -> str:
        return (await self.canceller.cancel([cancelling(reference, contact)]))[0].outcome

    async def taken(self, exam_id=EXAM) -> int:
        return (await self.ledger.gates([exam_id]))[0].taken


async def until(true: Callable[[], Awaitable[object]], seconds: float = 3.0) -> None:
    async with asyncio.timeout(seconds):
        while not await true():  # noqa: ASYNC110  # the database tells nobody
            await asyncio.sleep(0.01)
