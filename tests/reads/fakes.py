"""A Supabase in memory for the reads: the mirror and the gates, counted, slow or away on demand."""

import asyncio
from collections.abc import Collection
from datetime import UTC, date, datetime

import msgspec

from lastseat.errors import Unavailable
from lastseat.model import (
    Announcement,
    Booking,
    ContactId,
    Exam,
    ExamBookings,
    ExamId,
    ExamPage,
    Gate,
    Page,
    StaffExam,
)


class Supabase:
    def __init__(self) -> None:
        self.listed: list[Exam] = []
        self.unlisted: list[Exam] = []
        self.seats: dict[ExamId, Gate] = {}
        self.booked: list[Booking] = []
        self.calls: list[str] = []
        self.delay_s = 0.0
        self.away = False

    async def _called(self, name: str) -> None:
        self.calls.append(name)
        await asyncio.sleep(self.delay_s)
        if self.away:
            raise Unavailable("Supabase is away")

    async def exams(self) -> list[Exam]:
        listed = list(self.listed)
        await self._called("exams")
        return listed

    async def exam(self, exam_id: ExamId) -> Exam | None:
        await self._called("exam")
        return next((exam for exam in [*self.listed, *self.unlisted] if exam.hubspot_id == exam_id), None)

    async def all_exams(self, *, offset: int, limit: int) -> ExamPage:
        exams = [StaffExam(**msgspec.structs.asdict(exam)) for exam in [*self.listed, *self.unlisted]]
        await self._called("all_exams")
        return ExamPage(exams=exams[offset : offset + limit], total=len(exams))

    async def staff_exam(self, exam_id: ExamId) -> StaffExam | None:
        found = [exam for exam in [*self.listed, *self.unlisted] if exam.hubspot_id == exam_id]
        await self._called("staff_exam")
        return StaffExam(**msgspec.structs.asdict(found[0])) if found else None

    async def gates(self, exam_ids: Collection[ExamId] | None = None) -> list[Gate]:
        seats = dict(self.seats)
        await self._called("gates")
        return [seats[exam_id] for exam_id in exam_ids or seats if exam_id in seats]

    async def bookings(self, contact_id: ContactId) -> list[Booking]:
        booked = [booking for booking in self.booked if booking.contact_id == contact_id]
        await self._called("bookings")
        return booked

    async def all_bookings(self, *, offset: int, limit: int) -> Page:
        await self._called("all_bookings")
        return Page(bookings=self.booked[offset : offset + limit], total=len(self.booked))

    async def exam_bookings(self, exam_id: ExamId, *, offset: int, limit: int) -> ExamBookings:
        await self._called("exam_bookings")
        found = [booking for booking in self.booked if booking.mock_exam_id == exam_id]
        known = any(exam.hubspot_id == exam_id for exam in [*self.listed, *self.unlisted])
        return ExamBookings(bookings=found[offset : offset + limit], total=len(found), known=known)

    async def booking(self, reference: str) -> Booking | None:
        await self._called("booking")
        return next((b for b in self.booked if reference in (b.booking_id, b.hubspot_id)), None)

    def add(self, exam_id: str, *, capacity: int = 20, taken: int = 0, **facts) -> ExamId:
        """An active exam on 10 March 2026, open to all, unless `facts` say otherwise."""
        exam = {
            "mock_type": "Clinical Skills",
            "location": "Mississauga",
            "exam_date": date(2026, 3, 10),
            "start_time": "14:00",
            "starts_at": datetime(2026, 3, 10, 18, 0, tzinfo=UTC),
            "is_active": "active",
            "capacity": capacity,
            "total_bookings": taken,
        }
        self.listed.append(Exam(hubspot_id=ExamId(exam_id), **(exam | facts)))
        self.take(exam_id, taken, capacity=capacity, version=1)
        return ExamId(exam_id)

    def take(self, exam_id: str, taken: int, *, version: int, capacity: int | None = None) -> Gate:
        """The ledger's new count of an exam's seats."""
        known = self.seats.get(ExamId(exam_id))
        whole = capacity if capacity is not None else known.capacity if known else 20
        gate = Gate(
            exam_id=ExamId(exam_id),
            version=version,
            capacity=whole,
            taken=taken,
            remaining=max(whole - taken, 0),
            open=True,
        )
        self.seats[gate.exam_id] = gate
        return gate

    def news_of(self, *gates: Gate, exams_changed: bool = False) -> Announcement:
        return Announcement(gates=list(gates), exams_changed=exams_changed)
