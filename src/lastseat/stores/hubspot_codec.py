"""Turns HubSpot's strings into mirror facts and back, dates and options too; never guesses an unreadable value."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from zoneinfo import ZoneInfo

import msgspec

from lastseat.model import Properties, Record

EXAM_PROPERTIES = (
    "mock_exam_name",
    "mock_type",
    "exam_date",
    "start_time",
    "end_time",
    "location",
    "capacity",
    "total_bookings",
    "is_active",
)
BOOKING_PROPERTIES = (
    "booking_id",
    "mock_exam_id",
    "contact_id",
    "student_id",
    "student_name",
    "student_email",
    "booking_status",
    "is_active",
    "attendance",
    "attending_location",
    "exam_date",
    "dominant_hand",
)
CONTACT_PROPERTIES = ("student_id", "email", "firstname", "lastname")

# Portals spell the same option in many ways; here is the one word each of them means.
_EXAM_STATES = {
    "active": "active",
    "true": "active",
    "yes": "active",
    "1": "active",
    "inactive": "inactive",
    "false": "inactive",
    "no": "inactive",
    "0": "inactive",
    "scheduled": "scheduled",
}
_BOOKING_STATES = {
    "active": "Active",
    "true": "Active",
    "yes": "Active",
    "1": "Active",
    "cancelled": "Cancelled",
    "canceled": "Cancelled",
    "false": "Cancelled",
    "no": "Cancelled",
    "0": "Cancelled",
    "completed": "Completed",
    "failed": "Failed",
}
_BOOKING_STATUSES = {"canceled": "cancelled"}
_UNREADABLE_CHARACTERS = re.compile("[\x00\ud800-\udfff]")
_WHOLE_NUMBER = re.compile(r"\d{11,15}")
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::\d{2}(?:\.\d+)?)?\s*([AaPp])?\.?(?:[Mm]\.?)?")
_LARGEST_COUNT = 2**31 - 1  # Limit: a Postgres integer.


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """One record as facts for the mirror, by column name and ready for JSON.

    A column that is not in `fields` was not read, None was read as empty. `key` is the booking's unique
    property, if any. `rejected` names each value that could not be read; its column is left out.
    """

    hubspot_id: str
    key: str | None
    fields: dict[str, object]
    created_at: datetime | None
    updated_at: datetime | None
    archived: bool
    rejected: list[str]


class Codec:
    """Reads and writes HubSpot values in one business time zone; the keys name the unique properties."""

    def __init__(
        self, timezone: str | ZoneInfo, booking_key: str = "booking_id", exam_key: str = "lastseat_exam_id"
    ) -> None:
        self._zone = timezone if isinstance(timezone, ZoneInfo) else ZoneInfo(timezone)
        self._booking_key = booking_key
        self._exam_key = exam_key

    def exam_facts(self, record: Record) -> Facts:
        """An exam's columns, with the instants (aware UTC, ISO 8601) that follow from them.

        `day_ends_at` follows from the date; `starts_at` from date and start, None when the start is empty or
        cannot be read: the mirror's older one may be of another day.
        """
        readers: dict[str, Callable[[str], object]] = {
            "exam_date": self._date,
            "start_time": self._clock_time,
            "end_time": self._clock_time,
            "capacity": _count,
            "total_bookings": _count,
            "is_active": _option(_EXAM_STATES),
        }
        facts = _facts(record, EXAM_PROPERTIES, readers)
        if "exam_date" in facts.fields:
            try:
                facts.fields.update(self._instants(facts.fields, record.properties))
            except OverflowError:
                facts.rejected.append(f"exam_date {facts.fields['exam_date']!r} is out of range")
        return msgspec.structs.replace(facts, key=_text(record.properties.get(self._exam_key)))

    def booking_facts(self, record: Record) -> Facts:
        """A booking's columns; `is_active` is Active, Cancelled, Completed or Failed."""
        readers: dict[str, Callable[[str], object]] = {
            "exam_date": self._date,
            "is_active": _option(_BOOKING_STATES),
            "booking_status": _booking_status,
        }
        facts = _facts(record, BOOKING_PROPERTIES, readers)
        return msgspec.structs.replace(facts, key=_text(record.properties.get(self._booking_key)))

    def contact_facts(self, record: Record) -> Facts:
        """A contact's columns; e-mails are compared in lower case, as HubSpot stores them."""
        return _facts(record, CONTACT_PROPERTIES, {"email": str.lower})

    def encode(self, fields: Mapping[str, object]) -> Properties:
        """Values as HubSpot takes them: strings, `""` clears, instants as ISO 8601 in UTC."""
        return {name: self._encoded(value) for name, value in fields.items()}

    def business_date(self, instant: datetime) -> date:
        """The school's calendar day at an aware instant."""
        return instant.astimezone(self._zone).date()

    def _encoded(self, value: object) -> str:
        match value:
            case None:
                return ""
            case bool():
                return "true" if value else "false"
            case datetime():
                return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            case date():
                return value.isoformat()
            case time():
                return value.strftime("%H:%M")
            case _:
                return str(value)

    def _date(self, text: str) -> str:
        # HubSpot: a date is YYYY-MM-DD or epoch ms at midnight UTC (2026); any other instant is the school's day.
        instant = _instant(text)
        if instant is None:
            return date.fromisoformat(text).isoformat()
        if instant.tzinfo is None or instant.astimezone(UTC).time() == time(0):
            return instant.date().isoformat()
        return self.business_date(instant).isoformat()

    def _clock_time(self, text: str) -> str:
        if match := _CLOCK.fullmatch(text):
            hour, minute, half = int(match[1]), int(match[2]), (match[3] or "").lower()
            if half and not 1 <= hour <= 12:
                raise ValueError(text)
            return time(hour % 12 + (12 if half == "p" else 0) if half else hour, minute).strftime("%H:%M")
        instant = _instant(text)
        if instant is None:
            raise ValueError(text)
        return (instant if instant.tzinfo is None else instant.astimezone(self._zone)).strftime("%H:%M")

    def _instants(self, fields: Mapping[str, object], given: Mapping[str, object]) -> dict[str, object]:
        day = fields["exam_date"]
        if not isinstance(day, str):
            return {"day_ends_at": None, "starts_at": None}
        the_day, clock = date.fromisoformat(day), fields.get("start_time")
        instants: dict[str, object] = {"day_ends_at": self._utc(the_day + timedelta(days=1), time(0))}
        if "start_time" in given:
            readable = isinstance(clock, str)
            instants["starts_at"] = self._utc(the_day, time.fromisoformat(clock)) if readable else None
        return instants

    def _utc(self, day: date, clock: time) -> str:
        return datetime.combine(day, clock, tzinfo=self._zone).astimezone(UTC).isoformat()


def instant_of(text: str | None) -> datetime | None:
    """An aware UTC instant from HubSpot's epoch ms or ISO 8601; None for anything else."""
    try:
        instant = _instant(text.strip()) if text else None
    except ValueError:
        return None
    if instant is None:
        return None
    return (instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant).astimezone(UTC)


def _facts(record: Record, names: tuple[str, ...], readers: Mapping[str, Callable[[str], object]]) -> Facts:
    fields: dict[str, object] = {}
    rejected: list[str] = []
    for name in names:
        if name not in record.properties:
            continue
        text = _text(record.properties[name])
        try:
            fields[name] = None if text is None else readers.get(name, str)(text)
        except (ValueError, InvalidOperation, OverflowError):
            # Missing is not zero: a value that cannot be read leaves the mirror's column as it is.
            rejected.append(f"{name} {str(text)[:40]!r} cannot be read")
    created = record.properties.get("hs_createdate") or record.properties.get("createdate")
    updated = record.properties.get("hs_lastmodifieddate") or record.properties.get("lastmodifieddate")
    return Facts(
        hubspot_id=record.hubspot_id,
        key=None,
        fields=fields,
        created_at=record.created_at or instant_of(created),
        updated_at=record.updated_at or instant_of(updated),
        archived=record.archived,
        rejected=rejected,
    )


def _text(value: str | None) -> str | None:
    # Postgres takes neither NUL nor lone surrogates, and one such name would fail its neighbours.
    if value is None:
        return None
    return _UNREADABLE_CHARACTERS.sub("", value).strip() or None


def _instant(text: str) -> datetime | None:
    """Epoch ms (aware) or ISO 8601 with a time (aware or not); None when the text has another form."""
    if _WHOLE_NUMBER.fullmatch(text):
        return datetime.fromtimestamp(int(text) / 1000, tz=UTC)
    if len(text) > len("2026-01-01") and text[10] in "T ":
        return datetime.fromisoformat(text)
    return None


def _count(text: str) -> int:
    number = Decimal(text)
    if not number.is_finite() or number != number.to_integral_value() or not 0 <= number <= _LARGEST_COUNT:
        raise ValueError(text)
    return int(number)


def _option(words: Mapping[str, str]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(text)
        return words[text.lower()]

    return read


def _booking_status(text: str) -> str:
    return _BOOKING_STATUSES.get(text.lower(), text.lower())
