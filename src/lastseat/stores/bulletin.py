"""Tells every process what changed, and wakes the relay; never fails a write because somebody could not be told."""

import asyncio
import itertools
import logging
import secrets
from collections.abc import Callable
from typing import Final

import msgspec

from lastseat.errors import Unavailable
from lastseat.model import Announcement
from lastseat.settings import Settings
from lastseat.stores.gate import announce_parts
from lastseat.stores.keys import NEWS, WAKE, gate_of, views_changed_by
from lastseat.stores.redis import ERA, RedisTrips, Subscription
from lastseat.stores.views import ViewStore

DROPS: Final = 1_000  # Limit: keys dropped by one trip
PAUSE_FIRST_S: Final = 0.05
PAUSE_MOST_S: Final = 1.0
ANYTHING: Final = Announcement(exams_changed=True)
"""What is told when it is not known what was missed."""

_log = logging.getLogger(__name__)


class _Letter(msgspec.Struct, frozen=True):
    sender: str
    news: Announcement


_decoder = msgspec.json.Decoder(_Letter)


class RedisBulletin:
    """Port Bulletin: this process at once, the others through Redis in one trip.

    What Redis could not be told is owed: the keys are dropped when it answers again, and until then this process
    does not believe them. Gates that are owed are dropped, not put: by then a newer one may have been lost.
    """

    def __init__(self, trips: RedisTrips, views: ViewStore, *, url: str, settings: Settings) -> None:
        self._trips = trips
        self._views = views
        self._ttl_ms = round(settings.gate_ttl_s * 1000)
        self._name = secrets.token_hex(6)
        self._listeners: list[Callable[[Announcement], None]] = []
        self._wakers: list[Callable[[], None]] = []
        self._owed: dict[str, object] = {}
        self._repaying: asyncio.Task[None] | None = None
        self._subscription = Subscription(
            url, [NEWS, WAKE], timeout_s=settings.redis_timeout_s, on_message=self._heard, on_open=self._missed
        )

    def start(self) -> None:
        """Begin to listen, in the background."""
        self._subscription.start()

    async def close(self) -> None:
        """Stop listening and repaying."""
        await self._subscription.close()
        if self._repaying is not None:
            self._repaying.cancel()
            await asyncio.wait([self._repaying])

    @property
    def connected(self) -> bool:
        """Whether news of other processes arrive."""
        return self._subscription.connected

    def subscribe(self, listener: Callable[[Announcement], None]) -> None:
        """Call `listener` with all news, our own and the others'; it must not wait."""
        self._listeners.append(listener)

    def on_wake(self, listener: Callable[[], None]) -> None:
        """Call `listener` when rows wait for the relay."""
        self._wakers.append(listener)

    async def announce(self, news: Announcement) -> bool:
        """Gates put, views dropped, everyone told: this process first, then the others, in one Redis trip.

        False: Redis did not take it.

        Race: a read of this process that starts while the trip is under way must not find the old view there, so
        the views are distrusted before anything else and trusted again when they are gone.
        """
        views = views_changed_by(news)
        marks = self._views.void(views)
        self._tell(news)
        keys, args = announce_parts(news.gates)
        letter = msgspec.json.encode(_Letter(self._name, news))
        try:
            await self._trips.script(
                "announce", [*keys, *views], [len(news.gates), self._ttl_ms, ERA, NEWS, letter, *args]
            )
        except (Unavailable, asyncio.CancelledError) as problem:
            self._owe(news, marks)
            if isinstance(problem, asyncio.CancelledError):
                raise
            return False
        self._views.trust(marks)
        return True

    async def wake(self) -> None:
        """Tell the relay, wherever it runs, that rows wait."""
        self._rouse()
        try:
            await self._trips.execute("PUBLISH", WAKE, self._name)
        except Unavailable:
            return  # the relay looks by itself, a little later

    def _heard(self, channel: bytes, payload: bytes) -> None:
        if channel == WAKE.encode():
            if payload != self._name.encode():
                self._rouse()
            return
        try:
            letter = _decoder.decode(payload)
        except msgspec.MsgspecError:
            return  # not ours
        if letter.sender != self._name:
            self._tell(letter.news)

    def _missed(self) -> None:
        self._tell(ANYTHING)
        self._rouse()

    def _tell(self, news: Announcement) -> None:
        for listener in self._listeners:
            try:
                listener(news)
            except Exception:  # noqa: BLE001  # one listener's fault must not keep the news from the others
                _log.exception("a listener failed on news")

    def _rouse(self) -> None:
        for listener in self._wakers:
            try:
                listener()
            except Exception:  # noqa: BLE001  # one listener's fault must not keep the wake from the others
                _log.exception("a listener failed on a wake")

    def _owe(self, news: Announcement, marks: dict[str, object]) -> None:
        self._owed |= marks | {gate_of(gate.exam_id): object() for gate in news.gates}
        if self._repaying is None or self._repaying.done():
            self._repaying = asyncio.create_task(self._repay())

    async def _repay(self) -> None:
        pause_s = PAUSE_FIRST_S
        while self._owed:
            await asyncio.sleep(pause_s)
            try:
                await self._repay_some()
                pause_s = 0.0
            except Unavailable:
                pause_s = min(max(pause_s * 2, PAUSE_FIRST_S), PAUSE_MOST_S)
            except Exception:  # noqa: BLE001  # ended here, what is owed would wait for the next loss
                pause_s = PAUSE_MOST_S
                _log.exception("what Redis is owed could not be told")

    async def _repay_some(self) -> None:
        due = dict(itertools.islice(self._owed.items(), DROPS))
        letter = msgspec.json.encode(_Letter(self._name, ANYTHING))
        await self._trips.script("announce", list(due), [0, self._ttl_ms, ERA, NEWS, letter])
        self._views.trust(due)
        # Race: what was owed anew while we travelled must be dropped again.
        for key, mark in due.items():
            if self._owed[key] is mark:
                del self._owed[key]
