"""What the web room needs of the rooms behind it, as protocols; builds nothing and opens nothing."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import date
from typing import Protocol

import jwt
import msgspec

from lastseat.model import (
    Announcement,
    CancelAnswer,
    CancelRequest,
    Change,
    ChangeRequest,
    Claim,
    ClaimRequest,
    ContactId,
    ExamId,
    Gate,
)
from lastseat.model_moves import MoveRequest
from lastseat.model_upkeep import AsideAnswer, AsidePage, SyncStatus
from lastseat.ports import Tally
from lastseat.reads.edition import Edition
from lastseat.settings import Settings
from lastseat.writes.move import Moved

KeyLookup = Callable[[str], jwt.PyJWK | None]
"""A signing key of the project by its id, with the one algorithm that it is for; None for an unknown id."""


class ExamBodies(Protocol):
    """Complete JSON answers about exams, shared by all who ask at the same moment."""

    async def available(
        self,
        *,
        mock_type: str | None = None,
        location: str | None = None,
        date_from: date | None = None,
        date_to: date | None = None,
    ) -> bytes: ...

    async def capacity(self, exam_id: ExamId) -> bytes:
        """Raise Refused EXAM_NOT_FOUND for an exam that nobody knows."""
        ...


class StaffExamBodies(Protocol):
    """Complete JSON answers about exams for staff."""

    async def all_exams(self, *, page: int, limit: int) -> bytes: ...
    async def one(self, exam_id: ExamId) -> bytes:
        """Raise Refused EXAM_NOT_FOUND for an exam that nobody knows."""
        ...


class LiveExams(Protocol):
    """What is at hand in this process: nothing here waits for a store, but `seats_now`."""

    def available_at_hand(self) -> tuple[bytes, Edition] | None:
        """The unfiltered list and its edition, or None when a store must be asked."""
        ...

    def capacity_at_hand(self, exam_id: ExamId) -> tuple[bytes, Edition] | None: ...

    def on_seats(self, listener: Callable[[Sequence[Gate], bool], None]) -> None:
        """Call `listener` with the counts that changed, and whether the list of exams itself did."""
        ...

    async def seats_now(self) -> list[Gate]:
        """The counts of all listed exams."""
        ...


class BookingBodies(Protocol):
    """Complete JSON answers about bookings."""

    async def list_for(self, contact_id: ContactId, *, filter: str, page: int, limit: int) -> bytes: ...  # noqa: A002  # the name of the query parameter
    async def list_all(self, *, filter: str, page: int, limit: int) -> bytes: ...  # noqa: A002  # the name of the query parameter
    async def of_exam(self, exam_id: ExamId, *, page: int, limit: int) -> bytes:
        """Raise Refused EXAM_NOT_FOUND for an exam that nobody knows."""
        ...

    async def one(self, reference: str, *, owner: ContactId | None) -> bytes:
        """Raise Refused BOOKING_NOT_FOUND, also for a booking that is not `owner`'s."""
        ...


class SeatBooker(Protocol):
    """The one way to a seat."""

    async def book(self, request: ClaimRequest) -> Claim:
        """Return a `booked` or `open` claim; raise Refused, Unavailable or Uncertain."""
        ...


class SeatCanceller(Protocol):
    """The one way to give a seat back."""

    async def cancel(self, requests: Sequence[CancelRequest]) -> list[CancelAnswer]:
        """One answer per request, in their order."""
        ...


class ExamChanges(Protocol):
    """The one way to change an exam."""

    async def change(self, request: ChangeRequest) -> Change:
        """Return a `done` or `pending` change; raise Refused, Unavailable or Uncertain."""
        ...

    async def look(self, change_id: str) -> Change | None: ...


class SeatMover(Protocol):
    """The one way to another session."""

    async def move(self, request: MoveRequest) -> Moved:
        """Raise Refused, Unavailable or Uncertain; refused, the student keeps the old seat."""
        ...


class Synced(Protocol):
    """What a sync did; `message` is the PRD's."""

    @property
    def message(self) -> str: ...
    @property
    def synced(self) -> int: ...
    @property
    def archived(self) -> int: ...
    @property
    def rejected(self) -> Sequence[object]: ...


class Syncer(Protocol):
    """Brings the mirror up to HubSpot by hand."""

    async def exams(self, actor: str) -> Synced: ...
    async def bookings(self, exam_id: ExamId, actor: str) -> Synced:
        """Raise Refused EXAM_NOT_FOUND when HubSpot has no such exam."""
        ...


class SyncStatuses(Protocol):
    """How the mirror, the outbox and the relay stand."""

    async def look(self) -> SyncStatus:
        """Raise Unavailable while Supabase is away."""
        ...


class SecondTries(Protocol):
    """What HubSpot refused for itself."""

    async def list(self, *, page: int, limit: int) -> AsidePage: ...
    async def retry(self, outbox_id: int, *, caller: str, request_id: str) -> AsideAnswer:
        """Raise Refused when it cannot be tried again, with the reason."""
        ...


class SampleStudent(msgspec.Struct, frozen=True, kw_only=True):
    """A made-up student that a visitor of the demo may sign in as."""

    contact_id: ContactId
    name: str
    student_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Services:
    """Everything the web room calls.

    `ready` says of each part `{"ok": bool, "detail": str}`, with `"needed": False` for a part whose loss only
    makes the service slower. `samples` is asked in demo mode only. Without `live` nothing takes the hot lane and
    there are no live seats; `news(listener)` tells own outcomes. Without `tally` each process limits alone.
    `keys` are the project's signing keys, None where only the secret counts. `figures(labels)` are lines for
    /metrics.
    """

    settings: Settings
    exams: ExamBodies
    staff_exams: StaffExamBodies
    bookings: BookingBodies
    booker: SeatBooker
    canceller: SeatCanceller
    changer: ExamChanges
    mover: SeatMover
    ready: Callable[[], Awaitable[dict[str, object]]]
    lifespan: Callable[[], AbstractAsyncContextManager[None]]
    syncer: Syncer | None = None
    sync_status: SyncStatuses | None = None
    second_try: SecondTries | None = None
    samples: Callable[[], Awaitable[Sequence[SampleStudent]]] | None = None
    live: LiveExams | None = None
    news: Callable[[Callable[[Announcement], None]], None] | None = None
    tally: Tally | None = None
    keys: KeyLookup | None = None
    figures: Callable[[str], Iterable[str]] | None = None
