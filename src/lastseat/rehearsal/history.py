"""The files that a torture leaves, their lines, and how they are read again; never holds a number that they do not.

run.json        what was asked for, when each part began, and the demon's schedule
history.jsonl   every request of every student with its answer
demon.jsonl     what the demon really did and when
views.jsonl     what each student's list and each server's list of exams said in the end
requests.jsonl  HubSpot's own log of calls, journal.jsonl its changes, as the emulator wrote them
state.json      HubSpot's records at the end
ledger.json     every table of the ledger at the end
gates.json      the seat counts in Redis at the end
server-N.log    what each server wrote
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from lastseat.errors import SetupError
from lastseat.evidence import Budget, Evidence
from lastseat.model import Gate
from lastseat.rehearsal import kept
from lastseat.rehearsal.schedule import Blow

RUN: Final = "run.json"
HISTORY: Final = "history.jsonl"
DEMON: Final = "demon.jsonl"
VIEWS: Final = "views.jsonl"
JOURNAL: Final = "journal.jsonl"
SERVER_LOGS: Final = "server-{}.log"
FILES: Final = (
    RUN, HISTORY, DEMON, VIEWS, JOURNAL, kept.REQUESTS, kept.STATE, kept.LEDGER, kept.GATES, SERVER_LOGS.format("*"),
)  # fmt: skip

Deed = Literal["book", "cancel", "move", "status", "list"]


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """The run as a whole. Instants are epoch seconds: `began_at` the students, `calm_at` the demon has ended,
    `sweep_at` the students take what is free, `end_at` all was looked at."""

    seed: int
    seconds: float
    processes: int
    students: int
    seats: dict[str, int]
    hubspot_limit: int
    without: str = ""
    booking_type: str
    exam_type: str
    booking_key: str
    began_at: float
    calm_at: float
    sweep_at: float
    end_at: float
    ports: list[int]
    blows: list[Blow]


class Said(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One request of one student (or of staff for them) and its answer; `status` 0: none came, `error` says why.

    `key` names the wish: all requests with one key ask for one thing. `booking_id`: the one asked about or to be
    changed. `told`: the booking that the answer speaks of, in `state`; `shown` is whose it is.
    """

    at: float
    sent_at: float
    contact_id: str
    deed: Deed
    key: str
    server: int
    status: int
    exam_id: str | None = None
    booking_id: str | None = None
    told: str | None = None
    state: str | None = None
    code: str | None = None
    shown: str | None = None
    staff: bool = False
    error: str | None = None


class Struck(msgspec.Struct, frozen=True, kw_only=True):
    """One blow as it fell. `again_at`: the killed part was started again, `well_at`: it answered."""

    what: str
    at: float
    again_at: float | None = None
    well_at: float | None = None
    server: int | None = None
    note: str = ""


class Viewed(msgspec.Struct, frozen=True, kw_only=True):
    """What one server showed in the end: a student's bookings by id with their state, or seats left by exam."""

    server: int
    contact_id: str | None = None
    bookings: dict[str, str] = {}
    remaining: dict[str, int] = {}
    status: int = 200


class Landed(msgspec.Struct, frozen=True):
    """The part of a line of HubSpot's journal that a judge needs."""

    at: float
    seq: int = 0
    op: str = ""
    late: bool = False


class Heard(msgspec.Struct, frozen=True):
    """A call as HubSpot's log has it, with the rows that it was about."""

    arrived_at: float
    operation: str
    status: int
    seq: int = 0
    duration_ms: float = 0.0
    keys: list[str] = []
    fault: str | None = None
    committed: bool = False
    lands_after_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A torture as its files tell it. `logged`: how many lines each server wrote, by its number."""

    trial: Trial
    said: list[Said]
    struck: list[Struck]
    views: list[Viewed]
    calls: list[Heard]
    landed: list[Landed]
    state: dict[str, Any]
    logged: dict[int, int]
    evidence: Evidence


_TRIAL = msgspec.json.Decoder(Trial)
_SAID = msgspec.json.Decoder(Said)
_STRUCK = msgspec.json.Decoder(Struck)
_VIEWED = msgspec.json.Decoder(Viewed)
_LANDED = msgspec.json.Decoder(Landed)
_HEARD = msgspec.json.Decoder(Heard)
_CALLS = msgspec.json.Decoder(kept.Logged)


def write_lines(path: Path, rows: list[Any]) -> None:
    """One JSON line for each."""
    path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))


def is_kept(folder: Path) -> bool:
    """Whether a torture left its files here."""
    return (folder / RUN).is_file()


def read_kept(folder: Path) -> Kept:
    """Read a kept torture, or say in one line which file is missing or spoiled."""
    if not is_kept(folder):
        raise SetupError(
            f"{folder / RUN} is missing.", way_out="Give a folder that `lastseat torture --keep` filled."
        )
    trial = kept.decoded(folder / RUN, Trial)
    state = kept.decoded(folder / kept.STATE, dict[str, Any])
    logs = [_text(folder / SERVER_LOGS.format(server)) for server in range(trial.processes)]
    evidence = Evidence(
        tables=kept.decoded(folder / kept.LEDGER, dict[str, list[dict[str, Any]]]),
        portal=kept.portal_records(state, trial.booking_type, trial.booking_key),
        calls=[kept.call_of(line) for line in kept.lines_of(folder / kept.REQUESTS, _CALLS)],
        budget=Budget(calls=trial.hubspot_limit),
        gates=kept.decoded(folder / kept.GATES, list[Gate]),
        log_lines=[line for lines in logs for line in lines],
    )
    return Kept(
        trial=trial,
        said=kept.lines_of(folder / HISTORY, _SAID),
        struck=kept.lines_of(folder / DEMON, _STRUCK),
        views=kept.lines_of(folder / VIEWS, _VIEWED),
        calls=kept.lines_of(folder / kept.REQUESTS, _HEARD),
        landed=kept.lines_of(folder / JOURNAL, _LANDED),
        state=state,
        logged={server: len(lines) for server, lines in enumerate(logs)},
        evidence=evidence,
    )


def _text(path: Path) -> list[str]:
    return path.read_text(errors="replace").splitlines() if path.exists() else []
