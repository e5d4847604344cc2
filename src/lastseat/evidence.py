"""What a judge may look at: ledger, HubSpot, calls, gates, answers, logs as plain values; never fetches any of it."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Literal

import msgspec

from lastseat.model import Gate

Row = Mapping[str, Any]
"""One row of a table as JSON has it: instants are ISO 8601 text."""

UNFINISHED = frozenset({"waiting", "sent", "mirrored"})
"""States of an outbox row that somebody still has to act on."""
LIVE_CLAIM = frozenset({"open", "booked"})

CallKind = Literal["write", "read_back", "read", "describe"]
"""`read_back`: batch read by our key after a lost reply. `read`: list, search, single read. `describe`: the rest."""


class PortalRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One booking record as HubSpot has it; `key` is the value of the unique property."""

    hubspot_id: str
    key: str | None
    exam_id: str | None
    contact_id: str | None
    holds: bool
    archived: bool = False


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One call as HubSpot counted it. `planted`: it failed whatever we did, by a fault or by calls of others."""

    at: float
    kind: CallKind
    status: int
    planted: bool = False


class Answer(msgspec.Struct, frozen=True, kw_only=True, tag="answer", tag_field="kind"):
    """One answer to one booking request; `status` 0 = none came. `sent_at` is epoch seconds."""

    rush: int = 0
    contact_id: str
    exam_id: str
    key: str | None = None
    sent_at: float
    ms: float
    status: int
    code: str | None = None
    booking_id: str | None = None
    shown_contact: str | None = None
    status_url: str | None = None
    error: str | None = None

    @property
    def at(self) -> float:
        """When it came, epoch seconds."""
        return self.sent_at + self.ms / 1000


class Ending(msgspec.Struct, frozen=True, kw_only=True, tag="ending", tag_field="kind"):
    """What a 202 came to, as its student saw it; `lost` = it never ended while we looked."""

    rush: int = 0
    contact_id: str
    exam_id: str
    booking_id: str | None
    state: Literal["booked", "refused", "cancelled", "lost"]
    at: float
    reason: str | None = None
    shown_contact: str | None = None


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """How many HubSpot calls may arrive in any window of this length."""

    calls: int
    window_s: float = 10.0


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Everything that was seen; None = not looked at, which is never the same as empty.

    `exposed`: what of ours lies open in the database, `strangers`: tables of others that do. `read_by_hand`: an
    operator may have read HubSpot too (`doctor`, `sync`, `backfill`), so a read among the calls accuses nobody.
    """

    tables: Mapping[str, Sequence[Row]] = field(default_factory=dict[str, Sequence[Row]])
    portal: Sequence[PortalRecord] | None = None
    calls: Sequence[Call] | None = None
    budget: Budget | None = None
    gates: Sequence[Gate] | None = None
    answers: Sequence[Answer] | None = None
    endings: Sequence[Ending] = ()
    log_lines: Sequence[str] | None = None
    secrets: Sequence[str] = ()
    exposed: Sequence[str] | None = None
    strangers: Sequence[str] = ()
    read_by_hand: bool = False

    def rows(self, table: str) -> Sequence[Row]:
        """A table of the ledger; empty if it was not dumped."""
        return self.tables.get(table, ())

    @cached_property
    def exams(self) -> dict[str, Row]:
        """The exams by HubSpot id."""
        return {row["hubspot_id"]: row for row in self.rows("hubspot_mock_exams")}

    @cached_property
    def claims(self) -> dict[str, Row]:
        """The claims by our booking id."""
        return {row["booking_id"]: row for row in self.rows("claims")}

    @cached_property
    def bookings(self) -> dict[str, Row]:
        """The mirrored bookings by HubSpot id."""
        return {row["hubspot_id"]: row for row in self.rows("hubspot_bookings")}

    @cached_property
    def holders(self) -> Counter[str]:
        """Mirrored rows that hold a seat, per exam."""
        return Counter(row["mock_exam_id"] for row in self.bookings.values() if row["holds"])

    @cached_property
    def open_claims(self) -> Counter[str]:
        """Claims that hold a seat and wait for HubSpot, per exam."""
        return Counter(row["exam_id"] for row in self.claims.values() if row["state"] == "open")

    @cached_property
    def portal_by_id(self) -> dict[str, PortalRecord]:
        """HubSpot's booking records by their id."""
        return {record.hubspot_id: record for record in self.portal or ()}

    @cached_property
    def held(self) -> dict[tuple[str, str], list[PortalRecord]]:
        """HubSpot's records that hold a seat, by (contact, exam)."""
        groups: dict[tuple[str, str], list[PortalRecord]] = defaultdict(list)
        for record in self.portal or ():
            if record.holds and not record.archived:
                groups[record.contact_id or "", record.exam_id or ""].append(record)
        return groups

    @cached_property
    def under_way(self) -> frozenset[str]:
        """Our booking ids and HubSpot ids that an unfinished outbox row speaks of."""
        rows = [row for row in self.rows("outbox") if row["state"] in UNFINISHED or row.get("verify_at")]
        return frozenset(str(row[name]) for row in rows for name in ("booking_id", "hubspot_id") if row.get(name))

    @cached_property
    def endings_by_student(self) -> dict[tuple[str, str], Ending]:
        """The last word on each student's pending claim, by (contact, exam)."""
        return {(ending.contact_id, ending.exam_id): ending for ending in self.endings}

    def taken(self, exam_id: str) -> int:
        """Seats that are really held: mirrored holders and open claims."""
        return self.holders[exam_id] + self.open_claims[exam_id]

    def free(self, exam_id: str) -> int:
        """Seats that nobody holds; negative when oversold."""
        return (self.exams[exam_id].get("capacity") or 0) - self.taken(exam_id)


def instant(text: str | None) -> float | None:
    """An ISO instant of the dump as epoch seconds; None for absent and for Postgres's infinities."""
    if text is None or "infinity" in text:
        return None
    return datetime.fromisoformat(text).timestamp()


def holds_seat(booking_status: str | None, is_active: str | None) -> bool:
    """Whether a HubSpot record holds a seat: apart from the ledger's SQL, so that one can convict the other."""
    if is_active:
        return is_active.lower() in {"active", "completed", "true", "yes"}
    return (booking_status or "").lower() in {"confirmed", "pending", "completed"}
