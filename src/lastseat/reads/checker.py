"""Compares, after announcements, what readers of this process get with the database; corrects nothing, only tells.

At most once per `check_every_s`, of all that news named since the last look: the seats of one exam and the list of
one student, picked by chance, and when exams changed, both lists of exams and one exam. The database is asked once
for each.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from lastseat.errors import LastseatError, Refused
from lastseat.model import Announcement, ContactId, Exam, ExamId, Gate
from lastseat.ports import Mirror, SeatLedger
from lastseat.reads.bookings import BookingReads
from lastseat.reads.exams import ExamReads
from lastseat.reads.figures import Figures
from lastseat.reads.shown import seats
from lastseat.reads.staff import FIRST_PAGE, StaffExamReads
from lastseat.settings import Settings

LATE_S: Final = 0.1  # Limit: what a view may lag behind an answered write
PATIENCE_S: Final = 2.0
AGAIN_S: Final = 0.02
NAMES_MOST: Final = 1_000  # Limit: names of each kind that wait for a look; the ones named last
LIVE_FOR_STAFF: Final = frozenset({"id", "total_bookings", "remaining", "status"})
LIVE: Final = LIVE_FOR_STAFF | {"capacity", "bookable"}
"""Columns of an exam that come from gates and clock, and from no view."""
NOTED: Final = frozenset({"updated_at", "synced_at"})
"""Columns that say when we heard, not what: they change without news."""

Facts = Any  # what JSON has
K = TypeVar("K")
T = TypeVar("T")
_decode: Final[Callable[[bytes], Facts]] = msgspec.json.decode

log = logging.getLogger(__name__)


class _Heard:
    """What news named since the last look, each with the moment of its latest news; bounded."""

    def __init__(self) -> None:
        self.gates: dict[ExamId, tuple[Gate, float]] = {}
        self.contacts: dict[ContactId, float] = {}
        self.changed: dict[ExamId, float] = {}
        """Exams named by news that exams changed."""
        self.changed_at: float | None = None

    def add(self, news: Announcement, at: float) -> None:
        """Take what these news name. Gates of plain bookings are no exams that changed."""
        for gate in news.gates:
            _keep(self.gates, gate.exam_id, (gate, at))
        for contact_id in news.contacts:
            _keep(self.contacts, contact_id, at)
        if news.exams_changed:
            self.changed_at = at
            named = [gate.exam_id for gate in news.gates]
            named += [o.exam_id for o in news.outcomes if o.exam_id is not None]
            for exam_id in named:
                _keep(self.changed, exam_id, at)


class _Check(NamedTuple):
    """`ask` the database once, then look whether what readers get `agrees`.

    The answer may be `newer` than the news. Where it has no version to tell, news `about` the same make it old.
    """

    what: str
    ask: Callable[[], Awaitable[Facts]]
    agrees: Callable[[Facts], Awaitable[bool]]
    newer: Callable[[Facts], bool] = lambda _: False
    about: Callable[[Announcement], bool] = lambda _: False


class Checker:
    """Subscribe `hear` to the bulletin and let `run` run."""

    def __init__(
        self,
        exams: ExamReads,
        staff: StaffExamReads,
        bookings: BookingReads,
        ledger: SeatLedger,
        mirror: Mirror,
        settings: Settings,
    ) -> None:
        self._exams = exams
        self._staff = staff
        self._bookings = bookings
        self._ledger = ledger
        self._mirror = mirror
        self._every_s = settings.check_every_s
        self._figures: Figures = exams.figures
        self._pending: _Heard | None = None
        self._heard = asyncio.Event()
        self._about: Callable[[Announcement], bool] | None = None
        self._moved_at: float | None = None

    def hear(self, news: Announcement) -> None:
        """Keep what these news name until the next look, and when they came."""
        now = time.monotonic()
        if news.gates or news.contacts or news.exams_changed:
            if self._pending is None:
                self._pending = _Heard()
            self._pending.add(news, now)
            self._heard.set()
        if self._about is not None and self._about(news):
            self._moved_at = now

    async def run(self) -> None:
        """Check by and by, until cancelled."""
        while True:
            await self._heard.wait()
            self._heard.clear()
            heard, self._pending = self._pending, None
            if heard is not None:
                await self._check_safely(heard)
            await asyncio.sleep(self._every_s)

    async def _check_safely(self, heard: _Heard) -> None:
        try:
            await self._look(heard)
        except LastseatError:
            log.debug("not checked: a store is away")
        except Exception:  # a fault of the checker is no reason to stop checking
            log.exception("the check of the views failed")

    async def check(self, news: Announcement, *, heard_at: float) -> None:
        """Compare what these news name, heard at this instant of the process's clock, with the database."""
        heard = _Heard()
        heard.add(news, heard_at)
        await self._look(heard)

    async def _look(self, heard: _Heard) -> None:
        try:
            for check, heard_at in await self._checks(heard):
                await self._note(check, heard_at)
        finally:
            self._about = None

    async def _checks(self, heard: _Heard) -> list[tuple[_Check, float]]:
        """Some of what was heard, never more than five."""
        checks: list[tuple[_Check, float]] = []
        if heard.gates:
            gate, at = _any([*heard.gates.values()])
            checks.append((self._seats(gate), at))
        if heard.contacts:
            contact_id, at = _any([*heard.contacts.items()])
            checks.append((self._list_of(contact_id), at))
        if heard.changed_at is not None:
            checks += [(self._list(), heard.changed_at), (self._staff_list(), heard.changed_at)]
            listed = [] if heard.changed else await self._exams.seats_now()
            named = [*heard.changed.items()] or [(gate.exam_id, heard.changed_at) for gate in listed]
            if named:
                exam_id, at = _any(named)
                checks.append((self._exam(exam_id), at))
        return checks

    async def _note(self, check: _Check, heard_at: float) -> None:
        """Race: what the database says may not be told yet; the time then runs from the question or its news."""
        began = time.monotonic()
        self._about, self._moved_at = check.about, None
        truth = await check.ask()
        since = began if check.newer(truth) else heard_at
        lag_s = 0.0
        while not await check.agrees(truth):
            if time.monotonic() - began > PATIENCE_S:
                log.warning("%s shown here: behind the database for more than %g s", check.what, PATIENCE_S)
                lag_s = time.monotonic() - heard_at
                break
            if self._moved_at is not None:
                since, self._moved_at = self._moved_at, None
                truth = await check.ask()
            else:
                await asyncio.sleep(AGAIN_S)
            lag_s = time.monotonic() - (self._moved_at or since)
        self._figures.checks += 1
        self._figures.lags.note(lag_s)
        self._figures.behind += lag_s > LATE_S + AGAIN_S

    def _seats(self, told: Gate) -> _Check:
        async def ask() -> Gate | None:
            return next(iter(await self._ledger.gates([told.exam_id])), None)

        async def agrees(truth: Gate | None) -> bool:
            try:
                body, known = await self._exams.shown_capacity(told.exam_id)
            except Refused:
                return truth is None
            if truth is None:
                return False
            newest = known if known is not None and known.version > truth.version else truth
            said = _decode(body)
            return (said["capacity"], said["total_bookings"], said["remaining"]) == seats(None, newest)

        def newer(truth: Gate | None) -> bool:
            return truth is not None and truth.version > told.version

        return _Check(f"the seats of exam {told.exam_id}", ask, agrees, newer=newer)

    def _list_of(self, contact_id: ContactId) -> _Check:
        async def ask() -> Facts:
            return _without(NOTED, _decode(await self._bookings.read(contact_id)))

        async def agrees(truth: Facts) -> bool:
            return _without(NOTED, _decode(await self._bookings.shown(contact_id))) == truth

        def about(news: Announcement) -> bool:
            return contact_id in news.contacts

        return _Check("a student's list", ask, agrees, about=about)

    def _list(self) -> _Check:
        async def agrees(truth: list[Exam]) -> bool:
            shown = _without(LIVE | NOTED, _decode(await self._exams.shown())["exams"])
            return shown == _without(LIVE | NOTED, _plain(self._exams.on_show(truth)))

        return _Check("the list of exams", self._mirror.exams, agrees, about=_changes_exams)

    def _staff_list(self) -> _Check:
        async def ask() -> Facts:
            page = await self._mirror.all_exams(offset=0, limit=FIRST_PAGE)
            return page.total, _without(LIVE_FOR_STAFF | NOTED, _plain(page.exams))

        async def agrees(truth: Facts) -> bool:
            said = _decode(await self._staff.shown())
            return truth == (said["pagination"]["total"], _without(LIVE_FOR_STAFF | NOTED, said["exams"]))

        return _Check("staff's list of exams", ask, agrees, about=_changes_exams)

    def _exam(self, exam_id: ExamId) -> _Check:
        async def ask() -> Facts:
            exam = await self._mirror.staff_exam(exam_id)
            return _without(LIVE_FOR_STAFF | NOTED, _plain([] if exam is None else [exam]))

        async def agrees(truth: Facts) -> bool:
            try:
                shown = [_decode(await self._staff.shown_one(exam_id))["exam"]]
            except Refused:
                shown = []
            return _without(LIVE_FOR_STAFF | NOTED, shown) == truth

        return _Check(f"exam {exam_id}", ask, agrees, about=_changes_exams)


def _changes_exams(news: Announcement) -> bool:
    return news.exams_changed


def _keep(those: dict[K, T], name: K, fact: T) -> None:
    """Keep it as the latest; beyond the limit the one that was named longest ago goes."""
    those.pop(name, None)
    if len(those) >= NAMES_MOST:
        del those[next(iter(those))]
    those[name] = fact


def _any(those: Sequence[T]) -> T:
    return random.choice(those)  # noqa: S311  # any will do


def _plain(facts: Sequence[Exam]) -> Facts:
    return _decode(msgspec.json.encode(facts))


def _without(names: frozenset[str], rows: Facts) -> Facts:
    return [{name: value for name, value in row.items() if name not in names} for row in rows]
