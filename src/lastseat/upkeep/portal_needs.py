"""What this service needs of a HubSpot portal, as tables and comparisons; knows no portal and makes no call."""

from collections.abc import Sequence
from typing import Final

import msgspec

from lastseat.ports import PropertyShape, RecordKind
from lastseat.settings import Settings

NAMES: Final[dict[RecordKind, str]] = {"exams": "mock_exams", "contacts": "contacts", "bookings": "bookings"}
LABELS: Final[dict[RecordKind, tuple[str, str, str]]] = {
    "exams": ("Mock exam", "Mock exams", "mock_exam_name"),
    "contacts": ("Contact", "Contacts", "email"),
    "bookings": ("Booking", "Bookings", "booking_id"),
}
TYPE_SETTING: Final[dict[RecordKind, str]] = {
    "exams": "HUBSPOT_EXAM_TYPE",
    "contacts": "HUBSPOT_CONTACT_TYPE",
    "bookings": "HUBSPOT_BOOKING_TYPE",
}
KEY_SETTING: Final[dict[RecordKind, str]] = {"exams": "HUBSPOT_EXAM_KEY", "bookings": "HUBSPOT_BOOKING_KEY"}

# Each property with the types that hold what is written to it or read from it; the first is the one to make.
_TEXT: Final = ("string", "enumeration", "phone_number")
_DAY: Final = ("date", "string")
_NUMBER: Final = ("number", "string")
NEEDED: Final[dict[RecordKind, dict[str, tuple[str, ...]]]] = {
    "exams": {
        "mock_exam_name": _TEXT,
        "mock_type": _TEXT,
        "exam_date": _DAY,
        "start_time": _TEXT,
        "end_time": _TEXT,
        "location": _TEXT,
        "capacity": _NUMBER,
        "total_bookings": _NUMBER,
        "is_active": _TEXT,
    },
    "contacts": {"student_id": _TEXT, "email": _TEXT, "firstname": _TEXT, "lastname": _TEXT},
    "bookings": {
        "booking_id": _TEXT,
        "mock_exam_id": _TEXT,
        "contact_id": _TEXT,
        "student_id": _TEXT,
        "student_name": _TEXT,
        "student_email": _TEXT,
        "booking_status": _TEXT,
        "is_active": _TEXT,
        "attendance": _TEXT,
        "attending_location": _TEXT,
        "exam_date": _DAY,
        "dominant_hand": _TEXT,
    },
}
# What is written to a property that allows only some values.
WRITTEN: Final[dict[RecordKind, dict[str, tuple[str, ...]]]] = {
    "exams": {"is_active": ("active", "inactive")},
    "contacts": {},
    "bookings": {
        "booking_status": ("confirmed", "cancelled"),
        "is_active": ("Active", "Cancelled"),
        "dominant_hand": ("left", "right"),
    },
}
SETUP: Final = "Run `lastseat portal setup`."


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not as it must be, and the way out."""

    subject: str
    fault: str
    fix: str


def type_of(settings: Settings, kind: RecordKind) -> str:
    """The object type that the settings name."""
    types: dict[RecordKind, str] = {
        "exams": settings.hubspot_exam_type,
        "contacts": settings.hubspot_contact_type,
        "bookings": settings.hubspot_booking_type,
    }
    return types[kind]


def key_of(settings: Settings, kind: RecordKind) -> str | None:
    """The unique property by which records are written, if this service makes such records."""
    keys: dict[RecordKind, str] = {"exams": settings.hubspot_exam_key, "bookings": settings.hubspot_booking_key}
    return keys.get(kind)


def needed_of(settings: Settings, kind: RecordKind) -> list[PropertyShape]:
    """Every property of a kind, as it would be made."""
    key = key_of(settings, kind)
    wanted = {name: types[0] for name, types in NEEDED[kind].items()} | ({key: "string"} if key else {})
    return [PropertyShape(name=name, type=made, unique=name == key) for name, made in wanted.items()]


def missing_of(settings: Settings, kind: RecordKind, there: Sequence[PropertyShape]) -> list[PropertyShape]:
    """The properties that are not there."""
    known = {one.name for one in there}
    return [one for one in needed_of(settings, kind) if one.name not in known]


def faults_of_properties(settings: Settings, kind: RecordKind, there: Sequence[PropertyShape]) -> list[Finding]:
    """What is missing, and what is there and cannot hold what is written to it."""
    found = [_finding(kind, one.name, "is missing", SETUP) for one in missing_of(settings, kind, there)]
    known = {one.name: one for one in there}
    key = key_of(settings, kind)
    if key in known and not known[key].unique:
        fix = f"HubSpot makes only new properties unique: {SETUP[:-1]}, then set {KEY_SETTING[kind]} as it says."
        found.append(_finding(kind, key, "is not unique", fix))
    for name, types in NEEDED[kind].items():
        if name in known:
            found += _unfit(kind, known[name], types, WRITTEN[kind].get(name, ()))
    return found


def _unfit(kind: RecordKind, one: PropertyShape, types: Sequence[str], written: Sequence[str]) -> list[Finding]:
    if one.type not in types:
        fix = f"Make it one of {', '.join(types)} in HubSpot's property settings, or rename it and run setup."
        return [_finding(kind, one.name, f"has the type {one.type}", fix)]
    if one.read_only and kind != "contacts":
        return [_finding(kind, one.name, "is read-only", "Make it writable in HubSpot's property settings.")]
    lacking = [value for value in written if one.options and value not in one.options]
    if lacking:
        values = " and ".join(lacking)
        return [_finding(kind, one.name, f"does not allow {values}", f"Add {values} to its options in HubSpot.")]
    return []


def _finding(kind: RecordKind, name: str, fault: str, fix: str) -> Finding:
    return Finding(subject=f"{kind} property {name}", fault=fault, fix=fix)
