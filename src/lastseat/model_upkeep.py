"""The words of keeping the ledger in order: rows set aside, samples, how the sync stands; holds no behaviour."""

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


class MirroredKind(msgspec.Struct, frozen=True, kw_only=True):
    """How many records of one kind the mirror has, and when it last heard of the live ones."""

    kind: Literal["exams", "contacts", "bookings"]
    live: int
    archived: int
    oldest_synced_at: datetime | None = None
    newest_synced_at: datetime | None = None


class BackfillState(msgspec.Struct, frozen=True, kw_only=True):
    """How far the last reading of everything is: passes of `passes`, records read by kind, calls made."""

    updated_at: datetime
    began_at: datetime | None = None
    done: bool
    passes_done: int
    passes: int = 0
    read: dict[str, dict[str, int]] = {}
    calls: int = 0
    rejected: int = 0


class QueuedKind(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of one kind that HubSpot has not answered for; `last_error` is of the one tried most, in its words."""

    kind: OutboxKind
    waiting: int
    sent: int
    oldest_at: datetime | None = None
    attempts_most: int = 0
    last_error: str | None = None


class RelayState(msgspec.Struct, frozen=True, kw_only=True):
    """Whether some process writes to HubSpot; `held` until `expires_at`, unless it is renewed."""

    term: int
    held: bool
    expires_at: datetime | None = None


class SyncStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How the mirror, the outbox and the relay stand, by the database's clock."""

    at: datetime
    records: list[MirroredKind]
    backfill: BackfillState | None
    outbox: list[QueuedKind]
    aside: int
    relay: RelayState
