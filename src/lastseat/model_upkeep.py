"""The words of keeping the ledger in order: rows set aside, and samples for the checks; holds no behaviour."""

from datetime import datetime
from typing import Any, Literal

import msgspec

from lastseat.model import Announcement, BookingId, ContactId, ExamId, HubspotId, OutboxKind

AsideOutcome = Literal[
    "queued",
    "not_needed",
    "not_aside",
    "not_found",
    "not_retryable",
    "full",
    "already_booked",
    "closed",
    "unknown_exam",
]


class AsideRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row that HubSpot refused for itself: what it was to do, for whom, and why not, in HubSpot's words."""

    outbox_id: int
    kind: OutboxKind
    state: str
    reason: str | None = None
    attempts: int = 0
    booking_id: BookingId | None = None
    hubspot_id: HubspotId | None = None
    exam_id: ExamId | None = None
    contact_id: ContactId | None = None
    student_name: str | None = None
    asked_by: str | None = None
    created_at: datetime | None = None
    set_aside_at: datetime | None = None


class AsidePage(msgspec.Struct, frozen=True, kw_only=True):
    """One page of rows set aside, newest first, and the number of all."""

    rows: list[AsideRow]
    total: int


class AsideAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a wish to try a row again; `detail` says why an exam is closed or which booking is held."""

    outcome: AsideOutcome
    row: AsideRow | None = None
    detail: str | None = None
    news: Announcement = Announcement()


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """A few exams with all that hangs on them, as rows of one instant, and how much waits in the outbox.

    `exposed`: what of ours lies open to roles that must not reach it.
    """

    tables: dict[str, list[dict[str, Any]]]
    waiting: dict[str, int]
    oldest_s: float
    aside: int
    untold: int
    to_verify: int
    exposed: list[str] = []
