"""Writes an exam as people see it, its seats counted now; keeps nothing and asks no store."""

from datetime import date, datetime
from typing import Final, NamedTuple

import msgspec

from lastseat.model import Exam, Gate

LIMITED_SEATS: Final = 5
LIMITED_SHARE: Final = 0.2


class Filter(NamedTuple):
    """Which exams are asked for; words in lower case."""

    mock_type: str | None = None
    location: str | None = None
    date_from: date | None = None
    date_to: date | None = None

    def admits(self, exam: Exam) -> bool:
        """Whether the exam is asked for; days are the school's, both included."""
        return (
            (self.mock_type is None or (exam.mock_type or "").casefold() == self.mock_type)
            and (self.location is None or (exam.location or "").casefold() == self.location)
            and (self.date_from is None or (exam.exam_date is not None and exam.exam_date >= self.date_from))
            and (self.date_to is None or (exam.exam_date is not None and exam.exam_date <= self.date_to))
        )


def folded(text: str | None) -> str | None:
    """A word to compare by; an empty one asks for nothing."""
    return text.casefold() if text else None


def on_show(exam: Exam, now: datetime) -> bool:
    """Listed until it starts, by the school's date: at 23:30 today is still today."""
    if exam.exam_date is None or exam.exam_date < now.date():
        return False
    if exam.starts_at is not None and exam.starts_at <= now:
        return False
    return exam.is_active == "active" or (exam.is_active == "scheduled" and exam.opens_at is not None)


def seats(exam: Exam | None, gate: Gate | None) -> tuple[int, int, int]:
    """Capacity, taken and left: from the gate; while no store knows it, as the mirror last counted."""
    if gate is not None:
        return gate.capacity, max(gate.taken, gate.capacity - gate.remaining), max(gate.remaining, 0)
    assert exam is not None
    return exam.capacity, exam.total_bookings, max(exam.capacity - exam.total_bookings, 0)


def status(capacity: int, remaining: int) -> str:
    """`available`, `limited` (nearly full) or `full`."""
    if remaining == 0:
        return "full"
    return "limited" if remaining <= LIMITED_SEATS or remaining <= capacity * LIMITED_SHARE else "available"


def listed(exam: Exam, gate: Gate | None, *, bookable: bool) -> dict[str, object]:
    """The PRD's columns and `id`, `remaining`, `status` and `bookable`."""
    capacity, taken, remaining = seats(exam, gate)
    return {
        "id": exam.hubspot_id,
        **msgspec.structs.asdict(exam),
        "capacity": capacity,
        "total_bookings": taken,
        "remaining": remaining,
        "status": status(capacity, remaining),
        "bookable": bookable,
    }
