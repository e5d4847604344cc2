"""Puts records into a portal past the API's limits and rules of size; never past its rules for values."""

import msgspec

from hubspot_emulator import links
from hubspot_emulator.context import Context
from hubspot_emulator.failures import invalid
from hubspot_emulator.portal import ObjectType
from hubspot_emulator.properties import Raw
from hubspot_emulator.rows import Judge, Problem, Row, write


class SeedRecord(msgspec.Struct, kw_only=True):
    """One record to seed. An `id` may be chosen; otherwise the next one is given."""

    properties: dict[str, Raw] = {}
    id: str | int | None = None
    archived: bool = False


class SeedEnd(msgspec.Struct, kw_only=True):
    """One end of a seeded association: an id, or the place of a record in the same seed."""

    type: str
    id: str | int | None = None
    index: int | None = None


class SeedLink(msgspec.Struct, kw_only=True):
    """One association to seed, of the type without a name unless `type_id` says another."""

    from_: SeedEnd = msgspec.field(name="from")
    to: SeedEnd
    type_id: int | None = None


class Seed(msgspec.Struct, kw_only=True):
    """What a seed file or `POST /_emulator/seed` holds."""

    objects: dict[str, list[SeedRecord]] = {}
    associations: list[SeedLink] = []


def kind_named(ctx: Context, name: str) -> ObjectType:
    """An object type by every name, a custom object's bare name too: tools may be lax, the API is not."""
    for kind in ctx.portal.types.values():
        if kind.name == name and not kind.archived:
            return kind
    return ctx.portal.type_named(name)


def sow(ctx: Context, seed: Seed) -> dict[str, list[str]]:
    """Writes a seed and answers the ids by type, in the order given."""
    given: dict[str, list[str]] = {}
    for name, records in seed.objects.items():
        kind = kind_named(ctx, name)
        judge = Judge(ctx, kind)
        given[name] = [_sow_one(ctx, kind, judge, one) for one in records]
    for link in seed.associations:
        _connect(ctx, given, link)
    return given


def _sow_one(ctx: Context, kind: ObjectType, judge: Judge, one: SeedRecord) -> str:
    record_id = str(one.id) if one.id is not None else ctx.portal.next_record_id()
    if not record_id.isdecimal():
        raise invalid(f"A record id is a number, not {record_id}")
    values = judge.clean(one.properties)
    problem = values if isinstance(values, Problem) else judge.conflict(record_id, values)
    if problem is not None or isinstance(values, Problem):
        raise problem.refusal() if problem else invalid("bad seed")
    write(ctx, kind, Row(record_id, values, kind.records.get(record_id)))
    if one.archived:
        ctx.change(["archive", kind.id, record_id, ctx.now])
    return record_id


def _connect(ctx: Context, given: dict[str, list[str]], link: SeedLink) -> None:
    ends: list[tuple[ObjectType, str]] = []
    for end in (link.from_, link.to):
        kind = kind_named(ctx, end.type)
        record_id = str(end.id) if end.id is not None else _placed(given, end)
        if kind.record(record_id) is None:
            raise invalid(f"No {kind.name} has the id {record_id}")
        ends.append((kind, record_id))
    (kind, from_id), (other, to_id) = ends
    type_id = link.type_id if link.type_id is not None else links.default_label(ctx, kind, other).type_id
    links.connect(ctx, kind, from_id, other, to_id, type_id)


def _placed(given: dict[str, list[str]], end: SeedEnd) -> str:
    ids = given.get(end.type, [])
    if end.index is None or not 0 <= end.index < len(ids):
        raise invalid(f"An end of a seeded association needs an id, or the index of a seeded {end.type}")
    return ids[end.index]
