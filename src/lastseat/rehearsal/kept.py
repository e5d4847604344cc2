"""The files that a rush leaves and how they are read again; never holds a number that the files do not.

clients.jsonl   the run (first line), then one line per answer and per ending of a 202
requests.jsonl  HubSpot's own log of calls, as the emulator wrote it
state.json      HubSpot's records at the end
ledger.json     every table of the ledger at the end
gates.json      the seat counts in Redis at the end
server.log      what the server processes wrote
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from lastseat.errors import SetupError
from lastseat.evidence import Answer, Budget, Call, CallKind, Ending, Evidence, PortalRecord, Row, holds_seat
from lastseat.model import Gate

CLIENTS: Final = "clients.jsonl"
REQUESTS: Final = "requests.jsonl"
STATE: Final = "state.json"
LEDGER: Final = "ledger.json"
GATES: Final = "gates.json"
SERVER_LOG: Final = "server.log"

READS: Final = frozenset({"list", "search", "read", "association_list"})
Shape = TypeVar("Shape")


class Rush(msgspec.Struct, frozen=True, kw_only=True):
    """One release: when (epoch seconds), of how many students, for which exams."""

    number: int
    released_at: float
    students: int
    seats: int
    exam_ids: list[str]


class Run(msgspec.Struct, frozen=True, kw_only=True, tag="run", tag_field="kind"):
    """The first line of the clients' log: what was asked for and when it began."""

    released_at: float
    students: int
    seats: int
    exams: int
    processes: int
    hubspot_limit: int
    hubspot_latency_ms: int
    hubspot_faults: str = ""
    seed: int = 0
    double: bool = False
    transport: str = "direct"
    booking_type: str
    booking_key: str
    rushes: list[Rush]


class Logged(msgspec.Struct, frozen=True):
    """The part of a line of the emulator's log that the judge needs."""

    arrived_at: float
    operation: str
    status: int
    fault: str | None = None


_CLIENTS: "msgspec.json.Decoder[Run | Answer | Ending]" = msgspec.json.Decoder(Run | Answer | Ending)
_REQUESTS = msgspec.json.Decoder(Logged)


@dataclass(frozen=True)
class Kept:
    """A run as its files tell it."""

    run: Run
    evidence: Evidence


def write_clients(folder: Path, run: Run, answers: Iterable[Answer], endings: Iterable[Ending]) -> None:
    """Write the clients' log, the run first."""
    lines = [msgspec.json.encode(line) for line in (run, *answers, *endings)]
    (folder / CLIENTS).write_bytes(b"\n".join(lines) + b"\n")


def write_ledger(folder: Path, tables: Mapping[str, Sequence[Row]]) -> None:
    """Write the dump of the ledger."""
    (folder / LEDGER).write_bytes(msgspec.json.format(msgspec.json.encode(tables), indent=1))


def is_kept(folder: Path) -> bool:
    """Whether a rush left its files here."""
    return (folder / CLIENTS).is_file()


def read_kept(folder: Path) -> Kept:
    """Read a kept run, or say in one line which file is missing or spoiled."""
    lines = lines_of(folder / CLIENTS, _CLIENTS)
    if not lines or not isinstance(lines[0], Run):
        raise SetupError(
            f"{folder / CLIENTS} does not begin with its run.", way_out="Give a folder that --keep filled."
        )
    run = lines[0]
    gates = folder / GATES
    log = folder / SERVER_LOG
    evidence = Evidence(
        tables=decoded(folder / LEDGER, dict[str, list[dict[str, Any]]]),
        portal=portal_records(decoded(folder / STATE, dict[str, Any]), run.booking_type, run.booking_key),
        calls=[call_of(line) for line in lines_of(folder / REQUESTS, _REQUESTS)],
        budget=Budget(calls=run.hubspot_limit),
        gates=decoded(gates, list[Gate]) if gates.exists() else None,
        answers=[line for line in lines if isinstance(line, Answer)],
        endings=[line for line in lines if isinstance(line, Ending)],
        log_lines=log.read_text(errors="replace").splitlines() if log.exists() else None,
    )
    return Kept(run, evidence)


def portal_records(state: Mapping[str, Any], booking_type: str, key: str) -> list[PortalRecord]:
    """The booking records in what the emulator says of its state."""
    return [portal_record(record, key) for record in state["objects"].get(booking_type, ())]


def portal_record(record: Mapping[str, Any], key: str) -> PortalRecord:
    """One booking as HubSpot answers it: an id, properties, archived or not."""
    properties = record["properties"]
    return PortalRecord(
        hubspot_id=record["id"],
        key=properties.get(key) or None,
        exam_id=properties.get("mock_exam_id") or None,
        contact_id=properties.get("contact_id") or None,
        holds=holds_seat(properties.get("booking_status"), properties.get("is_active")),
        archived=bool(record.get("archived")),
    )


def call_of(line: Logged) -> Call:
    """One line of the emulator's log as a judge sees it."""
    return Call(at=line.arrived_at, kind=_kind(line.operation), status=line.status, planted=bool(line.fault))


def calls_so_far(path: Path) -> list[Call]:
    """The calls in a log that is still written; a last line that is not whole yet is left out."""
    whole, _, _ = _bytes(path).rpartition(b"\n")
    try:
        return [call_of(_REQUESTS.decode(line)) for line in whole.splitlines() if line.strip()]
    except msgspec.MsgspecError as problem:
        raise SetupError(
            f"{path} is spoiled: {problem}.", way_out="Move it away; the emulator begins anew."
        ) from problem


def _kind(operation: str) -> CallKind:
    if operation in READS:
        return "read"
    if operation == "batch_read":
        return "read_back"
    writes = {"create", "update", "archive", "merge"}
    return "write" if operation in writes or operation.startswith(("batch_", "associations_batch_")) else "describe"


def lines_of(path: Path, decoder: "msgspec.json.Decoder[Shape]") -> list[Shape]:
    """Every line of a file of JSON lines, or SetupError naming the file."""
    try:
        return [decoder.decode(line) for line in _bytes(path).splitlines() if line.strip()]
    except msgspec.MsgspecError as problem:
        raise SetupError(f"{path} is spoiled: {problem}.", way_out="Run the rush again.") from problem


def decoded(path: Path, shape: type[Shape]) -> Shape:
    """A file of JSON, or SetupError naming it."""
    try:
        return msgspec.json.decode(_bytes(path), type=shape)
    except msgspec.MsgspecError as problem:
        raise SetupError(f"{path} is spoiled: {problem}.", way_out="Run the rush again.") from problem


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as problem:
        way_out = "Give a folder that `lastseat rush --keep` filled."
        raise SetupError(f"Cannot read {path}: {problem.strerror}.", way_out=way_out) from problem
