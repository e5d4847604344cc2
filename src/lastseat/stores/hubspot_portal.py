"""Reads and makes a portal's definitions: object types, properties, association types; never touches a record."""

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from lastseat.errors import Refused, Unavailable
from lastseat.ports import ObjectDraft, ObjectShape, PropertyShape, Slot
from lastseat.settings import Settings
from lastseat.stores.hubspot import HubSpotClient
from lastseat.stores.hubspot_answers import Answer, NoAnswer
from lastseat.stores.hubspot_faults import fault_of
from lastseat.stores.hubspot_paths import Paths

T = TypeVar("T")
_FIELD_TYPES = {"string": "text", "number": "number", "date": "date"}


class _Option(msgspec.Struct):
    value: str = ""


class _Meaning(msgspec.Struct, rename="camel"):
    read_only_value: bool = False


class _Property(msgspec.Struct, rename="camel"):
    name: str
    type: str = "string"
    group_name: str = ""
    has_unique_value: bool = False
    hubspot_defined: bool = False
    options: list[_Option] = []
    modification_metadata: _Meaning = msgspec.field(default_factory=_Meaning)


class _Schema(msgspec.Struct, rename="camel"):
    object_type_id: str
    name: str
    labels: dict[str, str | None] = {}


class _Many(msgspec.Struct):
    results: list[msgspec.Raw]


class HubSpotPortal(HubSpotClient):
    """Port Portal, on the session of the client that it is."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._places = Paths(settings.hubspot_api_version)

    async def objects(self, slot: Slot) -> list[ObjectShape]:
        """The custom objects of the portal."""
        answer = await self._call(slot, "GET", self._places.of("schemas"))
        return [_object(one) for one in _all(answer, _Schema)]

    async def properties(self, slot: Slot, object_type: str) -> list[PropertyShape]:
        """Every property of an object type."""
        answer = await self._call(slot, "GET", self._places.of("properties", type=object_type))
        return [_property(one) for one in _all(answer, _Property)]

    async def count_link_types(self, slot: Slot, from_type: str, to_type: str) -> int:
        """How many association types there are."""
        path = self._places.of("labels", from_type=from_type, to_type=to_type)
        return len(_all(await self._call(slot, "GET", path), dict[str, Any]))

    async def may_write(self, slot: Slot, object_type: str, to_type: str | None = None) -> None:
        """Raise Refused FORBIDDEN without the scope."""
        # HubSpot: a batch of nothing writes nothing; it is refused, but after the scopes were looked at (2026).
        if to_type is None:
            path = self._places.of("batch", type=object_type, verb="update")
        else:
            path = self._places.of("link", from_type=object_type, to_type=to_type, verb="create")
        answer = await self._call(slot, "POST", path, {"inputs": []})
        if isinstance(answer, Answer) and (answer.status < 300 or answer.status == 400):
            return
        raise fault_of(answer)

    async def make_object(self, slot: Slot, draft: ObjectDraft) -> ObjectShape:
        """A custom object with its properties, and association types to others."""
        body = {
            "name": draft.name,
            "labels": {"singular": draft.singular, "plural": draft.plural},
            "primaryDisplayProperty": draft.primary,
            "requiredProperties": [],
            "properties": [_drafted(one) for one in draft.properties],
            "associatedObjects": draft.associated,
        }
        answer = await self._call(slot, "POST", self._places.of("schemas"), body)
        return _object(_read(answer, _Schema))

    async def make_properties(self, slot: Slot, object_type: str, drafts: Sequence[PropertyShape]) -> None:
        """New properties, all or none."""
        path = f"{self._places.of('properties', type=object_type)}/batch/create"
        body = {"inputs": [{"groupName": one.group, **_drafted(one)} for one in drafts]}
        _read(await self._call(slot, "POST", path, body), _Many)

    async def make_link_type(self, slot: Slot, from_type: str, to_type: str, name: str) -> None:
        """Let records of one type be associated with records of another."""
        path = f"{self._places.of('schemas')}/{from_type}/associations"
        body = {"fromObjectTypeId": from_type, "toObjectTypeId": to_type, "name": name}
        _read(await self._call(slot, "POST", path, body), dict[str, Any])


def _read(answer: Answer | NoAnswer, shape: type[T]) -> T:
    if not isinstance(answer, Answer) or not 200 <= answer.status < 300:
        raise fault_of(answer)
    try:
        return msgspec.json.decode(answer.body, type=shape)
    except msgspec.MsgspecError as error:
        raise Unavailable("HubSpot's answer cannot be read.") from error


def _all(answer: Answer | NoAnswer, shape: type[T]) -> list[T]:
    """A list of definitions; one that cannot be read would be taken for one that is missing."""
    try:
        return [msgspec.json.decode(raw, type=shape) for raw in _read(answer, _Many).results]
    except msgspec.MsgspecError as error:
        raise Refused(f"HubSpot's definitions cannot be read: {error}.") from error


def _object(wire: _Schema) -> ObjectShape:
    return ObjectShape(
        type_id=wire.object_type_id, name=wire.name, labels=[label for label in wire.labels.values() if label]
    )


def _property(wire: _Property) -> PropertyShape:
    return PropertyShape(
        name=wire.name,
        type=wire.type,
        unique=wire.has_unique_value,
        read_only=wire.modification_metadata.read_only_value,
        hubspot_defined=wire.hubspot_defined,
        group=wire.group_name,
        options=[option.value for option in wire.options],
    )


def _drafted(draft: PropertyShape) -> dict[str, object]:
    return {
        "name": draft.name,
        "label": draft.name.replace("_", " ").capitalize(),
        "type": draft.type,
        "fieldType": _FIELD_TYPES[draft.type],
        "hasUniqueValue": draft.unique,
    }
