"""What one operation may see and change, and what it answers; never touches the network or a file."""

import random
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

from hubspot_emulator.clock import iso
from hubspot_emulator.failures import bad_json
from hubspot_emulator.portal import Event, ObjectType, Portal, Record
from hubspot_emulator.settings import Switches


class Reply:
    """A successful answer. `body["results"]`, where present, may still be spoiled by a fault."""

    def __init__(self, status: int, body: dict[str, Any] | None = None) -> None:
        self.status = status
        self.body = body


class Asked:
    """One request after routing: the operation's own words, without transport."""

    def __init__(self, operation: str, path: Mapping[str, str], query: Mapping[str, str], body: bytes = b"") -> None:
        self.operation = operation
        self.path = path
        self.query = query
        self.body = body

    def flag(self, name: str) -> bool:
        """A query parameter that is true or absent."""
        return self.query.get(name, "").lower() == "true"

    def words(self, name: str) -> list[str]:
        """A comma separated query parameter."""
        return [word for word in self.query.get(name, "").split(",") if word]


class Change(NamedTuple):
    """One write to one record: what it held before and what was set."""

    type_id: str
    record_id: str
    before: Mapping[str, str]
    values: Mapping[str, str]


class Visible(Protocol):
    """What search can see."""

    def visible(self, kind: ObjectType, now: float) -> Iterator[Record]:
        """The live records of one type, as the index knows them."""
        ...


class Context:
    """The portal as one operation sees it; every change goes through `change` and is remembered."""

    def __init__(
        self,
        portal: Portal,
        index: Visible,
        switches: Switches,
        at: float,
        dice: random.Random,
        *,
        gone: frozenset[str] = frozenset(),
        spoil_a_row: bool = False,
    ) -> None:
        self.portal = portal
        self.index = index
        self.switches = switches
        self.at = at
        self.now = iso(at)
        self.dice = dice
        self.gone = gone  # properties that a fault pretends were removed
        self.spoil_a_row = spoil_a_row  # a fault wants one good row of a traced batch refused
        self.events: list[Event] = []
        self.changes: list[Change] = []

    def change(self, event: Event) -> None:
        """Applies an event at once and keeps it for the journal."""
        if event[0] == "put":
            old = self.portal.types[event[1]].records.get(event[2])
            self.changes.append(Change(event[1], event[2], old.properties if old else {}, event[3]))
        self.portal.apply(event)
        self.events.append(event)

    def shown(
        self, kind: ObjectType, record: Record, names: list[str] | None = None, *, defaults: bool = True
    ) -> dict[str, Any]:
        """A record as HubSpot answers it: the default properties and the ones asked for."""
        wanted = dict.fromkeys(kind.default_names if defaults else kind.default_names[:3])
        known = kind.properties
        wanted.update(dict.fromkeys(n for n in names or () if n in known and not known[n].archived))
        values = record.properties
        # HubSpot: unset reads back as null or is absent, unconfirmed.
        if self.switches.unset == "null":
            shown = {name: values.get(name) for name in wanted if name not in self.gone}
        else:
            shown = {name: values[name] for name in wanted if name in values and name not in self.gone}
        body: dict[str, Any] = {
            "id": record.id,
            "properties": shown,
            "createdAt": values[kind.created_name],
            "updatedAt": values[kind.modified_name],
            "archived": record.archived_at is not None,
        }
        if record.archived_at is not None:
            body["archivedAt"] = record.archived_at
        return body

    def batch(self, status: int, results: list[Any], errors: list[dict[str, Any]] | None = None) -> Reply:
        """A batch answer, 207 as soon as it carries an error."""
        body: dict[str, Any] = {
            "status": "COMPLETE",
            "results": results,
            "startedAt": self.now,
            "completedAt": self.now,
        }
        if errors:
            body |= {"numErrors": len(errors), "errors": errors}
            status = 207
        return Reply(status, body)


T = TypeVar("T")


def decoded(body: bytes, shape: type[T]) -> T:
    """The body as `shape`, or HubSpot's 400 that says what is wrong with it."""
    try:
        return msgspec.json.decode(body, type=shape, strict=True)
    except (msgspec.MsgspecError, UnicodeDecodeError) as problem:
        raise bad_json(str(problem)) from None
