"""The properties API: definitions and their groups; never touches a record's values."""

from typing import Any

import msgspec

from hubspot_emulator.batches import limited, refuse_duplicates
from hubspot_emulator.bodies import DefinitionBatch, NameBatch
from hubspot_emulator.context import Asked, Context, Reply, decoded
from hubspot_emulator.failures import ApiError, invalid, missing
from hubspot_emulator.portal import ObjectType
from hubspot_emulator.properties import Property

TYPES = ("string", "number", "date", "datetime", "enumeration", "bool", "phone_number", "json")
UNIQUE_MAX = 10
PROTECTED = {"name", "type", "hasUniqueValue", "hubspotDefined", "readOnly", "archived", "createdAt"}
BATCH_MAX = 100


def known(kind: ObjectType, name: str, *, archived: bool = False) -> Property:
    """One definition, or 404."""
    prop = kind.properties.get(name)
    if prop is None or prop.archived != archived:
        raise missing(f"{name} does not exist")
    return prop


def list_all(ctx: Context, asked: Asked) -> Reply:
    """Every definition, live or archived."""
    kind = ctx.portal.type_named(asked.path["type"])
    archived = asked.flag("archived")
    found = [p.shown() for p in kind.properties.values() if p.archived == archived and p.name not in ctx.gone]
    return Reply(200, {"results": found})


def read(ctx: Context, asked: Asked) -> Reply:
    """One definition."""
    kind = ctx.portal.type_named(asked.path["type"])
    if asked.path["name"] in ctx.gone:
        raise missing(f"{asked.path['name']} does not exist")
    return Reply(200, known(kind, asked.path["name"], archived=asked.flag("archived")).shown())


def create(ctx: Context, asked: Asked) -> Reply:
    """A new property; only here can its values be made unique."""
    kind = ctx.portal.type_named(asked.path["type"])
    return Reply(201, define(ctx, kind, decoded(asked.body, dict[str, Any])).shown())


def checked(ctx: Context, kind: ObjectType, sent: dict[str, Any]) -> Property:
    """A definition from a request body, with HubSpot's rules for it."""
    for name in ("name", "label", "type", "fieldType", "groupName"):
        if not sent.get(name):
            raise invalid(f"Some required fields were not set: [{name}]")
    mine = {name: value for name, value in sent.items() if name not in ("readOnly", "archived")}
    try:
        prop = msgspec.convert(mine | {"createdAt": ctx.now, "updatedAt": ctx.now}, Property)
    except msgspec.ValidationError as problem:
        raise invalid(f"Invalid property definition: {problem}") from None
    if prop.type not in TYPES:
        raise invalid(f"Property type {prop.type} is not one of {list(TYPES)}")
    before = kind.properties.get(prop.name)
    if before is not None and not before.archived:
        raise ApiError(409, f"A property named '{prop.name}' already exists.", "OBJECT_ALREADY_EXISTS")
    if prop.has_unique_value:
        _refuse_unique(kind, prop)
    prop.hubspot_defined = False
    return prop


def _refuse_unique(kind: ObjectType, prop: Property) -> None:
    if prop.type != "string":
        raise invalid(f"Unique values need a property of type string, not {prop.type}")
    own = [name for name in kind.unique_names if not kind.properties[name].hubspot_defined]
    if len(own) >= UNIQUE_MAX:
        raise invalid(f"An object can have at most {UNIQUE_MAX} properties with unique values")


def define(ctx: Context, kind: ObjectType, sent: dict[str, Any]) -> Property:
    """Adds one checked definition."""
    prop = checked(ctx, kind, sent)
    ctx.change(["property", kind.id, msgspec.to_builtins(prop)])
    return prop


def update(ctx: Context, asked: Asked) -> Reply:
    """Changes a definition, but neither its type nor its uniqueness."""
    kind = ctx.portal.type_named(asked.path["type"])
    prop = known(kind, asked.path["name"])
    sent = decoded(asked.body, dict[str, Any])
    old: dict[str, Any] = msgspec.to_builtins(prop)
    fixed = [name for name in sent if name in PROTECTED and sent[name] != old.get(name)]
    if prop.hubspot_defined or fixed:
        raise invalid(f"These parts of {prop.name} cannot be changed: {fixed or ['definition']}")
    try:
        changed = msgspec.convert(old | sent | {"updatedAt": ctx.now}, Property)
    except msgspec.ValidationError as problem:
        raise invalid(f"Invalid property definition: {problem}") from None
    ctx.change(["property", kind.id, msgspec.to_builtins(changed)])
    return Reply(200, changed.shown())


def archive(ctx: Context, asked: Asked) -> Reply:
    """Archives a definition: from now on it does not exist for writes."""
    kind = ctx.portal.type_named(asked.path["type"])
    _archive(ctx, kind, asked.path["name"])
    return Reply(204)


def _archive(ctx: Context, kind: ObjectType, name: str) -> None:
    prop = known(kind, name)
    if prop.hubspot_defined:
        raise invalid(f"{name} is defined by HubSpot and cannot be archived")
    gone = msgspec.structs.replace(prop, archived=True, updated_at=ctx.now)
    ctx.change(["property", kind.id, msgspec.to_builtins(gone)])


def batch_create(ctx: Context, asked: Asked) -> Reply:
    """New properties, all or none."""
    kind = ctx.portal.type_named(asked.path["type"])
    inputs = decoded(asked.body, DefinitionBatch).inputs
    limited(inputs, BATCH_MAX)
    refuse_duplicates([one.get("name") for one in inputs], "names")
    for one in inputs:
        checked(ctx, kind, one)
    return ctx.batch(201, [define(ctx, kind, one).shown() for one in inputs])


def batch_read(ctx: Context, asked: Asked) -> Reply:
    """Definitions by name; a missing one makes it a 207."""
    kind = ctx.portal.type_named(asked.path["type"])
    sent = decoded(asked.body, NameBatch)
    limited(sent.inputs, BATCH_MAX)
    found = [kind.properties.get(one.name) for one in sent.inputs]
    results = [prop.shown() for prop in found if prop is not None and prop.archived == sent.archived]
    here = {one["name"] for one in results}
    absent = [one.name for one in sent.inputs if one.name not in here]
    error = {
        "status": "error",
        "category": "OBJECT_NOT_FOUND",
        "message": "Some properties do not exist.",
        "context": {"name": absent},
    }
    return ctx.batch(200, results, [error] if absent else [])


def batch_archive(ctx: Context, asked: Asked) -> Reply:
    """Archives definitions; unknown ones are no error."""
    kind = ctx.portal.type_named(asked.path["type"])
    inputs = decoded(asked.body, NameBatch).inputs
    limited(inputs, BATCH_MAX)
    for one in inputs:
        prop = kind.properties.get(one.name)
        if prop is not None and not prop.archived:
            _archive(ctx, kind, one.name)
    return Reply(204)


def groups(ctx: Context, asked: Asked) -> Reply:
    """The groups that properties are shown in."""
    kind = ctx.portal.type_named(asked.path["type"])
    return Reply(200, {"results": list(kind.groups.values())})


def group_create(ctx: Context, asked: Asked) -> Reply:
    """A new group."""
    kind = ctx.portal.type_named(asked.path["type"])
    sent = decoded(asked.body, dict[str, Any])
    name, label = sent.get("name"), sent.get("label")
    if not isinstance(name, str) or not isinstance(label, str) or not name:
        raise invalid("Some required fields were not set: [name, label]")
    if name in kind.groups:
        raise ApiError(409, f"A property group named '{name}' already exists.", "OBJECT_ALREADY_EXISTS")
    group = {"name": name, "label": label, "displayOrder": sent.get("displayOrder", -1), "archived": False}
    ctx.change(["group", kind.id, group])
    return Reply(201, group)


def group_read(ctx: Context, asked: Asked) -> Reply:
    """One group."""
    kind = ctx.portal.type_named(asked.path["type"])
    group = kind.groups.get(asked.path["name"])
    if group is None:
        raise missing()
    return Reply(200, group)
