"""Batches of records: create, read, update, upsert, archive; never keeps the order of an upsert."""

from collections.abc import Sequence
from typing import Any

from hubspot_emulator import links
from hubspot_emulator.bodies import CreateBatch, CreateInput, KeyedBatch, KeyedInput, ReadBatch, RefBatch
from hubspot_emulator.context import Asked, Context, Reply, decoded
from hubspot_emulator.failures import ApiError, invalid
from hubspot_emulator.objects import found_by
from hubspot_emulator.portal import ObjectType, Record
from hubspot_emulator.rows import Judge, Problem, Row, write

OBJECTS_MAX = 100


def limited(inputs: Sequence[Any], most: int) -> None:
    """400 for a batch that is empty or too large."""
    if not inputs:
        raise invalid("The batch has no inputs")
    if len(inputs) > most:
        raise invalid(
            f"The maximum number of inputs supported in a batch request is {most}. Received {len(inputs)} inputs."
        )


def refuse_duplicates(keys: Sequence[Any], what: str) -> None:
    """400 for the whole request when a key occurs twice, trace ids or not."""
    if len(set(keys)) == len(keys):
        return
    seen: set[Any] = set()
    twice = sorted({str(key) for key in keys if key in seen or seen.add(key)})
    raise invalid(f"Duplicate {what} found in batch input: [{', '.join(twice)}]", context={"ids": twice})


class Batch:
    """One batch write: judged row by row, then written as HubSpot writes it, then answered."""

    def __init__(self, ctx: Context, kind: ObjectType, traces: list[str | None]) -> None:
        self.ctx = ctx
        self.kind = kind
        self.judge = Judge(ctx, kind)
        # HubSpot: a trace id in every input turns "400, nothing written" into "207, good rows written"; for an
        # upsert that was only seen on live portals, so a switch takes it away.
        self.traced = ctx.switches.heed_trace_ids and all(trace is not None for trace in traces)
        if self.traced:
            refuse_duplicates(traces, "objectWriteTraceIds")
        self.rows: list[tuple[Row, list[links.Judged]]] = []
        self.problems: list[tuple[Problem, str | None]] = []

    def add(self, row: Row, found: list[links.Judged] | None = None) -> None:
        """Judges the unique values of a row and keeps it, or the problem."""
        conflict = self.judge.conflict(row.record_id, row.values)
        if conflict is not None:
            self.refuse(conflict, row.trace_id)
            return
        self.judge.take(row.record_id, row.values)
        self.rows.append((row, found or []))

    def refuse(self, problem: Problem, trace_id: str | None) -> None:
        """Keeps a bad row."""
        self.problems.append((problem, trace_id))

    def settle(self, status: int, *, upsert: bool = False, errors: list[dict[str, Any]] | None = None) -> Reply:
        """Writes what HubSpot would write and answers."""
        if self.ctx.spoil_a_row and self.traced and self.rows:
            row, _ = self.rows.pop(self.ctx.dice.randrange(len(self.rows)))
            self.refuse(Problem("This row was refused by a fault of the emulator."), row.trace_id)
        if self.problems and not self.traced:
            problem = self.problems[0][0]
            if problem.conflict and not self.ctx.switches.conflict_rolls_back:
                self._write_all()
            raise problem.refusal()
        written = self._write_all()
        results = [self._shown(row, record, upsert=upsert) for row, record in written]
        if upsert:
            results = self._reordered(results)
        refused = [problem.row_error(trace) for problem, trace in self.problems]
        return self.ctx.batch(status, results, refused + (errors or []))

    def _write_all(self) -> list[tuple[Row, Record]]:
        written: list[tuple[Row, Record]] = []
        for row, found in self.rows:
            written.append((row, write(self.ctx, self.kind, row)))
            links.write(self.ctx, self.kind, row.record_id, found)
        return written

    def _shown(self, row: Row, record: Record, *, upsert: bool) -> dict[str, Any]:
        body = self.ctx.shown(self.kind, record, list(row.values), defaults=False)
        if upsert:
            body["new"] = row.old is None
        if self.ctx.switches.echo_trace_ids and row.trace_id is not None:
            body["objectWriteTraceId"] = row.trace_id
        return body

    def _reordered(self, results: list[dict[str, Any]]) -> list[dict[str, Any]]:
        order = self.ctx.switches.upsert_order
        if order == "reversed":
            results.reverse()
        elif order == "shuffled":
            self.ctx.dice.shuffle(results)
        return results


def create(ctx: Context, asked: Asked) -> Reply:
    """New records; sent twice it makes them twice."""
    kind = ctx.portal.type_named(asked.path["type"])
    inputs = decoded(asked.body, CreateBatch).inputs
    limited(inputs, OBJECTS_MAX)
    batch = Batch(ctx, kind, [one.object_write_trace_id for one in inputs])
    for one in inputs:
        _judge_new(batch, one)
    return batch.settle(201)


def _judge_new(batch: Batch, one: CreateInput) -> None:
    trace_id = one.object_write_trace_id
    values = batch.judge.clean(one.properties)
    if isinstance(values, Problem):
        batch.refuse(values, trace_id)
        return
    try:
        found = links.judged(batch.ctx, batch.kind, one.associations or [])
    except ApiError as problem:
        batch.refuse(Problem(problem.message, category=problem.category or "VALIDATION_ERROR"), trace_id)
        return
    batch.add(Row(batch.ctx.portal.next_record_id(), values, None, trace_id), found)


def update(ctx: Context, asked: Asked) -> Reply:
    """Sets properties of known records; a missing one is an entry of a 207."""
    kind = ctx.portal.type_named(asked.path["type"])
    inputs = decoded(asked.body, KeyedBatch).inputs
    limited(inputs, OBJECTS_MAX)
    refuse_duplicates([(one.id_property, one.text) for one in inputs], "IDs")
    batch = Batch(ctx, kind, [one.object_write_trace_id for one in inputs])
    absent: list[dict[str, Any]] = []
    for one in inputs:
        record = found_by(ctx, kind, one.text, one.id_property)
        values = batch.judge.clean(one.properties)
        if record is None:
            absent.append(_not_found(kind, [one.text]).row_error(one.object_write_trace_id))
        elif isinstance(values, Problem):
            batch.refuse(values, one.object_write_trace_id)
        else:
            batch.add(Row(record.id, values, record, one.object_write_trace_id))
    return batch.settle(200, errors=absent)


def _not_found(kind: ObjectType, keys: list[str]) -> Problem:
    text = f"Could not get some {kind.name.upper()} objects, they may be deleted or not exist. "
    return Problem(text + "Check that ids are valid.", category="OBJECT_NOT_FOUND", context={"ids": keys})


def upsert(ctx: Context, asked: Asked) -> Reply:
    """Creates or updates by a unique property: the one write that may be sent again."""
    kind = ctx.portal.type_named(asked.path["type"])
    inputs = decoded(asked.body, KeyedBatch).inputs
    limited(inputs, OBJECTS_MAX)
    for name in {one.id_property for one in inputs}:
        _refuse_plain_key(ctx, kind, name)
    keys = [_folded(kind, one) for one in inputs]
    refuse_duplicates(keys, "IDs")
    batch = Batch(ctx, kind, [one.object_write_trace_id for one in inputs])
    for one, (name, key) in zip(inputs, keys, strict=True):
        values = batch.judge.clean({name: key, **one.properties})
        if isinstance(values, Problem):
            batch.refuse(values, one.object_write_trace_id)
            continue
        record = kind.holder(name, key)
        record_id = record.id if record else ctx.portal.next_record_id()
        batch.add(Row(record_id, values, record, one.object_write_trace_id))
    return batch.settle(200, upsert=True)


def _refuse_plain_key(ctx: Context, kind: ObjectType, name: str | None) -> None:
    if name is None:
        raise invalid("idProperty is required for an upsert")
    if name not in kind.unique_names or name in ctx.gone:
        raise invalid(f"Property {name} is not a unique property of {kind.name}")


def _folded(kind: ObjectType, one: KeyedInput) -> tuple[str, str]:
    name, key = one.id_property or "", one.text
    if not key:
        raise invalid("An input of the upsert has an empty id")
    return name, key.lower() if name == "email" and not kind.custom else key


def read(ctx: Context, asked: Asked) -> Reply:
    """Records by id or by a unique property, without associations; missing ones make it a 207."""
    kind = ctx.portal.type_named(asked.path["type"])
    sent = decoded(asked.body, ReadBatch)
    limited(sent.inputs, OBJECTS_MAX)
    archived = asked.flag("archived")
    found: dict[str, Record] = {}
    absent: list[str] = []
    for one in sent.inputs:
        record = found_by(ctx, kind, one.text, sent.id_property, archived=archived)
        if record is None:
            absent.append(one.text)
        else:
            found[record.id] = record
    results = [ctx.shown(kind, record, sent.properties) for record in found.values()]
    errors = [_not_found(kind, absent).row_error(None)] if absent else []
    return ctx.batch(200, results, errors)


def archive(ctx: Context, asked: Asked) -> Reply:
    """Archives records; unknown ones are no error."""
    kind = ctx.portal.type_named(asked.path["type"])
    inputs = decoded(asked.body, RefBatch).inputs
    limited(inputs, OBJECTS_MAX)
    refuse_duplicates([one.text for one in inputs], "IDs")
    for one in inputs:
        record = kind.record(one.text)
        if record is not None and record.archived_at is None:
            ctx.change(["archive", kind.id, record.id, ctx.now])
    return Reply(204)
