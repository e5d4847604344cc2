"""The shapes of request bodies; never says what to do with them."""

from typing import Any

import msgspec

from hubspot_emulator.properties import Raw

Id = str | int


class Ref(msgspec.Struct, kw_only=True, rename="camel"):
    """A record named by its id."""

    id: Id

    @property
    def text(self) -> str:
        """The id as text: HubSpot takes numbers too."""
        return str(self.id)


class Spec(msgspec.Struct, kw_only=True, rename="camel"):
    """An association type."""

    association_category: str = "USER_DEFINED"
    association_type_id: int


class NewLink(msgspec.Struct, kw_only=True, rename="camel"):
    """An association asked for together with a create."""

    to: Ref
    types: list[Spec] = []


class CreateInput(msgspec.Struct, kw_only=True, rename="camel"):
    """One record to create."""

    properties: dict[str, Raw] = {}
    associations: list[NewLink] | None = None
    object_write_trace_id: str | None = None


class KeyedInput(Ref, kw_only=True):
    """One record to update or upsert."""

    properties: dict[str, Raw] = {}
    id_property: str | None = None
    object_write_trace_id: str | None = None


class CreateBatch(msgspec.Struct, kw_only=True, rename="camel"):
    """Records to create."""

    inputs: list[CreateInput]


class KeyedBatch(msgspec.Struct, kw_only=True, rename="camel"):
    """Records to update or upsert."""

    inputs: list[KeyedInput]


class RefBatch(msgspec.Struct, kw_only=True, rename="camel"):
    """Records to archive."""

    inputs: list[Ref]


class ReadBatch(msgspec.Struct, kw_only=True, rename="camel"):
    """Records to read."""

    inputs: list[Ref]
    properties: list[str] | None = None
    properties_with_history: list[str] | None = None
    id_property: str | None = None


class PropertiesOnly(msgspec.Struct, kw_only=True, rename="camel"):
    """The body of a single update."""

    properties: dict[str, Raw] = {}


class Merge(msgspec.Struct, kw_only=True, rename="camel"):
    """Two records of which one survives."""

    primary_object_id: Id
    object_id_to_merge: Id


class FromRef(msgspec.Struct, kw_only=True):
    """One record whose associations are read."""

    id: Id
    after: str | None = None


class LinkRead(msgspec.Struct, kw_only=True):
    """Records whose associations are read."""

    inputs: list[FromRef]


class LinkInput(msgspec.Struct, kw_only=True):
    """One association to create, or one whose labels are removed."""

    from_: Ref = msgspec.field(name="from")
    to: Ref
    types: list[Spec] = []


class LinkBatch(msgspec.Struct, kw_only=True):
    """Associations to create, or whose labels are removed."""

    inputs: list[LinkInput]


class UnlinkInput(msgspec.Struct, kw_only=True):
    """Associations of one record to remove."""

    from_: Ref = msgspec.field(name="from")
    to: list[Ref]


class UnlinkBatch(msgspec.Struct, kw_only=True):
    """Associations to remove."""

    inputs: list[UnlinkInput]


class NewLabel(msgspec.Struct, kw_only=True, rename="camel"):
    """An association type to define."""

    label: str
    name: str = ""
    inverse_label: str | None = None
    association_type_id: int | None = None


class NameInput(msgspec.Struct, kw_only=True, rename="camel"):
    """A property named in a batch."""

    name: str


class NameBatch(msgspec.Struct, kw_only=True, rename="camel"):
    """Properties named in a batch."""

    inputs: list[NameInput]
    archived: bool = False


class DefinitionBatch(msgspec.Struct, kw_only=True, rename="camel"):
    """Properties to create."""

    inputs: list[dict[str, Any]]
