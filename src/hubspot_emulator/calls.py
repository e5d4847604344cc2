"""One line of the request log; never part of an answer."""

from typing import Any

import msgspec

from hubspot_emulator.portal import ObjectType


class Call(msgspec.Struct, kw_only=True):
    """One request as the log keeps it. `status` 0: the connection was dropped without an answer."""

    seq: int
    arrived_at: float
    method: str
    path: str
    operation: str = ""
    object_type: str = ""
    rows: int = 0
    keys: list[str] = []
    app: str = ""
    status: int = 0
    duration_ms: float = 0.0
    counted: bool = False
    search: bool = False
    policy: str | None = None
    fault: str | None = None
    committed: bool = False
    lands_after_s: float | None = None


class Landed(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One line of the journal: the changes of one call, or of none when a tool seeded them."""

    at: float
    ev: list[list[Any]]
    seq: int = 0
    op: str = ""
    object_type: str = ""
    late: bool = False


Scalar = str | int | float | bool | None


class _End(msgspec.Struct):
    id: Scalar = None


class _Input(msgspec.Struct):
    id: Scalar = None
    name: Scalar = None
    from_: _End | None = msgspec.field(name="from", default=None)
    to: _End | list[_End] | None = None
    properties: dict[str, Scalar] | None = None


class _Inputs(msgspec.Struct):
    inputs: list[_Input] = []
    properties: dict[str, Scalar] | list[Any] | None = None


def keys_of(body: bytes, kind: ObjectType | None) -> list[str]:
    """A short name for every row of a body: its id, its unique value, or both ends of a link."""
    if not body:
        return []
    try:
        sent = msgspec.json.decode(body, type=_Inputs)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return []
    alone = sent.properties if isinstance(sent.properties, dict) else None
    return [_key(row, kind) for row in sent.inputs or [_Input(properties=alone)]]


def _key(row: _Input, kind: ObjectType | None) -> str:
    if row.from_ is not None:
        ends = row.to if isinstance(row.to, list) else [row.to or _End()]
        return f"{row.from_.id}>{','.join(str(end.id) for end in ends)}"
    if row.id is not None or row.name is not None:
        return str(row.id if row.id is not None else row.name)
    values = row.properties or {}
    names = kind.unique_names if kind is not None else []
    return next((str(values[name]) for name in names if values.get(name)), "")
