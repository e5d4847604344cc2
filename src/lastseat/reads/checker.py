"""Compares, after announcements, what readers of this process see with the ledger; corrects nothing, only tells.

At most one seat count and one student's list per `check_every_s`, picked from the news by chance: two queries.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final

from lastseat.errors import LastseatError
from lastseat.model import Announcement, ContactId, ExamId
from lastseat.ports import SeatLedger
from lastseat.reads.bookings import BookingReads
from lastseat.reads.exams import ExamReads
from lastseat.reads.figures import Figures
from lastseat.settings import Settings

LATE_S: Final = 0.1  # Limit: what a view may lag behind an answered write
PATIENCE_S: Final = 2.0
AGAIN_S: Final = 0.02

log = logging.getLogger(__name__)


class Checker:
    """Subscribe `hear` to the bulletin and let `run` run."""

    def __init__(self, exams: ExamReads, bookings: BookingReads, ledger: SeatLedger, settings: Settings) -> None:
        self._exams = exams
        self._bookings = bookings
        self._ledger = ledger
        self._every_s = settings.check_every_s
        self._figures: Figures = exams.figures
        self._news: Announcement | None = None
        self._heard = asyncio.Event()

    def hear(self, news: Announcement) -> None:
        """Keep the latest news that name anything."""
        if news.gates or news.contacts:
            self._news = news
            self._heard.set()

    async def run(self) -> None:
        """Check by and by, until cancelled."""
        while True:
            await self._heard.wait()
            self._heard.clear()
            news, self._news = self._news, None
            if news is not None:
                try:
                    await self.check(news)
                except LastseatError:
                    log.debug("not checked: a store is away")
                except Exception:  # a fault of the checker is no reason to stop checking
                    log.exception("the check of the views failed")
            await asyncio.sleep(self._every_s)

    async def check(self, news: Announcement) -> None:
        """Compare one exam's seats and one student's list with the ledger."""
        if news.gates:
            exam_id = random.choice(news.gates).exam_id  # noqa: S311  # any will do
            await self._note(f"the seats of exam {exam_id}", lambda: self._seats_agree(exam_id))
        if news.contacts:
            contact_id = random.choice(news.contacts)  # noqa: S311  # any will do
            await self._note("a student's list", lambda: self._list_agrees(contact_id))

    async def _note(self, what: str, agree: Callable[[], Awaitable[bool]]) -> None:
        self._figures.checks += 1
        began = time.monotonic()
        while not await agree():
            if time.monotonic() - began > PATIENCE_S:
                log.warning("%s shown here lag behind the ledger for more than %g s", what, PATIENCE_S)
                break
            await asyncio.sleep(AGAIN_S)
        lag_s = time.monotonic() - began
        self._figures.lags.note(lag_s)
        self._figures.behind += lag_s > LATE_S + AGAIN_S

    async def _seats_agree(self, exam_id: ExamId) -> bool:
        truth = await self._ledger.gates([exam_id])
        shown = await self._exams.seats_of(exam_id)
        return shown is None or not truth or shown.version >= truth[0].version

    async def _list_agrees(self, contact_id: ContactId) -> bool:
        shown = await self._bookings.shown(contact_id)
        return shown == await self._bookings.read(contact_id)
