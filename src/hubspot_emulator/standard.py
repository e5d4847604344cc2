"""The portals the emulator can start with; never changes one that exists."""

from typing import Any

import msgspec

from hubspot_emulator.portal import FIRST_RECORD_ID, Event
from hubspot_emulator.properties import Property

DEFAULT_PORTAL_ID = 48_215_907
STANDARD_AT = "2026-01-05T09:00:00.000Z"
BOOKINGS = "2-50158943"
EXAMS = "2-50158913"
CONTACTS = "0-1"

Names = dict[str, str]

CONTACT_PROPERTIES: Names = {"student_id": "string"}
BOOKING_PROPERTIES: Names = {
    "booking_id": "string",
    "mock_exam_id": "string",
    "contact_id": "string",
    "student_id": "string",
    "student_name": "string",
    "student_email": "string",
    "booking_status": "string",
    "is_active": "string",
    "attendance": "string",
    "attending_location": "string",
    "exam_date": "date",
    "dominant_hand": "string",
}
EXAM_PROPERTIES: Names = {
    "lastseat_exam_id": "string",
    "mock_exam_name": "string",
    "mock_type": "string",
    "exam_date": "date",
    "start_time": "string",
    "end_time": "string",
    "location": "string",
    "capacity": "number",
    "total_bookings": "number",
    "is_active": "string",
}


def first_events(which: str, portal_id: int) -> list[Event]:
    """The events that make a new portal: `standard` or `empty` (contacts only)."""
    events: list[Event] = [["portal", portal_id, FIRST_RECORD_ID - 1, _first_type_id(portal_id)]]
    events += contacts_events()
    if which == "standard":
        events += _own_events(CONTACTS, CONTACT_PROPERTIES)
        events += custom_events(portal_id, BOOKINGS, "bookings", ("Booking", "Bookings"))
        events += _own_events(BOOKINGS, BOOKING_PROPERTIES, unique="booking_id")
        events += custom_events(portal_id, EXAMS, "mock_exams", ("Mock exam", "Mock exams"))
        events += _own_events(EXAMS, EXAM_PROPERTIES, unique="lastseat_exam_id")
        first = _first_type_id(portal_id) + 1
        events += pair_events(BOOKINGS, CONTACTS, first)
        events += pair_events(BOOKINGS, EXAMS, first + 2)
        events += pair_events(EXAMS, CONTACTS, first + 4)
    return events


def _first_type_id(portal_id: int) -> int:
    # HubSpot: the ids of custom association types differ per portal and must be discovered.
    return 10 + portal_id % 977


def contacts_events() -> list[Event]:
    """HubSpot's own contacts."""
    spec: dict[str, Any] = {
        "id": CONTACTS,
        "name": "contacts",
        "fullName": "CONTACT",
        "labels": {"singular": "Contact", "plural": "Contacts"},
        "primary": "email",
        "required": [],
        "searchable": ["email", "firstname", "lastname"],
        "createdAt": STANDARD_AT,
    }
    events: list[Event] = [["type", spec], ["group", CONTACTS, _group("contactinformation")]]
    events += [_system(CONTACTS, name, "string", unique=name == "email") for name in _PERSON]
    events += system_events(CONTACTS, "createdate", "lastmodifieddate")
    return events


_PERSON = ("email", "firstname", "lastname", "phone")


def custom_events(portal_id: int, type_id: str, name: str, labels: tuple[str, str]) -> list[Event]:
    """A custom object with HubSpot's own properties only."""
    spec: dict[str, Any] = {
        "id": type_id,
        "name": name,
        "fullName": f"p{portal_id}_{name}",
        "labels": {"singular": labels[0], "plural": labels[1]},
        "primary": "",
        "required": [],
        "searchable": [],
        "createdAt": STANDARD_AT,
    }
    events: list[Event] = [["type", spec], ["group", type_id, _group(f"{name}_information")]]
    events += system_events(type_id, "hs_createdate", "hs_lastmodifieddate")
    return events


def system_events(type_id: str, created: str, modified: str) -> list[Event]:
    """The properties HubSpot keeps itself."""
    return [
        _system(type_id, "hs_object_id", "number", read_only=True),
        _system(type_id, created, "datetime", read_only=True),
        _system(type_id, modified, "datetime", read_only=True),
    ]


def _group(name: str) -> dict[str, Any]:
    return {"name": name, "label": name.replace("_", " "), "displayOrder": -1, "archived": False}


def _system(type_id: str, name: str, kind: str, *, read_only: bool = False, unique: bool = False) -> Event:
    prop = Property(
        name=name,
        label=name,
        type=kind,
        field_type="number" if kind == "number" else "text",
        hubspot_defined=True,
        read_only=read_only,
        has_unique_value=unique,
        created_at=STANDARD_AT,
        updated_at=STANDARD_AT,
    )
    return ["property", type_id, msgspec.to_builtins(prop)]


def _own_events(type_id: str, names: Names, unique: str = "") -> list[Event]:
    field = {"string": "text", "number": "number", "date": "date"}
    found = [
        Property(
            name=name,
            label=name.replace("_", " ").capitalize(),
            type=kind,
            field_type=field[kind],
            has_unique_value=name == unique,
            created_at=STANDARD_AT,
            updated_at=STANDARD_AT,
        )
        for name, kind in names.items()
    ]
    return [["property", type_id, msgspec.to_builtins(prop)] for prop in found]


def pair_events(from_type: str, to_type: str, type_id: int) -> list[Event]:
    """The association type without a name between two object types, in both directions."""
    there = {"category": "USER_DEFINED", "typeId": type_id, "inverseId": type_id + 1}
    back = {"category": "USER_DEFINED", "typeId": type_id + 1, "inverseId": type_id}
    return [["label", from_type, to_type, there], ["label", to_type, from_type, back]]
