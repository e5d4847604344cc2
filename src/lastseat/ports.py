"""What the rooms need of the stores, as protocols; holds no code, so that neither side can know the other."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Protocol

import msgspec

from lastseat.model import (
    Announcement,
    Backlog,
    Booking,
    BookingId,
    CancelAnswer,
    CancelRequest,
    Change,
    ChangeAnswer,
    ChangeRequest,
    Claim,
    ClaimAnswer,
    ClaimId,
    ClaimRequest,
    ContactId,
    Exam,
    ExamId,
    Gate,
    Lease,
    MoveAnswer,
    MoveRequest,
    OutboxKind,
    OutboxRow,
    Page,
    Record,
    RowResult,
    Settlement,
)


class Database(Protocol):
    """One SQL function of schema `lastseat_api` per call: one round trip, one transaction."""

    async def call(self, function: str, args: bytes) -> bytes:
        """Send JSON, return JSON; raise Refused, Unavailable or Uncertain (the reply was lost)."""
        ...


class SeatLedger(Protocol):
    """The one place where a seat is given. Answers come in the order of the requests."""

    async def claim(self, claims: Sequence[ClaimRequest]) -> list[ClaimAnswer]: ...
    async def lookup(self, claims: Sequence[ClaimRequest]) -> list[ClaimAnswer]: ...
    async def cancel(self, cancels: Sequence[CancelRequest]) -> tuple[list[CancelAnswer], Announcement]:
        """Take the wishes; the news is for those that were folded at once."""
        ...

    async def outcomes(self, claim_ids: Sequence[ClaimId]) -> list[Claim | None]: ...
    async def gates(self, exam_ids: Collection[ExamId] | None = None) -> list[Gate]: ...


class RelayLedger(Protocol):
    """The outbox and the lease, as the relay sees them. Every call but the lease's checks `term`."""

    async def take_lease(self, holder: str, lease_s: float) -> Lease | None: ...
    async def release_lease(self, holder: str, term: int) -> None: ...
    async def backlog(self, term: int) -> Backlog: ...
    async def send(self, term: int, kind: OutboxKind, limit: int) -> list[OutboxRow]: ...
    async def settle(self, term: int, settlement: Settlement) -> tuple[Announcement, list[int]]:
        """Mirror what was written, in one transaction; return the news and the rows to call announced."""
        ...

    async def unannounced(self, term: int) -> tuple[Announcement, list[int]]: ...
    async def announced(self, term: int, outbox_ids: Sequence[int]) -> None: ...
    async def to_verify(self, term: int, limit: int) -> list[OutboxRow]: ...
    async def verified(self, term: int, found: Sequence[tuple[OutboxRow, Record | None]]) -> Announcement: ...


class StaffLedger(Protocol):
    """What staff changes. Both tighten at once and tell in the news what bound already."""

    async def change_exam(self, wish: ChangeRequest) -> tuple[ChangeAnswer, Announcement]: ...
    async def exam_change(self, change_id: str) -> Change | None: ...
    async def move_booking(self, wish: MoveRequest) -> tuple[MoveAnswer, Announcement]: ...


class Mirror(Protocol):
    """The reads, all from Supabase."""

    async def exams(self) -> list[Exam]:
        """Every exam that is active or scheduled and not past, by date and start."""
        ...

    async def exam(self, exam_id: ExamId) -> Exam | None: ...

    async def bookings(self, contact_id: ContactId) -> list[Booking]:
        """All of one student's bookings and open or lately refused claims, newest exam first."""
        ...

    async def all_bookings(self, *, offset: int, limit: int) -> Page:
        """Everybody's, for staff."""
        ...

    async def booking(self, reference: str) -> Booking | None:
        """By our booking id or by HubSpot's record id."""
        ...


class Gates(Protocol):
    """The seat counts in Redis: a hint that may be lost. Fails to the ledger, never to an answer of its own."""

    async def look(self, exam_ids: Collection[ExamId]) -> dict[ExamId, Gate]:
        """Those that are known; an unreachable Redis knows none."""
        ...

    async def put(self, gates: Collection[Gate]) -> None:
        """Store each unless a newer version is there; an unreachable Redis is no error."""
        ...


class View(msgspec.Struct, frozen=True, kw_only=True):
    """A cached body as Supabase held it at `filled_at` (seconds since 1970) or later.

    `stale`: Supabase is away, and this is the last that is known.
    """

    body: bytes
    filled_at: float
    stale: bool = False


class Views(Protocol):
    """Cached bodies in Redis with leases. The cache fails open: unreachable means a miss.

    `fill` reads Supabase; when it raises Unavailable the last body is served, marked stale.
    """

    async def exams(self, fill: Callable[[], Awaitable[bytes]]) -> View:
        """The list of exams, without seat counts."""
        ...

    async def bookings(self, contact_id: ContactId, fill: Callable[[], Awaitable[bytes]]) -> View:
        """One student's bookings."""
        ...


class Bulletin(Protocol):
    """News between processes: announcements and wake-ups. Losing one costs time, never truth."""

    async def announce(self, news: Announcement) -> None:
        """Gates put, views dropped, everyone told: this process first, then the others, in one Redis trip."""
        ...

    def subscribe(self, listener: Callable[[Announcement], None]) -> None: ...

    async def wake(self) -> None:
        """Tell the relay, wherever it runs, that rows wait."""
        ...

    def on_wake(self, listener: Callable[[], None]) -> None: ...

    @property
    def connected(self) -> bool: ...


class Slot(Protocol):
    """The right to make one HubSpot call; give it back unused or close it when the reply or time-out came."""

    async def close(self, headers: dict[str, str] | None = None, status: int | None = None) -> None: ...
    async def give_back(self) -> None: ...


class RateBudget(Protocol):
    """The shared budget of HubSpot calls, across processes."""

    async def reserve(self, kind: OutboxKind | str) -> Slot | float:
        """A slot, or the seconds to wait before asking again. Lower kinds leave room for higher ones."""
        ...

    async def free(self) -> int:
        """How many calls could start now."""
        ...


class HubSpot(Protocol):
    """The system of record. Writes only, and the read-backs that a lost reply needs."""

    async def upsert_bookings(self, slot: Slot, rows: Sequence[OutboxRow]) -> list[RowResult]: ...
    async def update_bookings(self, slot: Slot, rows: Sequence[OutboxRow]) -> list[RowResult]: ...
    async def read_bookings(self, slot: Slot, keys: Sequence[BookingId]) -> list[Record]: ...
    async def link(self, slot: Slot, kind: OutboxKind, rows: Sequence[OutboxRow]) -> list[RowResult]: ...
    async def update_exams(self, slot: Slot, rows: Sequence[OutboxRow]) -> list[RowResult]: ...
    async def upsert_exams(self, slot: Slot, rows: Sequence[OutboxRow]) -> list[RowResult]: ...
    async def archive_exams(self, slot: Slot, rows: Sequence[OutboxRow]) -> list[RowResult]: ...
    async def read_exams(self, slot: Slot, names: Sequence[str], *, by_key: bool) -> list[Record]: ...
