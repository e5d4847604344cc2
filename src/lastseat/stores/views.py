"""Cached bodies in Redis with leases; never gives out a body that is older than what somebody has already seen.

Every body that is served was in the view's own key while its reader waited, and only the holder of a lease taken
after the last DEL may put one there; who asked Supabase past that voids the leases of then. So reads that do not
overlap see the store move forward only. The cache fails open: without Redis readers share fills in the process;
without Supabase they get the last body, marked stale.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVar

from lastseat.errors import LastseatError, Unavailable
from lastseat.group_commit import GroupCommit
from lastseat.model import ContactId, ExamId
from lastseat.ports import View
from lastseat.settings import Settings
from lastseat.stores.keys import EXAMS_AVAILABLE, EXAMS_LIST, bookings_of, exam_of, last_of
from lastseat.stores.last_views import HEADER, LastViews, filled_ms
from lastseat.stores.redis import ERA, RedisTrips

LOOKS: Final = 10_000  # Limit: lookups that share one trip
TRIPS: Final = 8
LEASE_MARGIN_S: Final = 1.0
PATIENCE_S: Final = 0.25  # Limit: waiting for a fill of another process before asking Supabase ourselves
POLL_FIRST_S: Final = 0.002
POLL_MOST_S: Final = 0.05
REFRESH_AT: Final = 0.8  # of its time to live: from here on one reader refreshes a view in the background
AWAY_S: Final = (
    10.0  # after a failed fill readers get the last body at once, while the next fill is tried behind them
)

_log = logging.getLogger(__name__)

Fill = Callable[[], Awaitable[bytes]]
T = TypeVar("T")


class _Ask(NamedTuple):
    key: str
    fill: Fill
    ttl_s: float


class _Held(NamedTuple):
    """What a view's key holds: a body, or the placeholder of whoever fills it (`filled_at` is 0)."""

    token: str
    filled_at: float
    body: bytes


@dataclass
class _Filling:
    """One fill of this process under a lease; its task ends with the body and whether it was stored."""

    ask: _Ask
    token: str
    task: asyncio.Task[tuple[View, bool]]
    voided: bool = False


class Shared:
    """One run at a time per key: who comes while one is under way shares the next one, begun after they came."""

    def __init__(self) -> None:
        self._running: dict[str, asyncio.Task[View]] = {}
        self._next: dict[str, asyncio.Task[View]] = {}

    async def run(self, key: str, work: Callable[[], Awaitable[View]]) -> View:
        """The result of a run that began after this call."""
        task = self._next.get(key)
        if task is None:
            task = asyncio.create_task(self._after(self._running.get(key), key, work))
            task.add_done_callback(_hear_out)
            self._next[key] = task
        return await asyncio.shield(task)

    async def _after(self, before: asyncio.Task[View] | None, key: str, work: Callable[[], Awaitable[View]]) -> View:
        if before is None:
            await asyncio.sleep(0)  # neighbours of this tick come along
        else:
            await asyncio.wait([before])
        task = self._next.pop(key)
        self._running[key] = task
        try:
            return await work()
        finally:
            if self._running.get(key) is task:
                del self._running[key]


class ViewStore:
    """Port Views."""

    def __init__(self, trips: RedisTrips, settings: Settings, *, now: Callable[[], float] = time.time) -> None:
        """`now` is the wall clock: its readings are compared across processes, for the age of bodies only."""
        self._trips = trips
        self._settings = settings
        self._now = now
        self._lease_ms = round((settings.store_timeout_s + LEASE_MARGIN_S) * 1000)
        self._looks = GroupCommit(self._look_all, window_s=0, limit=LOOKS, trips=TRIPS)
        self._fillings: dict[str, _Filling] = {}
        self._shared = Shared()
        self._distrusted: dict[str, object] = {}
        self._refreshing: dict[str, asyncio.Task[None]] = {}
        self._last = LastViews(trips, stale_s=settings.stale_s, now=now)
        self._away_until = 0.0

    async def exams(self, fill: Fill) -> View:
        """The list of exams."""
        return await self.read(EXAMS_AVAILABLE, fill, self._settings.exams_ttl_s)

    async def bookings(self, contact_id: ContactId, fill: Fill) -> View:
        """One student's bookings."""
        return await self.read(bookings_of(contact_id), fill, self._settings.bookings_ttl_s)

    async def all_exams(self, fill: Fill) -> View:
        """The first page of staff's list of exams."""
        return await self.read(EXAMS_LIST, fill, self._settings.exams_ttl_s)

    async def staff_exam(self, exam_id: ExamId, fill: Fill) -> View:
        """One exam as staff sees it."""
        return await self.read(exam_of(exam_id), fill, self._settings.exams_ttl_s)

    async def read(self, key: str, fill: Fill, ttl_s: float) -> View:
        """The view, filled if need be; the last one, marked stale, while `fill` raises Unavailable."""
        ask = _Ask(key, fill, ttl_s)
        try:
            view = await self._read(ask)
        except Unavailable:
            # Redis being away is dealt with below; this is Supabase.
            last = await self._last.of(key)
            if last is None:
                raise
            return last
        if not view.stale:
            self._last.remember(key, view)
        return view

    def void(self, keys: Iterable[str]) -> dict[str, object]:
        """Trust no copy of these, stored or under way, until `trust` is called with the result.

        Limit: with Redis away for long this grows to one entry per student who came meanwhile.
        """
        marks = {key: object() for key in keys}
        self._away_until = 0.0  # news come from Supabase, so it answers
        self._distrusted.update(marks)
        for filling in self._fillings.values():
            if filling.ask.key in marks:
                filling.voided = True
        return marks

    def trust(self, marks: dict[str, object]) -> None:
        """The copies of then are gone from Redis; a key that was voided again meanwhile stays distrusted."""
        for key, mark in marks.items():
            if self._distrusted.get(key) is mark:
                del self._distrusted[key]

    async def close(self) -> None:
        """End what runs in the background."""
        tasks = [filling.task for filling in self._fillings.values()] + list(self._refreshing.values())
        for task in tasks:
            task.cancel()
            await asyncio.wait([task])

    @property
    def _away(self) -> bool:
        return time.monotonic() < self._away_until

    async def _read(self, ask: _Ask) -> View:
        loop = asyncio.get_running_loop()
        patient_until = loop.time() + PATIENCE_S
        pause_s = POLL_FIRST_S
        while True:
            try:
                held = await self._looks.submit(ask)
            except Unavailable:
                return await self._directly(ask, redis_away=True)
            if held.filled_at > 0:
                self._refresh_early(ask, held)
                return View(body=held.body, filled_at=held.filled_at)
            if self._away and (last := await self._last.of(ask.key)) is not None:
                return last
            filling = self._fillings.get(held.token)
            if filling is not None:
                view, stored = await asyncio.shield(filling.task)
                if stored:
                    return view
            else:
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, POLL_MOST_S)
            if loop.time() > patient_until:
                return await self._directly(ask)

    async def _directly(self, ask: _Ask, *, redis_away: bool = False) -> View:
        """Supabase itself, shared in the process and stored as the last body only."""
        last = await self._last.of(ask.key, ask=not redis_away) if self._away else None
        run = asyncio.create_task(self._shared.run(ask.key, lambda: self._fill_and_pass(ask)))
        run.add_done_callback(_hear_out)
        return last or await asyncio.shield(run)

    async def _fill_and_pass(self, ask: _Ask) -> View:
        view = await self._fill(ask)
        return await self._passed(ask.key, view) or view

    async def _passed(self, key: str, view: View) -> View | None:
        """The body that came meanwhile. Else nothing read before now gets in any more, and what was read is good.

        Race: a slower reader holds the lease and stores what it read before a write that was read here already; or
        Redis comes back with such a body, so without Redis this process distrusts what it will find there.
        """
        mark = self._distrusted.get(key)
        try:
            value = await self._trips.script("view_pass", [key], [ERA, "0" if mark is None else "1"])
        except Unavailable:
            self._distrusted.setdefault(key, object())
            return None
        if mark is not None:
            self.trust({key: mark})
        if value is None:
            # Race: Supabase may go away now; then nobody may fall back on anything older than what is served here.
            await self._last.tell(key, view)
            return None
        held = _parsed(value)
        return View(body=held.body, filled_at=held.filled_at)

    async def _look_all(self, asks: Sequence[_Ask]) -> list[_Held]:
        distinct = {ask.key: ask for ask in asks}
        held = await asyncio.gather(*(self._look(ask) for ask in distinct.values()))
        by_key = dict(zip(distinct, held, strict=True))
        return [by_key[ask.key] for ask in asks]

    async def _look(self, ask: _Ask) -> _Held:
        token = secrets.token_hex(8)
        mark = self._distrusted.get(ask.key)
        drop = "0" if mark is None else "1"
        value = await self._trips.script("view_look", [ask.key], [ERA, token, self._lease_ms, drop])
        if value is None:
            if mark is not None:
                self.trust({ask.key: mark})
            self._begin(ask, token)
            return _Held(token, 0, b"")
        return _parsed(value)

    def _begin(self, ask: _Ask, token: str) -> asyncio.Task[tuple[View, bool]]:
        task = asyncio.create_task(self._fill_under_lease(ask, token))
        task.add_done_callback(_hear_out)
        self._fillings[token] = _Filling(ask, token, task)
        task.add_done_callback(lambda _: self._fillings.pop(token, None))
        return task

    async def _fill_under_lease(self, ask: _Ask, token: str) -> tuple[View, bool]:
        try:
            view = await self._fill(ask)
        except BaseException:
            await self._free(ask.key, token)
            raise
        if self._fillings[token].voided:
            await self._free(ask.key, token)
            return view, False
        try:
            return view, await self._keep(ask, token, view)
        except Unavailable:
            return view, False

    async def _fill(self, ask: _Ask) -> View:
        filled_at = round(self._now(), 3)  # as Redis keeps it, so that its copy of a body is as young as ours
        try:
            body = await ask.fill()
        except Unavailable:
            self._away_until = time.monotonic() + AWAY_S
            raise
        self._away_until = 0.0
        return View(body=body, filled_at=filled_at)

    async def _keep(self, ask: _Ask, token: str, view: View) -> bool:
        ttls_ms = round(ask.ttl_s * 1000), round(self._settings.stale_s * 1000)
        keys = [ask.key, last_of(ask.key)]
        return await self._trips.script("view_keep", keys, [ERA, token, filled_ms(view), *ttls_ms, view.body]) == 1

    async def _free(self, key: str, token: str) -> None:
        try:
            await self._trips.script("view_free", [key], [ERA, token])
        except Unavailable:
            return  # the placeholder expires by itself

    def _refresh_early(self, ask: _Ask, held: _Held) -> None:
        young = self._now() - held.filled_at < ask.ttl_s * REFRESH_AT
        if young or held.token.strip("0") or self._away or ask.key in self._refreshing:
            return
        task = asyncio.create_task(self._refresh(ask))
        task.add_done_callback(_hear_out)
        self._refreshing[ask.key] = task
        task.add_done_callback(lambda _: self._refreshing.pop(ask.key, None))

    async def _refresh(self, ask: _Ask) -> None:
        token = secrets.token_hex(8)
        try:
            if await self._trips.script("view_refresh", [ask.key], [ERA, token]) == 1:
                await self._begin(ask, token)
        except LastseatError:
            return  # whoever finds the view gone hears it
        except Exception:  # noqa: BLE001  # nobody waits for this one, so nobody would hear of it
            _log.exception("a view could not be refreshed")


def _parsed(value: bytes) -> _Held:
    return _Held(value[19:35].decode(), int(value[35:HEADER]) / 1000, value[HEADER:])


def _hear_out(task: asyncio.Task[T]) -> None:
    """Take note of how it ended; those who wait hear it too, and when nobody does, that is no fault."""
    if not task.cancelled():
        task.exception()
