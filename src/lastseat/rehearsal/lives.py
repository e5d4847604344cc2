"""Tells each booking's life from what its student was told, and from the ledger; judges nothing and reads no file."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from lastseat.evidence import Evidence, Row, instant
from lastseat.rehearsal.history import Said
from lastseat.rehearsal.students import AGAIN, GONE, HELD, final

Outcome = Literal["yes", "no", "maybe"]
NEVER: Final = float("inf")
EARLY_S: Final = 0.05
"""A claim's instant is that of its transaction's beginning; clocks of one machine differ by less than this."""
COMMIT_S: Final = 10.0
"""No transaction of the ledger takes longer; its statements are cut off before."""


@dataclass
class Asked:
    """All that was said about one wish, by its key."""

    key: str
    lines: list[Said] = field(default_factory=list[Said])

    @property
    def first(self) -> Said:
        """The first request, by the time it was sent."""
        return min(self.lines, key=lambda line: line.sent_at)

    @property
    def wishes(self) -> list[Said]:
        """The lines of the wish itself, without looks at the status."""
        return [line for line in self.lines if line.deed not in ("status", "list")]

    @property
    def lost(self) -> bool:
        """Whether an answer to it was lost or open, so that it may have happened in spite of a later no."""
        return any(line.status in AGAIN for line in self.wishes)

    @property
    def answered(self) -> bool:
        """Whether any request of it was answered for good."""
        return any(final(line) for line in self.wishes)

    @property
    def told(self) -> set[str]:
        """The bookings that it was told to have got."""
        return {line.told for line in self.wishes if line.told and line.status in (200, 201, 202)}


@dataclass
class Life:
    """One booking. `heard_at`: the first 201 or 202; `gone_at`: somebody was told that it is no more."""

    booking_id: str
    contact_id: str
    exam_id: str
    key: str
    heard_at: float = NEVER
    confirmed: bool = False
    refused: bool = False
    leaves: dict[str, Outcome] = field(default_factory=dict[str, Outcome])
    leave_sent_at: float = NEVER
    gone_at: float = NEVER

    @property
    def given_up(self) -> bool:
        """Whether somebody asked to cancel or move it and was not refused."""
        return any(outcome != "no" for outcome in self.leaves.values())

    @property
    def ended(self) -> bool:
        """Whether its student knows what became of it."""
        return self.confirmed or self.refused or self.gone_at < NEVER

    @property
    def should_hold(self) -> bool | None:
        """Whether it must hold a seat in the end; None: nobody can say."""
        if self.refused or "yes" in self.leaves.values() or self.gone_at < NEVER:
            return False
        return True if self.confirmed and "maybe" not in self.leaves.values() else None


def wishes_of(said: Iterable[Said]) -> dict[str, Asked]:
    """Everything that was said, by wish."""
    found: dict[str, Asked] = {}
    for line in said:
        found.setdefault(line.key, Asked(line.key)).lines.append(line)
    return found


def lives_of(wishes: dict[str, Asked]) -> dict[str, Life]:
    """Every booking that a student was told of, by its id."""
    lives: dict[str, Life] = {}
    for asked in wishes.values():
        for line in asked.wishes:
            if line.deed != "cancel" and line.told and line.status in (200, 201, 202):
                life = lives.setdefault(
                    line.told, Life(line.told, line.contact_id, line.exam_id or "", key=asked.key)
                )
                life.heard_at = min(life.heard_at, line.at)
                life.confirmed |= line.status == 201
    for asked in wishes.values():
        for line in asked.lines:
            _look(lives, asked, line)
    for asked in wishes.values():
        _leave(lives, asked)
    return lives


def _look(lives: dict[str, Life], asked: Asked, line: Said) -> None:
    """What a status, or the same request sent again, says of a booking."""
    if line.code == "REFUSED_BY_HUBSPOT":
        for booking_id in asked.told:
            lives[booking_id].refused = True
    life = lives.get(line.told or "")
    if life is None or line.status not in (200, 201):
        return
    state = (line.state or "").partition("/")[0]
    if line.deed in ("status", "book", "move"):
        life.confirmed |= state in HELD
        life.refused |= state in ("Refused", "Failed")
    if state in GONE or (line.deed == "cancel" and state in ("cancelled", "already_cancelled")):
        life.gone_at = min(life.gone_at, line.at)


def _leave(lives: dict[str, Life], asked: Asked) -> None:
    """Whether a cancel or a move took the booking that it was about."""
    first = asked.first
    life = lives.get(first.booking_id or "")
    if life is None or first.deed not in ("cancel", "move"):
        return
    outcome = _cancelled(asked) if first.deed == "cancel" else _moved(asked, lives)
    life.leaves[asked.key] = outcome
    if outcome != "no":  # a refused one leaves the seat as surely held as it was
        life.leave_sent_at = min(life.leave_sent_at, first.sent_at)
    for line in asked.wishes:
        if first.deed == "move" and (line.state or "").endswith("/cancelled"):
            life.gone_at = min(life.gone_at, line.at)


def _cancelled(asked: Asked) -> Outcome:
    states = {line.state for line in asked.wishes}
    if states & {"cancelled", "pending", "already_cancelled"}:
        return "yes"
    return "no" if asked.answered and not asked.lost else "maybe"


def _moved(asked: Asked, lives: dict[str, Life]) -> Outcome:
    new = [lives[booking_id] for booking_id in asked.told]
    if any(life.confirmed for life in new):
        return "yes"
    if new:
        return "no" if all(life.refused for life in new) else "maybe"
    return "no" if asked.answered and not asked.lost else "maybe"


@dataclass(frozen=True)
class Hold:
    """From when to when a booking holds a seat of an exam."""

    exam_id: str
    contact_id: str
    booking_id: str
    begins_at: float
    ends_at: float


def certain_holds(lives: dict[str, Life], evidence: Evidence) -> list[Hold]:
    """When a seat was surely held: from its answer or its record in the mirror until somebody asked to give it up."""
    audit = _audit_of(evidence)
    holds: list[Hold] = []
    for booking_id, claim in evidence.claims.items():
        life = lives.get(booking_id)
        heard_at = life.heard_at if life is not None and not life.refused else NEVER
        recorded_at, released_at = audit.get(claim.get("hubspot_id") or "", (NEVER, NEVER))
        begins_at = min(heard_at, recorded_at) + EARLY_S
        ends_at = min(
            life.leave_sent_at if life is not None else NEVER,
            instant(claim.get("cancel_requested_at")) or NEVER,
            released_at,
        )
        if claim["state"] != "refused" and begins_at < ends_at:
            holds.append(Hold(claim["exam_id"], claim["contact_id"], booking_id, begins_at, ends_at))
    told = [life for life in lives.values() if life.booking_id not in evidence.claims and life.confirmed]
    holds += [Hold(o.exam_id, o.contact_id, o.booking_id, o.heard_at, o.leave_sent_at) for o in told]
    return holds


def possible_holds(lives: dict[str, Life], evidence: Evidence) -> list[Hold]:
    """When a seat may have been held: from its claim until somebody was told that it is free."""
    audit = _audit_of(evidence)
    holds: list[Hold] = []
    for booking_id, claim in evidence.claims.items():
        life = lives.get(booking_id)
        _, released_at = audit.get(claim.get("hubspot_id") or "", (NEVER, NEVER))
        begins_at = (instant(claim["created_at"]) or 0.0) - EARLY_S
        ends_at = min(life.gone_at if life is not None else NEVER, released_at + COMMIT_S)
        holds.append(Hold(claim["exam_id"], claim["contact_id"], booking_id, begins_at, ends_at + EARLY_S))
    return holds


def _audit_of(evidence: Evidence) -> dict[str, tuple[float, float]]:
    """When the mirror first showed each record as holding a seat, and first as not, by HubSpot's id."""
    rows: dict[str, list[Row]] = defaultdict(list)
    for row in evidence.rows("audit_log"):
        if row["table_name"] == "hubspot_bookings" and row["operation"] in ("INSERT", "UPDATE"):
            rows[row["record_id"]].append(row)
    return {record_id: (_first(found, holds=True), _first(found, holds=False)) for record_id, found in rows.items()}


def _first(rows: Sequence[Row], *, holds: bool) -> float:
    return min((instant(row["performed_at"]) or NEVER for row in rows if _holds(row) is holds), default=NEVER)


def _holds(row: Row) -> bool:
    new: dict[str, Any] = row["new_values"] or {}
    return bool(new.get("holds"))


def most_at_once(holds: Iterable[Hold]) -> tuple[int, list[Hold]]:
    """The largest number of holds at one instant, and which they are."""
    ordered = sorted(holds, key=lambda hold: hold.begins_at)
    most: list[Hold] = []
    now: list[Hold] = []
    for hold in ordered:
        now = [one for one in now if one.ends_at > hold.begins_at]
        now.append(hold)
        if len(now) > len(most):
            most = list(now)
    return len(most), most


def most_between(holds: Iterable[Hold], begins_at: float, ends_at: float) -> int:
    """The largest number of holds at one instant of this interval."""
    near = [hold for hold in holds if hold.begins_at <= ends_at and hold.ends_at >= begins_at]
    return most_at_once(replace(hold, begins_at=max(hold.begins_at, begins_at)) for hold in near)[0]
