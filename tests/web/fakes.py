"""Stand-ins for the rooms behind the web room: they remember what they were asked and answer as told."""

from collections.abc import Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import msgspec

from lastseat.errors import LastseatError, Refused
from lastseat.model import (
    Booking,
    CancelAnswer,
    CancelOutcome,
    CancelRequest,
    Change,
    ChangeRequest,
    Claim,
    ClaimRequest,
    ContactId,
    ExamId,
    Gate,
    StaffExam,
)
from lastseat.model_moves import MoveRequest
from lastseat.model_upkeep import AsideAnswer, AsidePage, AsideRow
from lastseat.reads.edition import Edition
from lastseat.settings import Settings
from lastseat.web.auth import sign
from lastseat.web.documents import CountedExam, ListedExam
from lastseat.web.services import SampleStudent, Services
from lastseat.writes.move import Moved
from tests.web.sync_fakes import FakeStatus, Synced

# 64 characters, so that the attack with HS512 is a fair one.
SECRET = "a secret for tests, as long as HS256 wants and as HS512 wants it"
STUDENT, OTHER = ContactId("501"), ContactId("502")
DAY_S = 86_400  # some tokens are made while the tests are collected, and needed at the end of a slow run
EXAM, FULL_EXAM = ExamId("9001"), ExamId("9002")
BOOKING, OTHERS_BOOKING = "LS-0000000000000001", "LS-0000000000000002"


def student(contact_id: str = STUDENT, **more: Any) -> str:
    return sign(SECRET, subject=f"user-{contact_id}", ttl_s=DAY_S, contact_id=contact_id, **more)


def staff(*permissions: str) -> str:
    return sign(SECRET, subject="clerk", ttl_s=DAY_S, permissions=permissions)


@dataclass
class FakeExams:
    """One exam with seats; `asked` holds the filters of each call."""

    asked: list[dict[str, Any]] = field(default_factory=list)
    error: Exception | None = None
    body: bytes = b""

    def __post_init__(self) -> None:
        exam = ListedExam(
            id=EXAM,
            hubspot_id=EXAM,
            mock_type="Clinical Skills",
            bookable=True,
            remaining=3,
            status="limited",
            capacity=20,
        )
        self.body = msgspec.json.encode({"success": True, "exams": [exam]})

    async def available(self, **filters: Any) -> bytes:
        self.asked.append(filters)
        if self.error:
            raise self.error
        return self.body

    async def capacity(self, exam_id: ExamId) -> bytes:
        if self.error:
            raise self.error
        if exam_id != EXAM:
            raise Refused("There is no such exam.", code="EXAM_NOT_FOUND")
        return b'{"success":true,"exam_id":"9001","capacity":20,"total_bookings":17,"remaining":3,"is_full":false}'


@dataclass
class FakeLive:
    """What is at hand: nothing, unless a test says so. Its edition is over at once, so everybody asks."""

    body: bytes | None = None
    edition: Edition = field(default_factory=Edition)
    asked: int = 0
    gates: list[Gate] = field(default_factory=list)
    listeners: list[Any] = field(default_factory=list)

    def available_at_hand(self) -> tuple[bytes, Edition] | None:
        self.asked += 1
        return None if self.body is None else (self.body, self.edition)

    def capacity_at_hand(self, exam_id: ExamId) -> tuple[bytes, Edition] | None:
        return self.available_at_hand() if exam_id == EXAM else None

    def on_seats(self, listener: Any) -> None:
        self.listeners.append(listener)

    async def seats_now(self) -> list[Gate]:
        return self.gates

    def change(self, *gates: Gate, list_changed: bool = False) -> None:
        """News of seats."""
        for listener in self.listeners:
            listener(list(gates), list_changed)


@dataclass
class FakeStaffExams:
    """One exam."""

    asked: list[tuple[int, int]] = field(default_factory=list)

    async def all_exams(self, *, page: int, limit: int) -> bytes:
        self.asked.append((page, limit))
        pagination = {"page": page, "limit": limit, "total": 1, "pages": 1}
        return msgspec.json.encode({"success": True, "exams": [self._exam()], "pagination": pagination})

    async def one(self, exam_id: ExamId) -> bytes:
        if exam_id != EXAM:
            raise Refused("There is no such exam.", code="EXAM_NOT_FOUND")
        return msgspec.json.encode({"success": True, "exam": self._exam()})

    def _exam(self) -> CountedExam:
        return CountedExam(id=EXAM, hubspot_id=EXAM, remaining=3, status="limited", capacity=20)


@dataclass
class FakeBookings:
    """Two bookings of two students."""

    asked: list[tuple[Any, ...]] = field(default_factory=list)
    owners: dict[str, ContactId] = field(default_factory=lambda: {BOOKING: STUDENT, OTHERS_BOOKING: OTHER})

    async def list_for(self, contact_id: ContactId, *, filter: str, page: int, limit: int) -> bytes:  # noqa: A002  # the name of the query parameter
        self.asked.append((contact_id, filter, page, limit))
        return self._page([ref for ref, owner in self.owners.items() if owner == contact_id], page, limit)

    async def list_all(self, *, filter: str, page: int, limit: int) -> bytes:  # noqa: A002  # the name of the query parameter
        self.asked.append(("everybody", filter, page, limit))
        return self._page(list(self.owners), page, limit)

    async def of_exam(self, exam_id: ExamId, *, page: int, limit: int) -> bytes:
        self.asked.append((exam_id, page, limit))
        if exam_id != EXAM:
            raise Refused("There is no such exam.", code="EXAM_NOT_FOUND")
        return self._page(list(self.owners), page, limit)

    async def one(self, reference: str, *, owner: ContactId | None) -> bytes:
        holder = self.owners.get(reference)
        if holder is None or owner not in (None, holder):
            raise Refused("There is no such booking.", code="BOOKING_NOT_FOUND")
        return msgspec.json.encode({"success": True, "booking": {"booking_id": reference, "contact_id": holder}})

    def _page(self, references: list[str], page: int, limit: int) -> bytes:
        bookings = [{"booking_id": reference, "contact_id": self.owners[reference]} for reference in references]
        pagination = {"page": page, "limit": limit, "total": len(bookings), "pages": 1}
        return msgspec.json.encode({"success": True, "bookings": bookings, "pagination": pagination})


@dataclass
class FakeBooker:
    """Books everything, unless told what to raise or which state to answer."""

    asked: list[ClaimRequest] = field(default_factory=list)
    error: Exception | None = None
    state: Any = "booked"
    reason: str | None = None

    async def book(self, request: ClaimRequest) -> Claim:
        self.asked.append(request)
        if self.error:
            raise self.error
        if request.exam_id == FULL_EXAM:
            raise Refused("Session is full", code="SESSION_FULL", details={"remaining": 0})
        if request.exam_id != EXAM:
            raise Refused("There is no such session", code="EXAM_NOT_FOUND", field="examId")
        word = {"booked": "Active", "open": "Pending"}.get(self.state, "Cancelled")
        return Claim(
            claim_id=request.claim_id,
            booking_id=request.booking_id,
            exam_id=request.exam_id,
            contact_id=request.contact_id,
            state=self.state,
            reason=self.reason,
            booking=self._booking(request, word),
        )

    def _booking(self, request: ClaimRequest, word: str) -> Booking:
        return Booking(
            booking_id=request.booking_id,
            mock_exam_id=request.exam_id,
            contact_id=request.contact_id,
            is_active=word,
            exam_date=date(2031, 3, 5),
            created_at=datetime(2031, 1, 2, 3, 4, 5, tzinfo=UTC),
            **request.properties,
        )


@dataclass
class FakeCanceller:
    """Knows the two bookings of FakeBookings."""

    asked: list[CancelRequest] = field(default_factory=list)
    error: Exception | None = None
    outcome: CancelOutcome = "cancelled"

    async def cancel(self, requests: Sequence[CancelRequest]) -> list[CancelAnswer]:
        self.asked.extend(requests)
        if self.error:
            raise self.error
        return [self._answer(request) for request in requests]

    def _answer(self, request: CancelRequest) -> CancelAnswer:
        holder = {BOOKING: STUDENT, OTHERS_BOOKING: OTHER}.get(request.reference)
        if holder is None or request.owner not in (None, holder):
            return CancelAnswer(outcome="not_found")
        return CancelAnswer(outcome=self.outcome, booking=Booking(is_active="Cancelled", contact_id=holder))


CHANGE = "00000000-0000-4000-8000-000000000001"


@dataclass
class FakeChanger:
    """Does what it is asked for the one exam, unless told what to raise or how far it is."""

    asked: list[ChangeRequest] = field(default_factory=list)
    error: Exception | None = None
    status: Any = "done"

    async def change(self, request: ChangeRequest) -> Change:
        self.asked.append(request)
        if self.error:
            raise self.error
        if request.exam_id not in (None, EXAM):
            raise Refused("There is no such exam.", code="EXAM_NOT_FOUND", field="examId")
        return Change(
            change_id=request.change_id,
            kind=request.kind,
            status=self.status,
            outbox_id=1,
            exam=StaffExam(hubspot_id=EXAM, exam_key=request.exam_key),
        )

    async def look(self, change_id: str) -> Change | None:
        if self.error:
            raise self.error
        if change_id != CHANGE:
            return None
        return Change(change_id=CHANGE, kind="exam_update", status="pending", outbox_id=1)


@dataclass
class FakeMover:
    """Moves the first of the two bookings of FakeBookings."""

    asked: list[MoveRequest] = field(default_factory=list)
    error: Exception | None = None
    state: Any = "booked"
    reason: str | None = None

    async def move(self, request: MoveRequest) -> Moved:
        self.asked.append(request)
        if self.error:
            raise self.error
        if request.reference != BOOKING:
            raise Refused("There is no such booking.", code="BOOKING_NOT_FOUND", field="bookingId")
        claim = Claim(
            claim_id=request.claim_id,
            booking_id=request.booking_id,
            exam_id=request.exam_id,
            contact_id=STUDENT,
            state=self.state,
            reason=self.reason,
        )
        return Moved(claim=claim, previous="pending")


@dataclass
class FakeSyncer:
    """Knows one exam; `asked` holds what was to be synced, and for whom."""

    asked: list[tuple[str, str]] = field(default_factory=list)
    error: Exception | None = None

    async def exams(self, actor: str) -> Synced:
        return self._done("exams", actor, Synced("Synced 3 exams", 3))

    async def bookings(self, exam_id: ExamId, actor: str) -> Synced:
        if exam_id != EXAM:
            raise Refused("There is no such exam.", code="EXAM_NOT_FOUND")
        return self._done(f"bookings {exam_id}", actor, Synced("Synced 2 bookings", 2, archived=1))

    def _done(self, what: str, actor: str, done: Synced) -> Synced:
        self.asked.append((what, actor))
        if self.error:
            raise self.error
        return done


@dataclass
class FakeTries:
    """One row is set aside, number 7; `refusal` is what trying it again meets."""

    asked: list[tuple[int, str]] = field(default_factory=list)
    error: Exception | None = None
    outcome: Any = "queued"

    async def list(self, *, page: int, limit: int) -> AsidePage:
        if self.error:
            raise self.error
        return AsidePage(rows=[self._row] if page == 1 else [], total=1)

    async def retry(self, outbox_id: int, *, caller: str, request_id: str) -> AsideAnswer:
        self.asked.append((outbox_id, caller))
        if self.error:
            raise self.error
        if outbox_id != self._row.outbox_id:
            raise Refused("There is no such row.", code="NOT_FOUND", field="outboxId")
        return AsideAnswer(outcome=self.outcome, row=self._row)

    @property
    def _row(self) -> AsideRow:
        reason = "Property values were not valid"
        return AsideRow(outbox_id=7, kind="create", state="aside", reason=reason, contact_id=STUDENT, exam_id=EXAM)


@dataclass
class World:
    """All fakes of one application."""

    exams: FakeExams = field(default_factory=FakeExams)
    staff_exams: FakeStaffExams = field(default_factory=FakeStaffExams)
    bookings: FakeBookings = field(default_factory=FakeBookings)
    booker: FakeBooker = field(default_factory=FakeBooker)
    canceller: FakeCanceller = field(default_factory=FakeCanceller)
    changer: FakeChanger = field(default_factory=FakeChanger)
    mover: FakeMover = field(default_factory=FakeMover)
    syncer: FakeSyncer = field(default_factory=FakeSyncer)
    sync_status: FakeStatus = field(default_factory=FakeStatus)
    second_try: FakeTries = field(default_factory=FakeTries)
    live: FakeLive = field(default_factory=FakeLive)
    parts: dict[str, object] = field(default_factory=lambda: {"supabase": {"ok": True, "detail": "answers in 1 ms"}})
    started: list[str] = field(default_factory=list)
    news: list[Any] = field(default_factory=list)

    def services(self, **settings: Any) -> Services:
        given = {"supabase_jwt_secret": SECRET, **settings}
        return Services(
            settings=Settings(**given),
            exams=self.exams,
            staff_exams=self.staff_exams,
            bookings=self.bookings,
            booker=self.booker,
            canceller=self.canceller,
            changer=self.changer,
            mover=self.mover,
            syncer=self.syncer,
            sync_status=self.sync_status,
            second_try=self.second_try,
            ready=self._ready,
            lifespan=self._lifespan,
            samples=self._samples,
            live=self.live,
            news=self.news.append,
        )

    def broken(self, error: LastseatError | Exception) -> "World":
        """Every room behind raises `error`."""
        self.exams.error = self.booker.error = self.canceller.error = error
        self.changer.error = self.mover.error = self.syncer.error = self.second_try.error = error
        return self

    async def _ready(self) -> dict[str, object]:
        return self.parts

    async def _samples(self) -> Sequence[SampleStudent]:
        return [SampleStudent(contact_id=STUDENT, name="Zoë O’Brien", student_id="TRAINEE0142")]

    @asynccontextmanager
    async def _lifespan(self):
        self.started.append("up")
        yield
        self.started.append("down")
