"""Finds the exam and contact of bookings that carry them only as associations; never guesses between several."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec

from lastseat.model import Record
from lastseat.upkeep.intake import Rejected, is_empty

ENDS_MOST: Final = 1_000  # Limit: HubSpot reads the associations of so many records in a call.

LinkEnd = Literal["exams", "contacts"]
PROPERTY: Final[dict[LinkEnd, str]] = {"exams": "mock_exam_id", "contacts": "contact_id"}
WITHOUT: Final[dict[LinkEnd, str]] = {
    "exams": "belongs to no exam, by property or association: it holds no seat",
    "contacts": "belongs to no contact, by property or association: no student sees it",
}


def linkless(records: Sequence[Record], end: LinkEnd) -> list[str]:
    """Bookings whose property does not name this end."""
    return [record.hubspot_id for record in records if is_empty(record, PROPERTY[end])]


def without_empty_links(record: Record) -> Record:
    """Leave the mirror's exam and contact alone until the associations were read: freeing a seat would sell it."""
    empty = {name for name in PROPERTY.values() if is_empty(record, name)}
    properties = {name: value for name, value in record.properties.items() if name not in empty}
    return msgspec.structs.replace(record, properties=properties)


def linked(
    end: LinkEnd, ids: Sequence[str], found: Mapping[str, Sequence[str]]
) -> tuple[list[Record], list[Rejected]]:
    """The bookings with what they are associated with; one with several keeps what the mirror knows."""
    records: list[Record] = []
    rejected: list[Rejected] = []
    for one in ids:
        ends = found.get(one)
        if ends is None:
            rejected.append(_rejected(one, f"HubSpot does not say which {end} it is associated with"))
        elif len(ends) > 1:
            rejected.append(_rejected(one, f"is associated with {len(ends)} {end}: {', '.join(ends[:5])}"))
        else:
            records.append(Record(hubspot_id=one, properties={PROPERTY[end]: ends[0] if ends else None}))
            rejected += [] if ends else [_rejected(one, WITHOUT[end])]
    return records, rejected


def _rejected(booking_id: str, reason: str) -> Rejected:
    return Rejected(kind="bookings", id=booking_id, reason=reason)
