"""Single records: list, create, read, update, archive, merge; never more than one record is written."""

import base64
import binascii
from typing import Any

from hubspot_emulator import links
from hubspot_emulator.bodies import CreateInput, Merge, PropertiesOnly
from hubspot_emulator.context import Asked, Context, Reply, decoded
from hubspot_emulator.failures import ApiError, invalid, missing
from hubspot_emulator.portal import ObjectType, Record
from hubspot_emulator.rows import Judge, Problem, Row, write

LIST_DEFAULT = 10
LIST_MAX = 100
NUMBER_DIGITS = 20


def is_number(text: str) -> bool:
    """Whether it is a whole number of a length that Python turns into one."""
    return text.isdecimal() and len(text) < NUMBER_DIGITS


def page_size(text: str | None, default: int, most: int) -> int:
    """The `limit` of a list, or 400."""
    if not text:
        return default
    if not is_number(text) or not 0 < int(text) <= most:
        raise invalid(f"Invalid limit {text}: it must be a number between 1 and {most}")
    return int(text)


def _opaque(record_id: str) -> str:
    return base64.urlsafe_b64encode(b"after:" + record_id.encode()).decode().rstrip("=")


def _transparent(after: str | None) -> int:
    if not after:
        return 0
    try:
        raw = base64.urlsafe_b64decode(after + "=" * (-len(after) % 4)).decode()
    except (binascii.Error, ValueError):
        raw = ""
    head, _, number = raw.partition(":")
    if head != "after" or not is_number(number):
        raise invalid(f"Invalid paging cursor: {after}")
    return int(number)


def list_page(ctx: Context, asked: Asked) -> Reply:
    """One page of records, live or archived, never both."""
    kind = ctx.portal.type_named(asked.path["type"])
    size = page_size(asked.query.get("limit"), LIST_DEFAULT, LIST_MAX)
    archived = asked.flag("archived")
    names = asked.words("properties")
    page: list[Record] = []
    more = False
    for record in kind.from_id(_transparent(asked.query.get("after"))):
        if (record.archived_at is not None) != archived or record.id in kind.merged:
            continue
        more = len(page) == size
        if more:
            break
        page.append(record)
    results = [_with_links(ctx, kind, record, names, asked) for record in page]
    body: dict[str, Any] = {"results": results}
    if more:
        after = _opaque(page[-1].id)
        body["paging"] = {"next": {"after": after, "link": f"?after={after}"}}
    return Reply(200, body)


def _with_links(ctx: Context, kind: ObjectType, record: Record, names: list[str], asked: Asked) -> dict[str, Any]:
    body = ctx.shown(kind, record, names)
    wanted = asked.words("associations")
    if wanted:
        found = {name: links.of_record(ctx, kind, record.id, ctx.portal.type_named(name)) for name in wanted}
        body["associations"] = {name: {"results": ends} for name, ends in found.items() if ends}
    return body


def create(ctx: Context, asked: Asked) -> Reply:
    """One new record; sent twice it makes two."""
    kind = ctx.portal.type_named(asked.path["type"])
    sent = decoded(asked.body, CreateInput)
    judge = Judge(ctx, kind)
    values = judge.clean(sent.properties)
    if isinstance(values, Problem):
        raise values.refusal()
    new_links = links.judged(ctx, kind, sent.associations or [])
    _refuse_known_email(ctx, kind, values)
    record_id = ctx.portal.next_record_id()
    conflict = judge.conflict(record_id, values)
    if conflict is not None:
        raise conflict.refusal()
    record = write(ctx, kind, Row(record_id, values, None))
    links.write(ctx, kind, record_id, new_links)
    return Reply(201, ctx.shown(kind, record, list(values)))


def _refuse_known_email(ctx: Context, kind: ObjectType, values: dict[str, str]) -> None:
    # HubSpot: contact e-mail on single create is 409 with the existing id in the text.
    if kind.id != "0-1" or not values.get("email"):
        return
    found = kind.holder("email", values["email"], archived_too=ctx.switches.archived_holds_unique)
    if found is not None:
        raise ApiError(409, f"Contact already exists. Existing ID: {found.id}", "CONFLICT")


def found_by(
    ctx: Context, kind: ObjectType, key: str, id_property: str | None, *, archived: bool = False
) -> Record | None:
    """The record with this id or unique value, live unless archived ones are asked for."""
    if id_property is None or id_property == "hs_object_id":
        record = kind.record(key)
    else:
        if id_property not in kind.unique_names or id_property in ctx.gone:
            raise invalid(f"Property {id_property} is not a unique property of {kind.name}")
        folded = key.lower() if id_property == "email" and not kind.custom else key
        record = kind.holder(id_property, folded, archived_too=archived)
    if record is None or (record.archived_at is not None) != archived:
        return None
    return record


def read(ctx: Context, asked: Asked) -> Reply:
    """One record by id or by a unique property."""
    kind = ctx.portal.type_named(asked.path["type"])
    id_property = asked.query.get("idProperty")
    record = found_by(ctx, kind, asked.path["id"], id_property, archived=asked.flag("archived"))
    if record is None:
        raise missing()
    return Reply(200, _with_links(ctx, kind, record, asked.words("properties"), asked))


def update(ctx: Context, asked: Asked) -> Reply:
    """Sets some properties of one record."""
    kind = ctx.portal.type_named(asked.path["type"])
    sent = decoded(asked.body, PropertiesOnly)
    record = found_by(ctx, kind, asked.path["id"], asked.query.get("idProperty"))
    if record is None:
        raise missing()
    judge = Judge(ctx, kind)
    values = judge.clean(sent.properties)
    problem = values if isinstance(values, Problem) else judge.conflict(record.id, values)
    if problem is not None or isinstance(values, Problem):
        raise problem.refusal() if problem else missing()
    changed = write(ctx, kind, Row(record.id, values, record))
    return Reply(200, ctx.shown(kind, changed, list(sent.properties)))


def archive(ctx: Context, asked: Asked) -> Reply:
    """Archives one record; 204 also when there is nothing to archive."""
    kind = ctx.portal.type_named(asked.path["type"])
    record = kind.record(asked.path["id"])
    if record is not None and record.archived_at is None:
        ctx.change(["archive", kind.id, record.id, ctx.now])
    return Reply(204)


def merge(ctx: Context, asked: Asked) -> Reply:
    """Makes two records one: the primary's values win, the other's id leads to it from now on."""
    kind = ctx.portal.type_named(asked.path["type"])
    sent = decoded(asked.body, Merge)
    primary = found_by(ctx, kind, str(sent.primary_object_id), None)
    other = found_by(ctx, kind, str(sent.object_id_to_merge), None)
    if primary is None or other is None:
        raise missing()
    if primary.id == other.id:
        raise invalid("Cannot merge an object with itself")
    system = {kind.created_name, kind.modified_name, "hs_object_id", *kind.unique_names}
    values = {n: v for n, v in other.properties.items() if n not in primary.properties and n not in system}
    moved = links.all_of(ctx, kind, other.id)
    ctx.change(["archive", kind.id, other.id, ctx.now])
    ctx.change(["merge", kind.id, other.id, primary.id])
    merged = write(ctx, kind, Row(primary.id, values, primary))
    for to_type, to_id, type_id in moved:
        links.connect(ctx, kind, primary.id, ctx.portal.types[to_type], to_id, type_id)
    return Reply(200, ctx.shown(kind, merged, list(values)))
