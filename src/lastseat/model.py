"""The words of the domain as types, shared by every room; holds no behaviour beyond what a value knows of itself."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Literal, NewType

import msgspec

ExamId = NewType("ExamId", str)
"""HubSpot's record id of an exam."""
ContactId = NewType("ContactId", str)
"""HubSpot's record id of a contact."""
HubspotId = NewType("HubspotId", str)
"""HubSpot's record id of a booking."""
BookingId = NewType("BookingId", str)
"""Our own unique reference of a booking, minted before the first call, e.g. `LS-7K3M9QXW2D4F8HAB`."""
ClaimId = NewType("ClaimId", str)
"""A UUID, minted before the first call so that a lost reply can be asked for again."""

Properties = dict[str, str]
"""Fields as they go to HubSpot: strings, `""` clears."""


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """What the ledger last said of one exam's seats; a higher `version` replaces a lower one.

    `open` = active, not archived, published (`opens_at` passed) and not yet started, at that moment.
    """

    exam_id: ExamId
    version: int
    capacity: int
    remaining: int
    open: bool
    taken: int = 0


class Exam(msgspec.Struct, frozen=True, kw_only=True):
    """A session with seats, as the mirror holds it; column names are the PRD's."""

    hubspot_id: ExamId
    mock_exam_name: str | None = None
    mock_type: str | None = None
    exam_date: date | None = None
    start_time: str | None = None
    end_time: str | None = None
    location: str | None = None
    capacity: int = 0
    total_bookings: int = 0
    is_active: str | None = None
    opens_at: datetime | None = None
    starts_at: datetime | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    synced_at: datetime | None = None


class StaffExam(Exam, frozen=True, kw_only=True):
    """An exam as staff sees it: deleted ones too, with the value of the unique property that we gave it."""

    exam_key: str | None = None
    archived_at: datetime | None = None


BookingState = Literal["Active", "Pending", "Cancelled", "Completed", "Refused", "Failed"]


class Booking(msgspec.Struct, frozen=True, kw_only=True):
    """One student's booking: mirrored from HubSpot, or an open or refused claim (`hubspot_id` is then None)."""

    booking_id: BookingId | None = None
    hubspot_id: HubspotId | None = None
    mock_exam_id: ExamId | None = None
    contact_id: ContactId | None = None
    student_id: str | None = None
    student_name: str | None = None
    student_email: str | None = None
    booking_status: str | None = None
    is_active: str | None = None
    attendance: str | None = None
    attending_location: str | None = None
    exam_date: date | None = None
    dominant_hand: str | None = None
    reason: str | None = None
    mock_exam_name: str | None = None
    mock_type: str | None = None
    location: str | None = None
    start_time: str | None = None
    end_time: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    synced_at: datetime | None = None


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """One page of bookings and the number of all."""

    bookings: list[Booking]
    total: int


class ExamBookings(Page, frozen=True, kw_only=True):
    """One page of an exam's bookings and the number of all; `known`: there is such an exam."""

    known: bool


class ExamPage(msgspec.Struct, frozen=True, kw_only=True):
    """One page of exams as staff sees them and the number of all."""

    exams: list[StaffExam]
    total: int


class ClaimRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A wish for one seat. `caller` is who asks (`student:ID`, `staff:SUB`); keys are unique per caller.

    `fingerprint` is a digest of the request's content: the same key with another one is refused. `needs`: which
    properties must be said, by type of session in lower case; a move or another try of a booking asks for none.
    """

    claim_id: ClaimId
    booking_id: BookingId
    exam_id: ExamId
    contact_id: ContactId
    caller: str
    request_id: str
    properties: Properties
    key: str | None = None
    fingerprint: str = ""
    needs: Mapping[str, Sequence[str]] | None = None


ClaimState = Literal["open", "booked", "cancelled", "refused"]


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """The ledger's word on one claim: `open` holds a seat and waits for HubSpot, `booked` is recorded there."""

    claim_id: ClaimId
    booking_id: BookingId
    exam_id: ExamId
    contact_id: ContactId
    state: ClaimState
    hubspot_id: HubspotId | None = None
    reason: str | None = None
    cancel_requested: bool = False
    booking: Booking | None = None


_Refusal = Literal["full", "already_booked", "closed", "lacks", "unknown_exam", "key_reused"]
ClaimOutcome = Literal["won", "replay", "free"] | _Refusal


class ClaimAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to one ClaimRequest: `claim` for won, replay and already_booked; `free` only from `lookup`.

    `detail`: why an exam is closed, or which field the wish lacks.
    """

    outcome: ClaimOutcome
    claim: Claim | None = None
    gate: Gate | None = None
    detail: str | None = None


class CancelRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A wish to cancel. `reference` is a booking id of ours or HubSpot's; `owner` limits it to that student."""

    reference: str
    caller: str
    request_id: str
    owner: ContactId | None = None


CancelOutcome = Literal["cancelled", "pending", "already_cancelled", "not_found", "closed"]


class CancelAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`cancelled`: done, the seat is free. `pending`: queued for HubSpot under `outbox_id`."""

    outcome: CancelOutcome
    booking: Booking | None = None
    claim_id: ClaimId | None = None
    outbox_id: int | None = None
    gate: Gate | None = None


ChangeKind = Literal["exam_create", "exam_update", "exam_archive", "exam_restore"]


class ChangeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A wish of staff to change one exam; `change_id` is minted before the first call, `exam_key` for a new one too.

    `fields` are mirror columns with their new values, None clears. `cancel_bookings`: an archive may cancel them.
    """

    change_id: str
    kind: ChangeKind
    caller: str
    request_id: str
    exam_id: ExamId | None = None
    exam_key: str | None = None
    fields: dict[str, object] = {}
    cancel_bookings: bool = False


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a change: `pending` until HubSpot has spoken, `refused` in its words."""

    change_id: str
    kind: ChangeKind
    status: Literal["pending", "done", "refused"]
    outbox_id: int
    reason: str | None = None
    exam_id: ExamId | None = None
    exam: StaffExam | None = None


ChangeOutcome = Literal[
    "accepted",
    "known",
    "key_reused",
    "unknown_exam",
    "not_deleted",
    "starts_in_the_past",
    "end_before_start",
    "opens_after_start",
    "below_sold",
    "has_bookings",
]


class ChangeAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`accepted` or `known` (asked before): `change` says how far it is. Otherwise why not, with the numbers."""

    outcome: ChangeOutcome
    change: Change | None = None
    details: dict[str, object] = {}


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """The right to be the relay. `term` grows with every holder and fences the ones before.

    `called_ago_s`, with a new term: when an earlier one marked its last call; None if none is known.
    """

    holder: str
    term: int
    remaining_s: float
    called_ago_s: float | None = None


OutboxKind = Literal["create", "cancel", "link_contact", "link_exam", "count"] | ChangeKind


class OutboxRow(msgspec.Struct, frozen=True, kw_only=True):
    """One durable intent towards HubSpot, already marked `sent` in this term.

    `attempts` counts this one; `taken_over` = it was marked sent by an earlier term, its outcome is unknown.
    """

    outbox_id: int
    kind: OutboxKind
    attempts: int
    key: str
    taken_over: bool = False
    claim_id: ClaimId | None = None
    booking_id: BookingId | None = None
    hubspot_id: HubspotId | None = None
    exam_id: ExamId | None = None
    contact_id: ContactId | None = None
    properties: Properties = {}


class Backlog(msgspec.Struct, frozen=True, kw_only=True):
    """How many rows of each kind wait and are due, and when the next one that is not due yet will be."""

    due: dict[OutboxKind, int] = {}
    unannounced: int = 0
    verify_due: int = 0
    next_due_s: float | None = None


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A HubSpot record as read: only the properties that the answer really held; absent is not cleared."""

    hubspot_id: str
    properties: dict[str, str | None]
    created_at: datetime | None = None
    updated_at: datetime | None = None
    archived: bool = False


class RowResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one row of a HubSpot call.

    `written`: HubSpot acknowledged it, `record` is what it said. `refused`: this row alone, `reason` in
    HubSpot's words. `unknown`: it may have been written; `missing`: read back and not there.
    `not_sent`: nothing was sent, and nothing can arrive late. `portal`: refused as all its neighbours were.
    `uncertain`: some send of it was never answered and may still land. `together`: only the batch as a whole
    was refused, a smaller one may pass. `unnamed`: some result of the batch is nobody's, and may be this
    row's.
    """

    key: str
    outcome: Literal["written", "refused", "unknown", "missing", "not_sent", "portal"]
    record: Record | None = None
    reason: str | None = None
    uncertain: bool = False
    together: bool = False
    unnamed: bool = False


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """A row that HubSpot acknowledged; links and counts bring no record. `uncertain`: sent more than once."""

    outbox_id: int
    kind: OutboxKind
    record: Record | None = None
    uncertain: bool = False


class SetAside(msgspec.Struct, frozen=True, kw_only=True):
    """A row that HubSpot refused for itself, in HubSpot's words. `uncertain`: an earlier send may still land."""

    outbox_id: int
    reason: str
    uncertain: bool = False


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """A row to send again after `after_s`. `uncertain`: the lost call may still land, so look again later."""

    outbox_id: int
    after_s: float
    reason: str
    uncertain: bool = False


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """What became of sent rows; taken by the ledger in one transaction."""

    written: list[Written] = []
    aside: list[SetAside] = []
    retry: list[Retry] = []


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """News of one claim, one cancel or one change of an exam (`done`), for whoever waits for it."""

    claim_id: ClaimId | None
    booking_id: BookingId | None
    contact_id: ContactId | None
    exam_id: ExamId | None
    state: ClaimState | Literal["done"]
    outbox_id: int | None = None
    booking: Booking | None = None
    exam: StaffExam | None = None
    reason: str | None = None


class Announcement(msgspec.Struct, frozen=True, kw_only=True):
    """What changed, told to every process before a request is answered."""

    gates: list[Gate] = []
    contacts: list[ContactId] = []
    outcomes: list[Outcome] = []
    exams_changed: bool = False


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks, from a verified token only. A student has `contact_id`; staff have `permissions`."""

    subject: str
    contact_id: ContactId | None = None
    permissions: frozenset[str] = frozenset()

    @property
    def is_staff(self) -> bool:
        """True when the token carries any permission."""
        return bool(self.permissions)

    @property
    def caller(self) -> str:
        """The name under which idempotency keys are unique and changes are audited."""
        return f"staff:{self.subject}" if self.is_staff else f"student:{self.contact_id}"
