"""Tells from claims, changes and the audit log how many seats an exam had, and how many were free; judges nothing."""

from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple

from lastseat.evidence import LIVE_CLAIM, Evidence, Row, instant


class _Bound(NamedTuple):
    """A change that staff asked for: from when to when no more than `seats` might be given."""

    since: float
    until: float
    seats: int


class SeatsInTime:
    """One exam's seats at any instant (epoch seconds). The ledger writes instants down under the exam's lock."""

    def __init__(self, evidence: Evidence, exam_id: str) -> None:
        self._exam = evidence.exams[exam_id]
        audit = [row for row in evidence.rows("audit_log") if row["record_id"] == exam_id]
        self._changes = sorted(_mirrored(audit), key=_at)
        self._bounds = list(_bounds(audit, self._changes, evidence))
        self.given = sorted(_given(evidence, exam_id))
        self._given_at = [at for at, _ in self.given]
        claimed = {row["booking_id"] for row in evidence.claims.values() if row["exam_id"] == exam_id}
        self._imported_at = sorted(
            instant(row.get("synced_at")) or 0.0
            for row in evidence.bookings.values()
            if row["mock_exam_id"] == exam_id and row["holds"] and row.get("booking_key") not in claimed
        )

    def in_force(self, at: float) -> int:
        """The seats that might be given: what HubSpot held, or less while a change under way lowered it."""
        later = next((row["old_values"] for row in self._changes if _at(row) > at), self._exam)
        return min([seats_of(later), *(bound.seats for bound in self._bounds if bound.since <= at < bound.until)])

    def taken(self, at: float) -> int:
        """The seats that were held, of those that are held still."""
        return bisect_right(self._given_at, at) + bisect_right(self._imported_at, at)

    def least_free(self, since: float, until: float) -> int:
        """The fewest seats that were free at any instant between the two."""
        steps = [_at(row) for row in self._changes]
        steps += [at for bound in self._bounds for at in (bound.since, bound.until)]
        moments = [since, until, *(at for at in steps if since < at < until)]
        return min(self.in_force(at) - self.taken(at) for at in moments)

    def given_beyond(self) -> str | None:
        """The newest booking that got a seat although those before it had them all."""
        late = (
            booking_id
            for place, (at, booking_id) in reversed(list(enumerate(self.given)))
            if place + bisect_right(self._imported_at, at) >= self.in_force(at)
        )
        return next(late, None)

    @property
    def changed(self) -> bool:
        """Whether the capacity ever became another one."""
        return bool(self._changes)


def seats_of(exam: Row) -> int:
    """The capacity of a row; none is no seat."""
    return int(exam.get("capacity") or 0)


def _at(row: Row) -> float:
    return instant(row["performed_at"]) or 0.0


def _values(row: Row, name: str) -> Row:
    return row.get(name) or {}


def _mirrored(audit: list[Row]) -> Iterator[Row]:
    """The mirror's rows in which the capacity became another one."""
    for row in audit:
        old, new = _values(row, "old_values"), _values(row, "new_values")
        asked_for = str(row.get("operation") or "").startswith("EXAM_")
        if old and not asked_for and seats_of(old) != seats_of(new):
            yield row


def _bounds(audit: list[Row], changes: list[Row], evidence: Evidence) -> Iterator[_Bound]:
    """From the acceptance of each change of the capacity until the mirror had it, or HubSpot refused it."""
    acknowledged = {row.get("request_id"): _at(row) for row in changes}
    sent = {row.get("request_id"): row for row in evidence.rows("outbox") if row.get("kind") == "exam_update"}
    for row in audit:
        asked = _values(row, "new_values")
        if row.get("operation") != "EXAM_UPDATE" or asked.get("capacity") is None:
            continue
        request_id, since = row.get("request_id"), _at(row)
        until = acknowledged.get(request_id)
        if until is None and request_id in sent:
            until = instant(sent[request_id].get("done_at")) or float("inf")
        yield _Bound(since, since if until is None else until, seats_of(asked))


def _given(evidence: Evidence, exam_id: str) -> Iterator[tuple[float, str]]:
    """When each claim that still holds a seat here got it; one that was refused and tried again, the last time."""
    again = {row["record_id"]: _at(row) for row in evidence.rows("audit_log") if row.get("operation") == "RETRY"}
    for booking_id, claim in evidence.claims.items():
        record = evidence.bookings.get(claim.get("hubspot_id") or "")
        elsewhere = record is not None and record["mock_exam_id"] != exam_id
        if claim["exam_id"] == exam_id and claim["state"] in LIVE_CLAIM and not elsewhere:
            yield again.get(booking_id, instant(claim["created_at"]) or 0.0), booking_id
