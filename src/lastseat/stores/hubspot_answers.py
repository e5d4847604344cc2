"""Reads what HubSpot answered into one outcome per row; never sends, and never matches by position."""

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from lastseat.errors import Refused, Unavailable
from lastseat.model import Record, RowResult
from lastseat.stores.hubspot_codec import instant_of

_NOT_TAKEN = (423, 429, 477)  # HubSpot: locked, over a limit, moving; the request was turned away unread.
_UNAUTHORISED = (401, 403)
_PORTAL_CODES = ("PROPERTY_DOESNT_EXIST", "READ_ONLY_VALUE", "MISSING_SCOPES", "INVALID_AUTHENTICATION")
# Inside a message the row's own values are escaped JSON, so a value cannot pretend to be a code.
_PORTAL_WORDS = re.compile(rf'"error":\s*"({"|".join(_PORTAL_CODES)})"')
_REASON_LENGTH = 500  # Limit: HubSpot's words are kept, its dumps are not.
_TRACE = "objectWriteTraceId"

T = TypeVar("T")


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP answer, whole."""

    status: int
    body: bytes = b""


class NoAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A call without an answer. `sent` = it may have reached HubSpot."""

    sent: bool
    reason: str


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """One row as it was sent: what a result calls it, and the names an error may give it."""

    key: str
    ident: str
    names: frozenset[tuple[str, str]]


class WireRecord(msgspec.Struct, rename="camel"):
    """A record as HubSpot writes it."""

    id: str | int
    properties: dict[str, str | int | float | bool | None] | None = None
    created_at: str | None = None
    updated_at: str | None = None
    archived: bool | None = None
    object_write_trace_id: str | None = None


class WireLink(msgspec.Struct, rename="camel"):
    """An association as HubSpot writes it."""

    from_object_id: str | int
    to_object_id: str | int


class WireLabel(msgspec.Struct, rename="camel"):
    """An association type of a pair of object types."""

    category: str
    type_id: int
    label: str | None = None


class WireError(msgspec.Struct, rename="camel"):
    """HubSpot: every field of an error is optional."""

    message: str | None = None
    category: str | None = None
    context: msgspec.Raw = msgspec.Raw(b"null")
    errors: msgspec.Raw = msgspec.Raw(b"null")
    policy_name: str | None = None


class _Detail(msgspec.Struct):
    code: str | None = None


class _Batch(msgspec.Struct, rename="camel"):
    results: list[msgspec.Raw] | None = None
    errors: list[msgspec.Raw] | None = None
    num_errors: int | None = None


def record_of(wire: WireRecord) -> Record:
    """The record with only the properties that the answer held."""
    return Record(
        hubspot_id=str(wire.id),
        properties={name: _as_text(value) for name, value in (wire.properties or {}).items()},
        created_at=instant_of(wire.created_at),
        updated_at=instant_of(wire.updated_at),
        archived=bool(wire.archived),
    )


def error_of(body: bytes) -> WireError:
    """The error in a body, as far as it can be read."""
    try:
        return msgspec.json.decode(body, type=WireError)
    except msgspec.MsgspecError:
        return WireError()


def unanswered(rows: Sequence[Sent], answer: Answer | NoAnswer) -> list[RowResult] | None:
    """One outcome for all rows when the call as a whole was not a success; None when it was."""
    if isinstance(answer, NoAnswer):
        return [
            RowResult(key=r.key, outcome="unknown" if answer.sent else "not_sent", reason=answer.reason) for r in rows
        ]
    if 200 <= answer.status < 300:
        return None
    error = error_of(answer.body)
    reason = _reason(error, answer.status)
    if answer.status in _NOT_TAKEN:
        return [RowResult(key=r.key, outcome="not_sent", reason=reason) for r in rows]
    if answer.status >= 500 or answer.status == 408:
        return [RowResult(key=r.key, outcome="unknown", reason=reason) for r in rows]
    if answer.status in _UNAUTHORISED or answer.status < 400 or _is_portals(error):
        return [RowResult(key=r.key, outcome="portal", reason=reason) for r in rows]
    if len(rows) == 1:
        outcome = "missing" if error.category == "OBJECT_NOT_FOUND" else "refused"
        return [RowResult(key=rows[0].key, outcome=outcome, reason=reason)]
    return [RowResult(key=r.key, outcome="portal", reason=reason, together=True) for r in rows]


def object_results(
    rows: Sequence[Sent], answer: Answer | NoAnswer, name_of: Callable[[WireRecord], str], *, by_id: bool = False
) -> list[RowResult]:
    """One result per row of a batch of objects; `name_of` tells which row a result is.

    `by_id`: HubSpot answers a merged record with the survivor's id (2026), so the one result of one row is the row's.
    """

    def told(wire: WireRecord) -> tuple[frozenset[str], Record]:
        return frozenset((name_of(wire), wire.object_write_trace_id or "")), record_of(wire)

    return _results(rows, answer, WireRecord, told, by_id=by_id)


def link_results(rows: Sequence[Sent], answer: Answer | NoAnswer) -> list[RowResult]:
    """One result per association; `ident` is `from>to`. Either end may be merged, as in object_results."""

    def told(wire: WireLink) -> tuple[frozenset[str], None]:
        return frozenset((f"{wire.from_object_id}>{wire.to_object_id}",)), None

    return _results(rows, answer, WireLink, told, by_id=True)


def records_read(keys: Sequence[str], answer: Answer | NoAnswer) -> list[Record]:
    """The records of a batch read. A key that the answer does not speak of at all is an error, not an absence."""
    batch = _good(answer)
    wires = [_decoded(raw, WireRecord) for raw in batch.results or []]
    records = [record_of(wire) for wire in wires if wire is not None]
    errors = [error_of(bytes(raw)) for raw in batch.errors or []]
    absent = [_named(error.context) for error in errors if error.category in (None, "OBJECT_NOT_FOUND")]
    spoken_of = len(wires) + sum(len(names) for names in absent)
    if len(records) == len(wires) and (spoken_of >= len(set(keys)) or set() in absent):
        return records
    raise Unavailable(f"HubSpot's answer speaks of {spoken_of} of {len(set(keys))} records.")


def labels_read(answer: Answer | NoAnswer) -> list[WireLabel]:
    """The association types of a pair."""
    return [label for raw in _good(answer).results or [] if (label := _decoded(raw, WireLabel)) is not None]


def _good(answer: Answer | NoAnswer) -> _Batch:
    """The body of a success; raises Refused when asking again is useless, Unavailable otherwise."""
    if isinstance(answer, NoAnswer):
        raise Unavailable(answer.reason)
    if 200 <= answer.status < 300:
        batch = _decoded(answer.body, _Batch)
        if batch is None:
            raise Unavailable("HubSpot's answer cannot be read.")
        return batch
    reason = _reason(error_of(answer.body), answer.status)
    if answer.status in _NOT_TAKEN or answer.status >= 500 or answer.status == 408:
        raise Unavailable(reason)
    raise Refused(reason)


def _results(
    rows: Sequence[Sent],
    answer: Answer | NoAnswer,
    shape: type[T],
    told: Callable[[T], tuple[frozenset[str], Record | None]],
    *,
    by_id: bool,
) -> list[RowResult]:
    whole = unanswered(rows, answer)
    if whole is not None:
        return whole
    assert isinstance(answer, Answer)
    batch = _decoded(answer.body, _Batch)
    if batch is None:
        return [RowResult(key=row.key, outcome="unknown", reason="HubSpot's answer cannot be read.") for row in rows]
    wires = [wire for raw in batch.results or [] if (wire := _decoded(raw, shape)) is not None]
    found = [told(wire) for wire in wires]
    outcomes = _written(rows, found)
    nameless = len(found) > len(outcomes)
    if by_id and not outcomes and len(rows) == len(found) == 1 and not batch.errors:
        outcomes[rows[0].ident] = RowResult(key=rows[0].key, outcome="written", record=found[0][1])
    _add_refused(rows, outcomes, [error_of(bytes(raw)) for raw in batch.errors or []], batch.num_errors or 0)
    silence = "HubSpot's answer does not speak of this row."
    return [
        outcomes.get(row.ident) or RowResult(key=row.key, outcome="unknown", reason=silence, unnamed=nameless)
        for row in rows
    ]


def _written(rows: Sequence[Sent], told: list[tuple[frozenset[str], Record | None]]) -> dict[str, RowResult]:
    by_name = {row.ident.casefold(): row for row in rows}
    by_name |= {name.casefold(): row for row in rows for where, name in row.names if where == _TRACE}
    outcomes: dict[str, RowResult] = {}
    for names, record in told:
        row = next((by_name[name] for name in (n.casefold() for n in names) if name in by_name), None)
        if row is not None:
            outcomes[row.ident] = RowResult(key=row.key, outcome="written", record=record)
    return outcomes


def _add_refused(rows: Sequence[Sent], outcomes: dict[str, RowResult], errors: list[WireError], told: int) -> None:
    nameless: list[WireError] = []
    for error in errors:
        named = _named(error.context)
        hit = [row for row in rows if row.ident not in outcomes and not row.names.isdisjoint(named)]
        nameless += [] if hit else [error]
        for row in hit:
            outcomes[row.ident] = _refusal(row, error)
    left = [row for row in rows if row.ident not in outcomes]
    # Results and errors cover the inputs exactly: then the rows left over are the ones refused without a name.
    if left and nameless and len(left) == max(len(nameless), told - len(errors) + len(nameless)):
        for row in left:
            outcomes[row.ident] = _refusal(row, nameless[0])


def _refusal(row: Sent, error: WireError) -> RowResult:
    if _is_portals(error):
        return RowResult(key=row.key, outcome="portal", reason=_reason(error, 207))
    outcome = "missing" if error.category == "OBJECT_NOT_FOUND" else "refused"
    return RowResult(key=row.key, outcome=outcome, reason=_reason(error, 207))


def _named(context: msgspec.Raw) -> set[tuple[str, str]]:
    named = _decoded(context, dict[str, list[str | int] | str | int | None]) or {}
    lists = {where: values if isinstance(values, list) else [values] for where, values in named.items()}
    return {(where, str(value)) for where, values in lists.items() for value in values}


def _is_portals(error: WireError) -> bool:
    """The words blame the portal's set-up: no row could pass, and no row is to blame."""
    if error.category in _PORTAL_CODES or _PORTAL_WORDS.search(error.message or ""):
        return True
    return any(detail.code in _PORTAL_CODES for detail in _decoded(error.errors, list[_Detail]) or [])


def _reason(error: WireError, status: int) -> str:
    return (error.message or error.category or f"HubSpot answered {status}.")[:_REASON_LENGTH]


def _decoded(body: bytes | msgspec.Raw, shape: type[T]) -> T | None:
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.MsgspecError:
        return None


def _as_text(value: str | int | float | bool | None) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return str(value).lower() if isinstance(value, bool) else str(value)
