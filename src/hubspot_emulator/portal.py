"""Everything one HubSpot account holds, changed only by applying events; never validates a request."""

import bisect
from collections.abc import Iterator
from typing import Any

import msgspec

from hubspot_emulator.failures import unknown_type
from hubspot_emulator.properties import Property

FIRST_RECORD_ID = 34_000_000_001
Event = list[Any]


class Record(msgspec.Struct):
    """One CRM record. `properties` is replaced on a change, never changed in place: the index keeps it."""

    id: str
    properties: dict[str, str]
    archived_at: str | None = None


class Label(msgspec.Struct, kw_only=True, rename="camel"):
    """One association type in one direction."""

    category: str
    type_id: int
    label: str | None = None
    inverse_id: int = 0
    name: str = ""


class ObjectType:
    """One kind of record, its properties and its records."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.id: str = spec["id"]
        self.name: str = spec["name"]
        self.full_name: str = spec["fullName"]
        self.custom = self.id.startswith("2-")
        self.created_name = "hs_createdate" if self.custom else "createdate"
        self.modified_name = "hs_lastmodifieddate" if self.custom else "lastmodifieddate"
        self.properties: dict[str, Property] = {}
        self.unique_names: list[str] = []
        self.records: dict[str, Record] = {}
        self.order: list[int] = []
        self.unique: dict[str, dict[str, str]] = {}
        self.merged: dict[str, str] = {}
        self.groups: dict[str, dict[str, Any]] = {}

    @property
    def archived(self) -> bool:
        """Whether the schema was deleted."""
        return bool(self.spec.get("archived"))

    @property
    def default_names(self) -> list[str]:
        """The properties a read answers when it asks for none."""
        system = [self.created_name, self.modified_name, "hs_object_id"]
        return system if self.custom else [*system, "email", "firstname", "lastname"]

    def record(self, record_id: str) -> Record | None:
        """The record with this id or the one it was merged into, archived or not."""
        found = self.records.get(record_id)
        into = self.merged.get(record_id)
        return self.records.get(into) if into is not None else found

    def holder(self, name: str, value: str, *, archived_too: bool = False) -> Record | None:
        """The record that holds `value` in the unique property `name`."""
        record_id = self.unique.get(name, {}).get(value)
        found = self.records.get(record_id) if record_id is not None else None
        if found is None or (found.archived_at is not None and not archived_too):
            return None
        return found

    def from_id(self, after: int) -> Iterator[Record]:
        """Every record with an id greater than `after`, in the order of ids."""
        for place in range(bisect.bisect_right(self.order, after), len(self.order)):
            yield self.records[str(self.order[place])]

    def define(self, prop: Property) -> None:
        """Adds or replaces a property; existing values become unique with it."""
        self.properties[prop.name] = prop
        self.unique_names = [p.name for p in self.properties.values() if p.has_unique_value and not p.archived]
        for name in self.unique_names:
            self.unique.setdefault(name, {})

    def put(self, record: Record) -> None:
        """Stores a record and keeps the unique values in step."""
        old = self.records.get(record.id)
        if old is None:
            number = int(record.id)
            if not self.order or number > self.order[-1]:
                self.order.append(number)
            else:
                bisect.insort(self.order, number)
        self.records[record.id] = record
        for name in self.unique_names:
            value = record.properties.get(name)
            before = old.properties.get(name) if old else None
            index = self.unique[name]
            if before and before != value and index.get(before) == record.id:
                del index[before]
            if value and record.archived_at is None:
                index[value] = record.id


class Portal:
    """One account: object types, records, association types and associations."""

    def __init__(self) -> None:
        self.id = 0
        self.types: dict[str, ObjectType] = {}
        self.names: dict[str, str] = {}
        self.labels: dict[tuple[str, str], list[Label]] = {}
        # (type, id) -> other type -> other id -> association type ids
        self.links: dict[tuple[str, str], dict[str, dict[str, set[int]]]] = {}
        self.last_record_id = FIRST_RECORD_ID - 1
        self.last_type_id = 0

    def type_named(self, name: str) -> ObjectType:
        """The object type of a path: a name of HubSpot's own, an id or a full name; else 400."""
        found = self.types.get(self.names.get(name, name))
        if found is None or found.archived:
            raise unknown_type(name)
        return found

    def next_record_id(self) -> str:
        """An id never given before."""
        self.last_record_id += 1
        return str(self.last_record_id)

    def label(self, from_type: str, to_type: str, type_id: int) -> Label | None:
        """The association type with this id in this direction."""
        for found in self.labels.get((from_type, to_type), ()):
            if found.type_id == type_id:
                return found
        return None

    def apply(self, event: Event) -> None:
        """The one way in for a change, live and when the journal is replayed."""
        getattr(self, f"_on_{event[0]}")(*event[1:])

    def _on_portal(self, portal_id: int, last_record_id: int, last_type_id: int) -> None:
        self.id = portal_id
        self.last_record_id = max(self.last_record_id, last_record_id)
        self.last_type_id = max(self.last_type_id, last_type_id)

    def _on_type(self, spec: dict[str, Any]) -> None:
        known = self.types.get(spec["id"])
        if known is not None:
            known.spec = spec
        else:
            known = self.types[spec["id"]] = ObjectType(spec)
        self.names[known.full_name] = known.id
        if not known.custom:
            self.names[known.name] = known.id

    def _on_property(self, type_id: str, spec: dict[str, Any]) -> None:
        self.types[type_id].define(msgspec.convert(spec, Property))

    def _on_group(self, type_id: str, spec: dict[str, Any]) -> None:
        self.types[type_id].groups[spec["name"]] = spec

    def _on_label(self, from_type: str, to_type: str, spec: dict[str, Any]) -> None:
        label = msgspec.convert(spec, Label)
        known = self.labels.setdefault((from_type, to_type), [])
        known[:] = [one for one in known if one.type_id != label.type_id] + [label]
        self.last_type_id = max(self.last_type_id, label.type_id)

    def _on_unlabel(self, from_type: str, to_type: str, type_id: int) -> None:
        known = self.labels.get((from_type, to_type), [])
        known[:] = [one for one in known if one.type_id != type_id]

    def _on_put(self, type_id: str, record_id: str, changes: dict[str, str]) -> None:
        kind = self.types[type_id]
        old = kind.records.get(record_id)
        merged = {**old.properties, **changes} if old else changes
        if "" in changes.values():
            merged = {name: value for name, value in merged.items() if value != ""}
        kind.put(Record(record_id, merged, old.archived_at if old else None))
        self.last_record_id = max(self.last_record_id, int(record_id))

    def _on_archive(self, type_id: str, record_id: str, at: str) -> None:
        kind = self.types[type_id]
        old = kind.records[record_id]
        kind.records[record_id] = Record(old.id, old.properties, at)
        for other_type, ends in self.links.pop((type_id, record_id), {}).items():
            for other_id in ends:
                self.links.get((other_type, other_id), {}).get(type_id, {}).pop(record_id, None)

    def _on_merge(self, type_id: str, record_id: str, into: str) -> None:
        kind = self.types[type_id]
        for gone, survivor in list(kind.merged.items()):
            if survivor == record_id:
                kind.merged[gone] = into
        kind.merged[record_id] = into

    def _on_link(self, from_type: str, from_id: str, to_type: str, to_id: str, type_id: int) -> None:
        ends = self.links.setdefault((from_type, from_id), {}).setdefault(to_type, {})
        ends.setdefault(to_id, set()).add(type_id)

    def _on_unlink(self, from_type: str, from_id: str, to_type: str, to_id: str, type_id: int) -> None:
        ends = self.links.get((from_type, from_id), {}).get(to_type, {})
        ends.get(to_id, set()).discard(type_id)
        if to_id in ends and not ends[to_id]:
            del ends[to_id]

    def as_events(self) -> Iterator[Event]:
        """Events that rebuild this portal in an empty one: the content of a snapshot."""
        yield ["portal", self.id, self.last_record_id, self.last_type_id]
        for kind in self.types.values():
            yield ["type", kind.spec]
            yield from (["property", kind.id, msgspec.to_builtins(p)] for p in kind.properties.values())
            yield from (["group", kind.id, group] for group in kind.groups.values())
        for (from_type, to_type), labels in self.labels.items():
            yield from (["label", from_type, to_type, msgspec.to_builtins(one)] for one in labels)
        for kind in self.types.values():
            yield from self._record_events(kind)
        for (from_type, from_id), by_type in self.links.items():
            for to_type, ends in by_type.items():
                for to_id, type_ids in ends.items():
                    yield from (["link", from_type, from_id, to_type, to_id, one] for one in sorted(type_ids))

    def _record_events(self, kind: ObjectType) -> Iterator[Event]:
        # Archived ones first: a live record that took over a unique value must end up holding it.
        for record in sorted(kind.records.values(), key=lambda one: one.archived_at is None):
            yield ["put", kind.id, record.id, record.properties]
            if record.archived_at is not None:
                yield ["archive", kind.id, record.id, record.archived_at]
        yield from (["merge", kind.id, gone, into] for gone, into in kind.merged.items())
