"""What the rooms need of the stores, as protocols; holds no code, so that neither side can know the other."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Literal, Protocol

import msgspec

from lastseat.model import (
    Announcement,
    Backlog,
    Booking,
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
    ExamBookings,
    ExamId,
    ExamPage,
    Gate,
    Lease,
    OutboxKind,
    OutboxRow,
    Page,
    Record,
    RowResult,
    Settlement,
    StaffExam,
)
from lastseat.model_moves import MoveAnswer, MoveRequest
from lastseat.model_upkeep import AsideAnswer, AsidePage, Sample


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

    async def take_lease(self, holder: str, lease_s: float, term: int | None = None) -> Lease | None:
        """Renew `term`; without one, or when that is over, begin a new term, even after one of our own."""
        ...

    async def release_lease(self, holder: str, term: int) -> None: ...
    async def backlog(self, term: int) -> Backlog: ...
    async def send(self, term: int, kind: OutboxKind, limit: int) -> list[OutboxRow]: ...
    async def settle(self, term: int, settlement: Settlement) -> tuple[Announcement, list[int]]:
        """Mirror what was written, in one transaction; return the news and the rows to call announced."""
        ...

    async def unannounced(self, term: int) -> tuple[Announcement, list[int]]: ...
    async def announced(self, term: int, outbox_ids: Sequence[int]) -> None: ...
    async def to_verify(self, term: int, limit: int) -> list[OutboxRow]: ...
    async def verified(
        self, term: int, found: Sequence[tuple[OutboxRow, Record | None]]
    ) -> tuple[Announcement, list[int]]:
        """Compare with what is intended; return the news and the rows to call announced."""
        ...

    async def housekeep(self, term: int, *, key_ttl_s: float, keep_s: float, most: int) -> int:
        """Forget old idempotency keys and rows that ended long ago, at most so many of each."""
        ...


class AsideLedger(Protocol):
    """What HubSpot refused for itself."""

    async def set_aside(self, *, offset: int, limit: int) -> AsidePage: ...
    async def retry_aside(self, outbox_id: int, *, caller: str, request_id: str) -> AsideAnswer: ...


class Sampler(Protocol):
    """A look at the ledger that a running server can afford."""

    async def some_exams(self, most: int) -> list[ExamId]: ...
    async def sample(self, exam_ids: Collection[ExamId]) -> Sample: ...


class StaffLedger(Protocol):
    """What staff changes. Both tighten at once and tell in the news what bound already."""

    async def change_exam(self, wish: ChangeRequest) -> tuple[ChangeAnswer, Announcement]: ...
    async def exam_change(self, change_id: str) -> tuple[Change | None, Announcement]:
        """How far a change is, with what to tell when it has ended and nobody was told yet."""
        ...

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

    async def all_bookings(self, *, offset: int, limit: int) -> Page: ...
    async def exam_bookings(self, exam_id: ExamId, *, offset: int, limit: int) -> ExamBookings:
        """Who has a seat in an exam or waits for one, by name."""
        ...

    async def all_exams(self, *, offset: int, limit: int) -> ExamPage:
        """For staff: the latest first, closed and deleted ones too."""
        ...

    async def staff_exam(self, exam_id: ExamId) -> StaffExam | None: ...
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

    async def all_exams(self, fill: Callable[[], Awaitable[bytes]]) -> View:
        """The first page of staff's list of exams."""
        ...

    async def staff_exam(self, exam_id: ExamId, fill: Callable[[], Awaitable[bytes]]) -> View:
        """One exam as staff sees it, or `null`."""
        ...


class Bulletin(Protocol):
    """News between processes: announcements and wake-ups. Losing one costs time, never truth."""

    async def announce(self, news: Announcement) -> bool:
        """Gates put, views dropped, everyone told: this process first, then the others, in one Redis trip.

        False: the other processes could not be told; this one was.
        """
        ...

    def subscribe(self, listener: Callable[[Announcement], None]) -> None: ...

    async def wake(self) -> None:
        """Tell the relay, wherever it runs, that rows wait."""
        ...

    def on_wake(self, listener: Callable[[], None]) -> None: ...

    @property
    def connected(self) -> bool: ...


class Tally(Protocol):
    """What callers did in a window, added up over all processes. Losing it makes a limit milder, never stricter."""

    async def add(self, window: int, counts: Mapping[str, int], *, ttl_s: float) -> dict[str, int]:
        """Add to each key's count of this window and return the sums; nothing while Redis is away."""
        ...


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
    async def read_bookings(self, slot: Slot, names: Sequence[str], *, by_key: bool) -> list[Record]: ...
    async def link(self, slot: Slot, kind: OutboxKind, rows: Sequence[OutboxRow]) -> list[RowResult]: ...
    async def update_exams(self, slot: Slot, rows: Sequence[OutboxRow]) -> list[RowResult]: ...
    async def upsert_exams(self, slot: Slot, rows: Sequence[OutboxRow]) -> list[RowResult]: ...
    async def archive_exams(self, slot: Slot, rows: Sequence[OutboxRow]) -> list[RowResult]: ...
    async def read_exams(self, slot: Slot, names: Sequence[str], *, by_key: bool) -> list[Record]: ...


RecordKind = Literal["exams", "contacts", "bookings"]


class ListPage(msgspec.Struct, frozen=True, kw_only=True):
    """One page of a list. `after` asks for the next one, None: this was the last. `unreadable` rows were left out."""

    records: list[Record]
    after: str | None = None
    unreadable: int = 0


class ReadById(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the asked ids: records as they are now, and those that HubSpot says are not there."""

    records: list[Record]
    gone: list[str]


class Lists(Protocol):
    """HubSpot's lists and reads by id; never a search, which lags, and never a write.

    Each method is one call and raises Unavailable (ask again) or SetupError (with the way out).
    """

    async def page(self, slot: Slot, kind: RecordKind, *, after: str | None, archived: bool) -> ListPage: ...
    async def read(self, slot: Slot, kind: RecordKind, ids: Sequence[str]) -> ReadById:
        """At most 100 ids. An id that the answer does not speak of is in neither list."""
        ...

    async def ends(
        self, slot: Slot, booking_ids: Sequence[str], to: Literal["exams", "contacts"]
    ) -> dict[str, list[str]]:
        """What at most 1,000 bookings are associated with; a booking without any has an empty list."""
        ...

    async def bookings_of(self, slot: Slot, exam_id: ExamId, after: str | None) -> tuple[list[str], str | None]:
        """The ids of an exam's bookings by association, and what asks for more of them."""
        ...

    async def need_key(self, slot: Slot) -> None:
        """Raise SetupError unless the token works and bookings have the unique property."""
        ...


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """A page that the mirror took: its news, and the database's clock. `overtaken`: another run has the cursor."""

    now: datetime
    news: Announcement = Announcement()
    overtaken: bool = False


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """How many there are of one oddity, and the first of them."""

    count: int
    first: list[dict[str, object]] = []


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """What the mirror holds and what is odd about it. `unseen`: rows that HubSpot did not list at all."""

    held: dict[RecordKind, dict[str, int]]
    oversold: Found
    doubles: Found
    duplicate_keys: Found
    unknown_contacts: Found
    unknown_exams: Found
    unseen: Found


class UpkeepLedger(Protocol):
    """The mirror and its cursors, as backfill and sync see them. A cursor's value is JSON."""

    async def cursor(self, name: str) -> tuple[bytes | None, datetime]:
        """The value, if any, and the database's clock."""
        ...

    async def save_cursor(self, name: str, value: object) -> datetime: ...

    def faults(self, kind: RecordKind, record: Record) -> list[str]:
        """Each value of a record that cannot be read; its column will be left as it is."""
        ...

    async def take(
        self,
        kind: RecordKind,
        records: Sequence[Record],
        *,
        actor: str,
        read_at: datetime,
        cursor: tuple[str, object] | None = None,
    ) -> Taken:
        """Mirror records that were read after `read_at`, and keep the cursor's new value with them or not at all."""
        ...

    async def exam_records(self, exam_id: ExamId) -> tuple[list[str], datetime]:
        """HubSpot's ids of the bookings that the mirror shows in an exam."""
        ...

    async def survey(self, since: datetime, limit: int) -> Survey: ...


class PropertyShape(msgspec.Struct, frozen=True, kw_only=True):
    """A property as a portal defines it; `options` are the allowed values, if only some are."""

    name: str
    type: str = "string"
    unique: bool = False
    read_only: bool = False
    hubspot_defined: bool = False
    group: str = ""
    options: list[str] = []


class ObjectShape(msgspec.Struct, frozen=True, kw_only=True):
    """A custom object of a portal."""

    type_id: str
    name: str
    labels: list[str] = []


class ObjectDraft(msgspec.Struct, frozen=True, kw_only=True):
    """A custom object to make, with its properties."""

    name: str
    singular: str
    plural: str
    primary: str
    properties: list[PropertyShape]
    associated: list[str]


class Portal(Protocol):
    """A portal's definitions. Each method is one call.

    They raise Unavailable, SetupError (the token is not valid at all), or Refused with the code FORBIDDEN (a scope is
    missing; `details["scopes"]`), NOT_FOUND (there is no such object type) or INVALID (HubSpot's own words).
    """

    async def objects(self, slot: Slot) -> list[ObjectShape]: ...
    async def properties(self, slot: Slot, object_type: str) -> list[PropertyShape]: ...
    async def count_link_types(self, slot: Slot, from_type: str, to_type: str) -> int: ...
    async def may_write(self, slot: Slot, object_type: str, to_type: str | None = None) -> None:
        """Return if records of this type may be written (or linked to another type); writes nothing."""
        ...

    async def make_object(self, slot: Slot, draft: ObjectDraft) -> ObjectShape: ...
    async def make_properties(self, slot: Slot, object_type: str, drafts: Sequence[PropertyShape]) -> None: ...
    async def make_link_type(self, slot: Slot, from_type: str, to_type: str, name: str) -> None: ...
