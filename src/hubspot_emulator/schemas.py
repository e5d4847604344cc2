"""The schemas API: custom objects and what they may be associated with; never touches records."""

from typing import Any

from hubspot_emulator import definitions
from hubspot_emulator.context import Asked, Context, Reply, decoded
from hubspot_emulator.failures import ApiError, invalid
from hubspot_emulator.portal import ObjectType
from hubspot_emulator.standard import custom_events, pair_events

FIRST_CUSTOM = 50_158_900
CHANGEABLE = {
    "labels": "labels",
    "requiredProperties": "required",
    "searchableProperties": "searchable",
    "primaryDisplayProperty": "primary",
    "description": "description",
}


def shown(ctx: Context, kind: ObjectType) -> dict[str, Any]:
    """A schema as the API answers it."""
    spec = kind.spec
    return {
        "id": kind.id.partition("-")[2],
        "objectTypeId": kind.id,
        "fullyQualifiedName": kind.full_name,
        "name": kind.name,
        "labels": spec["labels"],
        "primaryDisplayProperty": spec.get("primary") or None,
        "requiredProperties": spec.get("required", []),
        "searchableProperties": spec.get("searchable", []),
        "secondaryDisplayProperties": [],
        "description": spec.get("description"),
        "portalId": ctx.portal.id,
        "archived": kind.archived,
        "allowsSensitiveProperties": False,
        "createdAt": spec["createdAt"],
        "updatedAt": spec.get("updatedAt", spec["createdAt"]),
        "properties": [prop.shown() for prop in kind.properties.values() if not prop.archived],
        "associations": _associations(ctx, kind),
    }


def _associations(ctx: Context, kind: ObjectType) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for (from_type, to_type), labels in ctx.portal.labels.items():
        if kind.id in (from_type, to_type):
            name = f"{ctx.portal.types[from_type].name}_to_{ctx.portal.types[to_type].name}"
            found += [
                {"id": str(one.type_id), "fromObjectTypeId": from_type, "toObjectTypeId": to_type, "name": name}
                for one in labels
            ]
    return found


def list_all(ctx: Context, asked: Asked) -> Reply:
    """Every custom object."""
    archived = asked.flag("archived")
    kinds = [kind for kind in ctx.portal.types.values() if kind.custom and kind.archived == archived]
    return Reply(200, {"results": [shown(ctx, kind) for kind in kinds]})


def read(ctx: Context, asked: Asked) -> Reply:
    """One schema."""
    return Reply(200, shown(ctx, ctx.portal.type_named(asked.path["schema"])))


def _custom(ctx: Context, asked: Asked) -> ObjectType:
    kind = ctx.portal.type_named(asked.path["schema"])
    if not kind.custom:
        raise invalid(f"{kind.name} is not a custom object")
    return kind


def create(ctx: Context, asked: Asked) -> Reply:
    """A new custom object with its properties and its association types."""
    sent = decoded(asked.body, dict[str, Any])
    name, labels = sent.get("name"), sent.get("labels")
    if not isinstance(name, str) or not name or not isinstance(labels, dict):
        raise invalid("Some required fields were not set: [name, labels]")
    if any(kind.name == name and not kind.archived for kind in ctx.portal.types.values()):
        raise ApiError(409, f"An object schema named '{name}' already exists.", "OBJECT_ALREADY_EXISTS")
    others = [ctx.portal.type_named(str(other)) for other in sent.get("associatedObjects", [])]
    numbers = [int(type_id[2:]) for type_id in ctx.portal.types if type_id.startswith("2-")]
    type_id = f"2-{max([FIRST_CUSTOM, *numbers]) + 1}"
    for event in custom_events(ctx.portal.id, type_id, name, ("", "")):
        ctx.change(event)
    kind = ctx.portal.types[type_id]
    _change(ctx, kind, sent | {"createdAt": ctx.now})
    _define_all(ctx, kind, sent.get("properties", []))
    for other in others:
        for event in pair_events(kind.id, other.id, ctx.portal.last_type_id + 1):
            ctx.change(event)
    return Reply(201, shown(ctx, kind))


def _define_all(ctx: Context, kind: ObjectType, sent: list[dict[str, Any]]) -> None:
    try:
        for prop in sent:
            definitions.define(ctx, kind, {"groupName": f"{kind.name}_information", **prop})
    except ApiError:
        ctx.change(["type", {**kind.spec, "archived": True}])
        raise


def _change(ctx: Context, kind: ObjectType, sent: dict[str, Any]) -> None:
    changes = {mine: sent[theirs] for theirs, mine in CHANGEABLE.items() if theirs in sent}
    ctx.change(["type", {**kind.spec, **changes, "updatedAt": ctx.now}])


def update(ctx: Context, asked: Asked) -> Reply:
    """Changes labels and display properties."""
    kind = _custom(ctx, asked)
    _change(ctx, kind, decoded(asked.body, dict[str, Any]))
    return Reply(200, shown(ctx, kind))


def archive(ctx: Context, asked: Asked) -> Reply:
    """Deletes a schema that has no records."""
    kind = _custom(ctx, asked)
    if any(record.archived_at is None for record in kind.records.values()):
        raise invalid(f"{kind.name} still has records and cannot be deleted")
    ctx.change(["type", {**kind.spec, "archived": True, "updatedAt": ctx.now}])
    return Reply(204)


def associate(ctx: Context, asked: Asked) -> Reply:
    """Allows associations with another object type."""
    kind = _custom(ctx, asked)
    sent = decoded(asked.body, dict[str, Any])
    other = ctx.portal.type_named(str(sent.get("toObjectTypeId", "")))
    if ctx.portal.labels.get((kind.id, other.id)):
        raise ApiError(409, "These objects can be associated already.", "OBJECT_ALREADY_EXISTS")
    first = ctx.portal.last_type_id + 1
    for event in pair_events(kind.id, other.id, first):
        ctx.change(event)
    body = {"id": str(first), "fromObjectTypeId": kind.id, "toObjectTypeId": other.id, "name": sent.get("name")}
    return Reply(201, body)
