"""Associations between single records, always kept in both directions; never reads a request body."""

from typing import Any

from hubspot_emulator.bodies import NewLink, Spec
from hubspot_emulator.context import Context
from hubspot_emulator.failures import ApiError, invalid, missing
from hubspot_emulator.portal import Label, ObjectType

Judged = tuple[ObjectType, str, list[int]]


def default_label(ctx: Context, kind: ObjectType, other: ObjectType) -> Label:
    """The association type without a name between two object types."""
    for label in ctx.portal.labels.get((kind.id, other.id), ()):
        if label.label is None:
            return label
    raise invalid(f"No association type exists between {kind.id} and {other.id}")


def type_ids(ctx: Context, kind: ObjectType, other: ObjectType, specs: list[Spec]) -> list[int]:
    """The asked association types, each known for this pair; else 400."""
    for spec in specs:
        label = ctx.portal.label(kind.id, other.id, spec.association_type_id)
        if label is None or label.category != spec.association_category:
            raise invalid(
                f"Association type {spec.association_category} {spec.association_type_id} "
                f"is not valid between {kind.id} and {other.id}"
            )
    if not specs:
        raise invalid("At least one association type is required")
    return [spec.association_type_id for spec in specs]


def judged(ctx: Context, kind: ObjectType, wanted: list[NewLink]) -> list[Judged]:
    """The associations asked for with a create, with the other end found."""
    found: list[Judged] = []
    for link in wanted:
        other = _other_end(ctx, kind, link)
        record = other.record(link.to.text)
        if record is None or record.archived_at is not None:
            raise missing(f"Could not find the object {link.to.text} to associate with")
        found.append((other, record.id, type_ids(ctx, kind, other, link.types)))
    return found


def _other_end(ctx: Context, kind: ObjectType, link: NewLink) -> ObjectType:
    # The request names no type for the other end: the association type id tells it.
    wanted = {spec.association_type_id for spec in link.types}
    for (from_type, to_type), labels in ctx.portal.labels.items():
        if from_type == kind.id and any(one.type_id in wanted for one in labels):
            return ctx.portal.types[to_type]
    raise invalid(f"Association types {sorted(wanted)} are not valid for {kind.id}")


def write(ctx: Context, kind: ObjectType, record_id: str, found: list[Judged]) -> None:
    """Stores judged associations of one record."""
    for other, other_id, ids in found:
        for type_id in ids:
            connect(ctx, kind, record_id, other, other_id, type_id)


def connect(ctx: Context, kind: ObjectType, record_id: str, other: ObjectType, other_id: str, type_id: int) -> None:
    """Stores one association in both directions. HubSpot: the modified date stays as it is."""
    label = ctx.portal.label(kind.id, other.id, type_id)
    if label is None:
        raise ApiError(500, f"association type {type_id} vanished", "INTERNAL_ERROR")
    default = default_label(ctx, kind, other)
    for one in {label.type_id: label, default.type_id: default}.values():
        ctx.change(["link", kind.id, record_id, other.id, other_id, one.type_id])
        ctx.change(["link", other.id, other_id, kind.id, record_id, one.inverse_id])


def disconnect(
    ctx: Context,
    kind: ObjectType,
    record_id: str,
    other: ObjectType,
    other_id: str,
    only: list[int] | None = None,
) -> None:
    """Removes some or all associations between two records."""
    ends = ctx.portal.links.get((kind.id, record_id), {}).get(other.id, {})
    for type_id in sorted(ends.get(other_id, ())):
        if only is not None and type_id not in only:
            continue
        label = ctx.portal.label(kind.id, other.id, type_id)
        ctx.change(["unlink", kind.id, record_id, other.id, other_id, type_id])
        if label is not None:
            ctx.change(["unlink", other.id, other_id, kind.id, record_id, label.inverse_id])


def spec_shown(label: Label) -> dict[str, Any]:
    """An association type as the API answers it."""
    return {"category": label.category, "typeId": label.type_id, "label": label.label}


def ends_of(ctx: Context, kind: ObjectType, record_id: str, other: ObjectType) -> list[dict[str, Any]]:
    """The other ends with their types, oldest id first, in the v4 shape."""
    ends = ctx.portal.links.get((kind.id, record_id), {}).get(other.id, {})
    labels = {one.type_id: one for one in ctx.portal.labels.get((kind.id, other.id), ())}
    return [
        {
            "toObjectId": other_id,
            "associationTypes": [spec_shown(labels[one]) for one in sorted(ids) if one in labels],
        }
        for other_id, ids in sorted(ends.items(), key=lambda end: int(end[0]))
    ]


def of_record(ctx: Context, kind: ObjectType, record_id: str, other: ObjectType) -> list[dict[str, Any]]:
    """The other ends in the short shape of `?associations=`."""
    ends = ctx.portal.links.get((kind.id, record_id), {}).get(other.id, {})
    name = f"{kind.name}_to_{other.name}"
    return [{"id": other_id, "type": name} for other_id in sorted(ends, key=int)]


def all_of(ctx: Context, kind: ObjectType, record_id: str) -> list[tuple[str, str, int]]:
    """Every association of one record: type and id of the other end, association type id."""
    found: list[tuple[str, str, int]] = []
    for other_type, ends in ctx.portal.links.get((kind.id, record_id), {}).items():
        for other_id, ids in ends.items():
            found += [(other_type, other_id, one) for one in sorted(ids)]
    return found
