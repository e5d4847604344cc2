"""The answers of the HTTP contract as types, for OpenAPI and for the tests; builds no answer itself."""

from datetime import datetime
from typing import Any, Literal

import msgspec

from lastseat.model import Booking, ChangeKind, Exam, ExamId, StaffExam
from lastseat.model_upkeep import AsideRow, BackfillState, MirroredKind, QueuedKind, RelayState
from lastseat.web.services import SampleStudent


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What every good answer begins with."""

    success: Literal[True]


class Read(Answer, frozen=True, kw_only=True):
    """What a store said. `stale`: the database is away, this is what it said last."""

    stale: bool = False


class ListedExam(Exam, frozen=True, kw_only=True):
    """An exam with its live seat count. `limited` is nearly full; `bookable` is false until it opens."""

    id: ExamId
    bookable: bool
    remaining: int
    status: Literal["available", "limited", "full"]


class Exams(Read, frozen=True, kw_only=True):
    """Every session that students may see, by date and start."""

    exams: list[ListedExam]


class Capacity(Read, frozen=True, kw_only=True):
    """The seats of one exam."""

    exam_id: ExamId
    capacity: int
    total_bookings: int
    remaining: int
    is_full: bool


class Pagination(msgspec.Struct, frozen=True, kw_only=True):
    """Where a page stands among all."""

    page: int
    limit: int
    total: int
    pages: int


class Bookings(Read, frozen=True, kw_only=True):
    """A page of bookings. `is_active` is Pending for a seat that HubSpot has not confirmed yet."""

    bookings: list[Booking]
    pagination: Pagination


class OneBooking(Read, frozen=True, kw_only=True):
    """One booking."""

    booking: Booking


class PendingBooking(Answer, frozen=True, kw_only=True):
    """The seat is held; ask `statusUrl` until `is_active` is no longer Pending."""

    status: Literal["pending"]
    message: str
    booking: Booking
    statusUrl: str  # noqa: N815  # the name in the contract


class CancelledBooking(Answer, frozen=True, kw_only=True):
    """A repeated key whose booking was cancelled since."""

    status: Literal["cancelled"]
    booking: Booking


class CancelResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one booking; `error` and `code` only when `success` is false."""

    bookingId: str  # noqa: N815  # the name in the contract
    success: bool
    status: Literal["cancelled", "pending", "already_cancelled", "not_found", "closed"]
    booking: Booking | None = None
    error: str | None = None
    code: str | None = None


class CancelSummary(msgspec.Struct, frozen=True, kw_only=True):
    """How many results of each status."""

    total: int
    cancelled: int
    pending: int
    already_cancelled: int
    not_found: int
    closed: int


class CancelResults(Answer, frozen=True, kw_only=True):
    """One result per booking, in the order asked, doubles once."""

    results: list[CancelResult]
    summary: CancelSummary


class CountedExam(StaffExam, frozen=True, kw_only=True):
    """An exam as staff sees it, its seats counted now. `capacity` is what HubSpot holds."""

    id: ExamId
    remaining: int
    status: Literal["available", "limited", "full"]


class AllExams(Read, frozen=True, kw_only=True):
    """A page of all exams, the latest first."""

    exams: list[CountedExam]
    pagination: Pagination


class OneExam(Read, frozen=True, kw_only=True):
    """One exam."""

    exam: CountedExam


class ChangedExam(Answer, frozen=True, kw_only=True):
    """The exam as HubSpot has it now."""

    exam: StaffExam


class PendingExam(Answer, frozen=True, kw_only=True):
    """The change is written down; ask `statusUrl` until it is no longer pending. `exam` is as before, or null."""

    status: Literal["pending"]
    message: str
    exam: StaffExam | None
    statusUrl: str  # noqa: N815  # the name in the contract


class ShownChange(msgspec.Struct, frozen=True, kw_only=True):
    """How far a change is; `reason` when it was refused."""

    change_id: str
    kind: ChangeKind
    status: Literal["pending", "done", "refused"]
    reason: str | None
    exam_id: ExamId | None
    exam: StaffExam | None


class OneChange(Answer, frozen=True, kw_only=True):
    """One change of an exam."""

    change: ShownChange


class PreviousBooking(msgspec.Struct, frozen=True, kw_only=True):
    """The booking that was moved; `pending` until its cancel is recorded in HubSpot."""

    bookingId: str  # noqa: N815  # the name in the contract
    status: Literal["cancelled", "pending"]


class MovedBooking(OneBooking, frozen=True, kw_only=True):
    """The booking in the new session."""

    previous: PreviousBooking


class MovingBooking(PendingBooking, frozen=True, kw_only=True):
    """The new seat is held; the old one is given back when that is recorded."""

    previous: PreviousBooking


class UnmovedBooking(CancelledBooking, frozen=True, kw_only=True):
    """A repeated key whose new booking was cancelled since."""

    previous: PreviousBooking


class SignedIn(msgspec.Struct, frozen=True, kw_only=True):
    """Who the session cookie names; `expires_at` in seconds since 1970."""

    contact_id: str | None
    permissions: list[str]
    expires_at: int


class ExamWords(msgspec.Struct, frozen=True, kw_only=True):
    """What an exam's type and location may be."""

    mock_types: list[str]
    locations: list[str]


class SessionState(Answer, frozen=True, kw_only=True):
    """`session` is null for nobody. `asks`: what a booking should carry, by type of session; `lists`: for staff."""

    session: SignedIn | None
    asks: dict[str, list[str]]
    timezone: str
    demo: bool
    lists: ExamWords | None


class Samples(Answer, frozen=True, kw_only=True):
    """The demo's made-up students."""

    students: list[SampleStudent]


class Health(Answer, frozen=True, kw_only=True):
    """The process answers."""

    status: Literal["ok"]


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One part that this service needs, and what to do when it is away."""

    ok: bool
    detail: str
    needed: bool = True


class Ready(Answer, frozen=True, kw_only=True):
    """Every needed part is well."""

    status: Literal["ready"]
    parts: dict[str, Part]


class RejectedRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A record of HubSpot that was not taken as it is, and why."""

    kind: Literal["exams", "contacts", "bookings"]
    id: str
    reason: str


class SyncDone(Answer, frozen=True, kw_only=True):
    """What a forced sync did: records that are there now, and records that are gone."""

    message: str
    synced: int
    archived: int
    rejected: list[RejectedRecord]


class SyncState(Read, frozen=True, kw_only=True):
    """How the sync stands at `at`. `stale`: Supabase is away, and all but the parts of this process are null."""

    at: datetime | None
    records: list[MirroredKind] | None
    backfill: BackfillState | None
    outbox: list[QueuedKind] | None
    aside: int | None
    relay: RelayState | None
    parts: dict[str, Part]


class AsideRows(Answer, frozen=True, kw_only=True):
    """A page of what HubSpot refused for itself, newest first; `reason` is in its words."""

    rows: list[AsideRow]
    pagination: Pagination


class TriedAgain(Answer, frozen=True, kw_only=True):
    """`queued`: on its way again. `not_needed`: nothing is left to do. `not_aside`: it is no longer set aside."""

    status: Literal["queued", "not_needed", "not_aside"]
    row: AsideRow


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Every error: a sentence for people, a code for programs, the field at fault and numbers when there are any."""

    success: Literal[False]
    error: str
    code: str
    field: str | None = None
    details: dict[str, Any] | None = None
