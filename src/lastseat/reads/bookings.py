"""Answers who is booked where: one student's own list from a view, the rest from the mirror; never asks HubSpot."""

import math
import time
from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import Final, Literal, get_args
from zoneinfo import ZoneInfo

import msgspec

from lastseat.errors import Refused
from lastseat.model import Booking, ContactId, ExamId
from lastseat.ports import Bulletin, Mirror, View, Views
from lastseat.reads.figures import Ages, age_s
from lastseat.settings import Settings

Filter = Literal["all", "upcoming", "past", "pending", "cancelled", "refused"]
FILTERS: Final[tuple[str, ...]] = get_args(Filter)
LIMIT_MOST: Final = 100  # Limit: bookings of one page

# Words of the portals and the PRD for one state; `is_active` wins over the older `booking_status`.
_STATES: Final = {
    **dict.fromkeys(("active", "true", "yes", "confirmed"), "holds"),
    **dict.fromkeys(("completed",), "completed"),
    **dict.fromkeys(("pending",), "pending"),
    **dict.fromkeys(("cancelled", "canceled", "false", "no", "inactive"), "cancelled"),
    **dict.fromkeys(("refused", "failed"), "refused"),
}

_encoder = msgspec.json.Encoder()
_raw_decoder = msgspec.json.Decoder(list[msgspec.Raw])
_decoder = msgspec.json.Decoder(Booking)


class BookingReads:
    """Complete JSON bodies about bookings, as flat objects with the PRD's column names."""

    def __init__(
        self,
        mirror: Mirror,
        views: Views,
        bulletin: Bulletin,
        settings: Settings,
        *,
        now: Callable[[ZoneInfo], datetime] = datetime.now,
        ages: Ages | None = None,
    ) -> None:
        """`now` tells the time in the school's zone. `ages` hear how old what students got from views was."""
        del bulletin  # news reach the views by themselves, and nothing else is kept here
        self._mirror = mirror
        self._views = views
        self._zone = ZoneInfo(settings.timezone)
        self._now = now
        self._ages = ages if ages is not None else Ages()

    async def list_for(self, contact_id: ContactId, *, filter: str, page: int, limit: int) -> bytes:  # noqa: A002  # the name of the query parameter
        """`{"success": true, "bookings": […], "pagination": {page, limit, total, pages}}`, newest exam first.

        Open claims are in it as Pending, refused ones of the last 30 days as Refused with their reason.
        """
        _check(filter, page, limit)
        asked_at = time.monotonic()
        view = await self._view(contact_id)
        rows = _raw_decoder.decode(view.body)
        if filter != "all":
            today = self._now(self._zone).date()
            rows = [row for row in rows if filter in _kinds(_decoder.decode(row), today)]
        shown = rows[(page - 1) * limit : page * limit]
        self._ages.note(age_s(view, asked_at))
        return _page(shown, page=page, limit=limit, total=len(rows), stale=view.stale)

    async def list_all(self, *, filter: str, page: int, limit: int) -> bytes:  # noqa: A002  # see above
        """Everybody's, for staff; only `filter=all`."""
        _check(filter, page, limit)
        if filter != "all":
            raise Refused("Give a contactId to filter, or ask for all", field="filter", details={"allowed": ["all"]})
        found = await self._mirror.all_bookings(offset=(page - 1) * limit, limit=limit)
        rows = [msgspec.Raw(_encoder.encode(booking)) for booking in found.bookings]
        return _page(rows, page=page, limit=limit, total=found.total, stale=False)

    async def of_exam(self, exam_id: ExamId, *, page: int, limit: int) -> bytes:
        """Who has a seat in an exam or waits for one, by name, for staff; in the shape of a list."""
        _check("all", page, limit)
        found = await self._mirror.exam_bookings(exam_id, offset=(page - 1) * limit, limit=limit)
        if not found.known:
            raise Refused("There is no such exam", code="EXAM_NOT_FOUND")
        rows = [msgspec.Raw(_encoder.encode(booking)) for booking in found.bookings]
        return _page(rows, page=page, limit=limit, total=found.total, stale=False)

    async def one(self, reference: str, *, owner: ContactId | None) -> bytes:
        """`{"success": true, "booking": {…}}`; with an `owner`, anybody else's is not found either.

        The owner's own list is looked at first: that is what a student asks for again and again while waiting.
        """
        if owner is not None:
            asked_at = time.monotonic()
            view = await self._view(owner)
            if reference.encode() in view.body:
                for row in _raw_decoder.decode(view.body):
                    booking = _decoder.decode(row)
                    if reference in (booking.booking_id, booking.hubspot_id):
                        self._ages.note(age_s(view, asked_at))
                        return b'{"success":true,"booking":' + bytes(row) + _end(view.stale)
        booking = await self._mirror.booking(reference)
        if booking is None or (owner is not None and booking.contact_id != owner):
            raise Refused("There is no such booking", code="BOOKING_NOT_FOUND")
        return b'{"success":true,"booking":' + _encoder.encode(booking) + b"}"

    async def shown(self, contact_id: ContactId) -> bytes:
        """One student's rows as a reader sees them; not counted as an answer."""
        return (await self._view(contact_id)).body

    async def read(self, contact_id: ContactId) -> bytes:
        """One student's rows as the database has them."""
        return _encoder.encode(await self._mirror.bookings(contact_id))

    async def _view(self, contact_id: ContactId) -> View:
        return await self._views.bookings(contact_id, lambda: self.read(contact_id))


def _check(filter_: str, page: int, limit: int) -> None:
    if filter_ not in FILTERS:
        allowed = list(FILTERS)
        raise Refused(f"filter must be one of {', '.join(allowed)}", field="filter", details={"allowed": allowed})
    if page < 1:
        raise Refused("page must be 1 or more", field="page")
    if not 1 <= limit <= LIMIT_MOST:
        raise Refused(f"limit must be between 1 and {LIMIT_MOST}", field="limit")


def _kinds(booking: Booking, today: date) -> set[str]:
    """The filters that show this booking. Without a date it counts as still to come."""
    state = _STATES.get((booking.is_active or booking.booking_status or "").strip().casefold(), "holds")
    if state in {"cancelled", "refused"}:
        return {state}
    over = state == "completed" or (booking.exam_date is not None and booking.exam_date < today)
    return {state, "past" if over else "upcoming"}


def _page(rows: Sequence[msgspec.Raw], *, page: int, limit: int, total: int, stale: bool) -> bytes:
    pagination = {"page": page, "limit": limit, "total": total, "pages": math.ceil(total / limit)}
    body = b'{"success":true,"bookings":[' + b",".join(map(bytes, rows)) + b'],"pagination":'
    return body + _encoder.encode(pagination) + _end(stale)


def _end(stale: bool) -> bytes:
    return b',"stale":true}' if stale else b"}"
