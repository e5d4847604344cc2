"""The associations API: batches, single links and labels; never changes a record's modified date."""

from typing import Any

from hubspot_emulator import links
from hubspot_emulator.batches import limited
from hubspot_emulator.bodies import LinkBatch, LinkInput, LinkRead, NewLabel, Spec, UnlinkBatch
from hubspot_emulator.context import Asked, Context, Reply, decoded
from hubspot_emulator.failures import invalid, missing
from hubspot_emulator.objects import is_number, page_size
from hubspot_emulator.portal import ObjectType

CREATE_MAX = 2_000
READ_MAX = 1_000
ARCHIVE_MAX = 100
ENDS_MAX = 500


def _pair(ctx: Context, asked: Asked) -> tuple[ObjectType, ObjectType]:
    return ctx.portal.type_named(asked.path["from"]), ctx.portal.type_named(asked.path["to"])


def _live(kind: ObjectType, record_id: str) -> str | None:
    record = kind.record(record_id)
    return record.id if record is not None and record.archived_at is None else None


def _absent(kind: ObjectType, other: ObjectType, one: LinkInput) -> dict[str, Any] | None:
    context: dict[str, list[str]] = {}
    if _live(kind, one.from_.text) is None:
        context["fromObjectId"] = [one.from_.text]
    if _live(other, one.to.text) is None:
        context["toObjectId"] = [one.to.text]
    if not context:
        return None
    return {
        "status": "error",
        "category": "OBJECT_NOT_FOUND",
        "message": f"One or more of the {kind.name} or {other.name} to associate do not exist.",
        "context": context,
    }


def batch_create(ctx: Context, asked: Asked) -> Reply:
    """Links records; known links are no error, a missing end is an entry of a 207."""
    kind, other = _pair(ctx, asked)
    inputs = decoded(asked.body, LinkBatch).inputs
    limited(inputs, CREATE_MAX)
    asked_ids = [links.type_ids(ctx, kind, other, one.types) for one in inputs]
    return _connect_all(ctx, kind, other, inputs, asked_ids)


def batch_default(ctx: Context, asked: Asked) -> Reply:
    """Links records by the association type without a name."""
    kind, other = _pair(ctx, asked)
    inputs = decoded(asked.body, LinkBatch).inputs
    limited(inputs, CREATE_MAX)
    default = links.default_label(ctx, kind, other)
    reply = _connect_all(ctx, kind, other, inputs, [[default.type_id]] * len(inputs))
    spec = {"associationCategory": default.category, "associationTypeId": default.type_id}
    if reply.body is not None:
        reply.body["results"] = [
            {"from": {"id": one["fromObjectId"]}, "to": {"id": one["toObjectId"]}, "associationSpec": spec}
            for one in reply.body["results"]
        ]
    reply.status = 200 if reply.status == 201 else reply.status
    return reply


def _connect_all(
    ctx: Context, kind: ObjectType, other: ObjectType, inputs: list[LinkInput], asked_ids: list[list[int]]
) -> Reply:
    results: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    for one, type_ids in zip(inputs, asked_ids, strict=True):
        problem = _absent(kind, other, one)
        if problem is not None:
            errors.append(problem)
            continue
        from_id, to_id = _live(kind, one.from_.text) or "", _live(other, one.to.text) or ""
        links.write(ctx, kind, from_id, [(other, to_id, type_ids)])
        names = [ctx.portal.label(kind.id, other.id, type_id) for type_id in type_ids]
        results.append(
            {
                "fromObjectTypeId": kind.id,
                "fromObjectId": from_id,
                "toObjectTypeId": other.id,
                "toObjectId": to_id,
                "labels": [name.label for name in names if name and name.label],
            }
        )
    return ctx.batch(201, results, errors)


def batch_read(ctx: Context, asked: Asked) -> Reply:
    """The other ends of records. HubSpot: a record without any is a benign row of a 207."""
    kind, other = _pair(ctx, asked)
    inputs = decoded(asked.body, LinkRead).inputs
    limited(inputs, READ_MAX)
    results: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    for one in inputs:
        record_id = str(one.id)
        ends = links.ends_of(ctx, kind, record_id, other)
        if ends:
            results.append({"from": {"id": record_id}, "to": ends})
        else:
            errors.append(_no_ends(kind, other, record_id))
    return ctx.batch(200, results, errors)


def _no_ends(kind: ObjectType, other: ObjectType, record_id: str) -> dict[str, Any]:
    return {
        "status": "error",
        "category": "OBJECT_NOT_FOUND",
        "subCategory": "crm.associations.NO_ASSOCIATIONS_FOUND",
        "message": f"No {other.name} is associated with {kind.name} {record_id}.",
        "context": {
            "fromObjectId": [record_id],
            "fromObjectType": [kind.full_name],
            "toObjectType": [other.full_name],
        },
    }


def batch_archive(ctx: Context, asked: Asked) -> Reply:
    """Removes every association between the named records."""
    kind, other = _pair(ctx, asked)
    inputs = decoded(asked.body, UnlinkBatch).inputs
    limited(inputs, ARCHIVE_MAX)
    for one in inputs:
        for end in one.to:
            links.disconnect(ctx, kind, one.from_.text, other, end.text)
    return Reply(204)


def batch_labels_archive(ctx: Context, asked: Asked) -> Reply:
    """Removes the named association types between the named records."""
    kind, other = _pair(ctx, asked)
    inputs = decoded(asked.body, LinkBatch).inputs
    limited(inputs, ARCHIVE_MAX)
    for one in inputs:
        only = links.type_ids(ctx, kind, other, one.types)
        links.disconnect(ctx, kind, one.from_.text, other, one.to.text, only)
    return Reply(204)


def labels(ctx: Context, asked: Asked) -> Reply:
    """The association types of a pair, where a portal's own type ids are discovered."""
    kind, other = _pair(ctx, asked)
    known = ctx.portal.labels.get((kind.id, other.id), [])
    return Reply(200, {"results": [links.spec_shown(one) for one in known]})


def label_create(ctx: Context, asked: Asked) -> Reply:
    """Defines a named association type in both directions."""
    kind, other = _pair(ctx, asked)
    sent = decoded(asked.body, NewLabel)
    if any(one.label == sent.label for one in ctx.portal.labels.get((kind.id, other.id), ())):
        raise invalid(f"An association label {sent.label} already exists")
    there = ctx.portal.last_type_id + 1
    back = there if kind is other else there + 1
    pairs = [(kind, other, there, back, sent.label)]
    if back != there:
        pairs.append((other, kind, back, there, sent.inverse_label or sent.label))
    for a, b, type_id, inverse, text in pairs:
        spec = {"category": "USER_DEFINED", "typeId": type_id, "label": text, "inverseId": inverse}
        ctx.change(["label", a.id, b.id, spec | {"name": sent.name}])
    shown = {"category": "USER_DEFINED", "typeId": there, "label": sent.label}
    return Reply(200, {"results": [shown]})


def label_update(ctx: Context, asked: Asked) -> Reply:
    """Renames an association type."""
    kind, other = _pair(ctx, asked)
    sent = decoded(asked.body, NewLabel)
    known = ctx.portal.label(kind.id, other.id, sent.association_type_id or 0)
    if known is None:
        raise missing()
    spec = {"category": known.category, "typeId": known.type_id, "inverseId": known.inverse_id}
    ctx.change(["label", kind.id, other.id, spec | {"label": sent.label, "name": known.name}])
    return Reply(204)


def label_delete(ctx: Context, asked: Asked) -> Reply:
    """Removes a named association type in both directions."""
    kind, other = _pair(ctx, asked)
    labels_here = ctx.portal.labels.get((kind.id, other.id), ())
    known = next((one for one in labels_here if str(one.type_id) == asked.path["type_id"]), None)
    if known is None or known.label is None:
        raise missing()
    ctx.change(["unlabel", kind.id, other.id, known.type_id])
    ctx.change(["unlabel", other.id, kind.id, known.inverse_id])
    return Reply(204)


def ends(ctx: Context, asked: Asked) -> Reply:
    """The other ends of one record, page by page."""
    kind, other = ctx.portal.type_named(asked.path["type"]), ctx.portal.type_named(asked.path["to"])
    if _live(kind, asked.path["id"]) is None:
        raise missing()
    size = page_size(asked.query.get("limit"), ENDS_MAX, ENDS_MAX)
    after = asked.query.get("after", "0")
    found = [
        end
        for end in links.ends_of(ctx, kind, asked.path["id"], other)
        if int(end["toObjectId"]) > int(after if is_number(after) else "0")
    ]
    body: dict[str, Any] = {"results": found[:size]}
    if len(found) > size:
        body["paging"] = {"next": {"after": found[size - 1]["toObjectId"]}}
    return Reply(200, body)


def put_one(ctx: Context, asked: Asked) -> Reply:
    """Links two records by the types in the body."""
    kind, other, from_id, to_id = _both(ctx, asked)
    ids = links.type_ids(ctx, kind, other, decoded(asked.body, list[Spec]))
    links.write(ctx, kind, from_id, [(other, to_id, ids)])
    known = [ctx.portal.label(kind.id, other.id, type_id) for type_id in ids]
    shown = {
        "fromObjectTypeId": kind.id,
        "fromObjectId": from_id,
        "toObjectTypeId": other.id,
        "toObjectId": to_id,
        "labels": [one.label for one in known if one and one.label],
    }
    return Reply(201, shown)


def put_default(ctx: Context, asked: Asked) -> Reply:
    """Links two records by the association type without a name."""
    kind, other, from_id, to_id = _both(ctx, asked)
    label = links.default_label(ctx, kind, other)
    links.connect(ctx, kind, from_id, other, to_id, label.type_id)
    spec = {"associationCategory": label.category, "associationTypeId": label.type_id}
    return ctx.batch(200, [{"from": {"id": from_id}, "to": {"id": to_id}, "associationSpec": spec}])


def delete_one(ctx: Context, asked: Asked) -> Reply:
    """Removes every association between two records."""
    kind, other = ctx.portal.type_named(asked.path["type"]), ctx.portal.type_named(asked.path["to"])
    links.disconnect(ctx, kind, asked.path["id"], other, asked.path["to_id"])
    return Reply(204)


def _both(ctx: Context, asked: Asked) -> tuple[ObjectType, ObjectType, str, str]:
    kind, other = ctx.portal.type_named(asked.path["type"]), ctx.portal.type_named(asked.path["to"])
    from_id, to_id = _live(kind, asked.path["id"]), _live(other, asked.path["to_id"])
    if from_id is None or to_id is None:
        raise missing()
    return kind, other, from_id, to_id
