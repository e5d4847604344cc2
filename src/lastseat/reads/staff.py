"""Answers what staff asks of exams: all of them page by page, and one with everything; never asks HubSpot.

The first page and single exams come from views, further pages from the mirror; seat counts are always the gates'.
"""

import math
import time
from typing import Final, NamedTuple

import msgspec

from lastseat.errors import Refused
from lastseat.model import ExamId, ExamPage, StaffExam
from lastseat.ports import Mirror, Views
from lastseat.reads.counts import SeatLooks
from lastseat.reads.figures import Ages, age_s
from lastseat.reads.shown import seats, status

FIRST_PAGE: Final = 100  # Limit: exams in the view; also the most that one page may have

_encoder = msgspec.json.Encoder()
_pages = msgspec.json.Decoder(ExamPage)
_exams = msgspec.json.Decoder(StaffExam | None)


class _Made(NamedTuple):
    """A body, and how old what it says is where that came from a view."""

    body: bytes
    age_s: float | None = None


class StaffExamReads:
    """Complete JSON bodies about exams for staff: closed, past and deleted ones too."""

    def __init__(self, mirror: Mirror, looks: SeatLooks, views: Views, *, ages: Ages | None = None) -> None:
        """`ages` hear how old what staff got from views was."""
        self._mirror = mirror
        self._looks = looks
        self._views = views
        self._ages = ages if ages is not None else Ages()

    async def all_exams(self, *, page: int, limit: int) -> bytes:
        """`{"success": true, "exams": […], "pagination": {page, limit, total, pages}}`, the latest exam first."""
        if page < 1 or not 1 <= limit <= FIRST_PAGE:
            raise Refused(f"page must be 1 or more, limit between 1 and {FIRST_PAGE}", field="limit")
        return self._counted(await self._all_exams(page, limit))

    async def one(self, exam_id: ExamId) -> bytes:
        """`{"success": true, "exam": {…}}`."""
        return self._counted(await self._one(exam_id))

    async def shown(self) -> bytes:
        """The first page as staff would get it now; not counted as an answer."""
        return (await self._all_exams(1, FIRST_PAGE)).body

    async def shown_one(self, exam_id: ExamId) -> bytes:
        """The same of one exam."""
        return (await self._one(exam_id)).body

    def _counted(self, made: _Made) -> bytes:
        if made.age_s is not None:
            self._ages.note(made.age_s)
        return made.body

    async def _all_exams(self, page: int, limit: int) -> _Made:
        asked_at, view = time.monotonic(), None
        first, last = (page - 1) * limit, page * limit
        if last <= FIRST_PAGE:
            view = await self._views.all_exams(self._first_page)
            found = _pages.decode(view.body)
            exams = found.exams[first:last]
        else:
            found = await self._mirror.all_exams(offset=first, limit=limit)
            exams = found.exams
        shown, complete = await self._with_seats(exams)
        pagination = {"page": page, "limit": limit, "total": found.total, "pages": math.ceil(found.total / limit)}
        stale = not complete or (view is not None and view.stale)
        body = _said({"exams": shown, "pagination": pagination}, stale=stale)
        return _Made(body, None if view is None else age_s(view, asked_at, complete=complete))

    async def _one(self, exam_id: ExamId) -> _Made:
        asked_at = time.monotonic()

        async def fill() -> bytes:
            return _encoder.encode(await self._mirror.staff_exam(exam_id))

        view = await self._views.staff_exam(exam_id, fill)
        exam = _exams.decode(view.body)
        if exam is None:
            raise Refused("There is no such exam", code="EXAM_NOT_FOUND")
        (shown,), complete = await self._with_seats([exam])
        body = _said({"exam": shown}, stale=view.stale or not complete)
        return _Made(body, age_s(view, asked_at, complete=complete))

    async def _first_page(self) -> bytes:
        return _encoder.encode(await self._mirror.all_exams(offset=0, limit=FIRST_PAGE))

    async def _with_seats(self, exams: list[StaffExam]) -> tuple[list[dict[str, object]], bool]:
        gates, complete = await self._looks.of([exam.hubspot_id for exam in exams])
        known = {gate.exam_id: gate for gate in gates}
        shown: list[dict[str, object]] = []
        for exam in exams:
            capacity, taken, remaining = seats(exam, known.get(exam.hubspot_id))
            counts = {"total_bookings": taken, "remaining": remaining, "status": status(capacity, remaining)}
            # The capacity stays what HubSpot holds: while a change lowers it, students see the lower one already.
            shown.append({"id": exam.hubspot_id, **msgspec.structs.asdict(exam), **counts})
        return shown, complete


def _said(facts: dict[str, object], *, stale: bool) -> bytes:
    return _encoder.encode({"success": True, **facts, **({"stale": True} if stale else {})})
