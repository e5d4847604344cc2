"""Names every key and channel in Redis, and which views a change touches; never talks to Redis.

The names without `lastseat:` are the PRD's, in a Redis that other apps may share.
"""

from typing import Final

from lastseat.model import Announcement, ContactId, ExamId

EXAMS_AVAILABLE: Final = "user:exams:available"
"""View: the list of exams, without seat counts."""

EXAMS_LIST: Final = "exams:list"
"""View: the first page of staff's list of exams."""

NEWS: Final = "lastseat:news"
"""Channel: announcements."""

WAKE: Final = "lastseat:wake"
"""Channel: rows wait for the relay."""


def bookings_of(contact_id: ContactId) -> str:
    """View: one student's bookings."""
    return f"user:bookings:{contact_id}"


def exam_of(exam_id: ExamId) -> str:
    """View: one exam as staff sees it."""
    return f"lastseat:exam:{exam_id}"


def last_of(view: str) -> str:
    """The last body of a view, kept past its time for when Supabase is away."""
    return f"lastseat:last:{view}"


def gate_of(exam_id: ExamId) -> str:
    """What the ledger last said of an exam's seats."""
    return f"lastseat:gate:{exam_id}"


def capacity_of(exam_id: ExamId) -> str:
    """Seats left as a plain integer: written for other apps, never read by us."""
    return f"capacity:{exam_id}"


def budget_window() -> str:
    """The HubSpot calls of the running window."""
    return "lastseat:budget:window"


def tally_of(window: int) -> str:
    """What callers did in one window of the limits."""
    return f"lastseat:tally:{window}"


def views_changed_by(news: Announcement) -> list[str]:
    """Every view that shows something of this news; the only place that says so.

    Seat counts are in no view (they come from the gates), so a booking leaves the lists of exams alone. Whoever
    changes an exam names in the news its gate, and every student whose list shows it.
    """
    changed = [bookings_of(contact_id) for contact_id in dict.fromkeys(news.contacts)]
    if news.exams_changed:
        named = [gate.exam_id for gate in news.gates] + [o.exam_id for o in news.outcomes if o.exam_id is not None]
        changed += [EXAMS_AVAILABLE, EXAMS_LIST, *(exam_of(exam_id) for exam_id in dict.fromkeys(named))]
    return changed
