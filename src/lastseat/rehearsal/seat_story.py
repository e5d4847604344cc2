"""Tells what happened to one booking or exam, from all files, in the order of time; judges nothing."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from lastseat.evidence import instant
from lastseat.rehearsal.history import Said
from lastseat.rehearsal.torture_checks import Case

LINES_MOST: Final = 120
NEAR_S: Final = 2.0

Event = tuple[float, str]


def story_of(case: Case, about: Iterable[str]) -> list[str]:
    """Lines such as `+12.345 s  HubSpot: …`, counted from when the students began."""
    names = {name for name in about if name}
    keys, records = _widened(case, names)
    events = [*_said(case, names | keys), *_ledger(case, names, records), *_hubspot(case, names | records)]
    if not events:
        return []
    events.sort()
    began, ended = events[0][0] - NEAR_S, events[-1][0] + NEAR_S
    events += [event for event in _struck(case) if began <= event[0] <= ended]
    lines = [f"{at - case.trial.began_at:+9.3f} s  {words}" for at, words in sorted(events)]
    if len(lines) > LINES_MOST:
        half = LINES_MOST // 2
        lines = [*lines[:half], f"… {len(lines) - LINES_MOST} lines left out …", *lines[-half:]]
    return lines


def _widened(case: Case, names: set[str]) -> tuple[set[str], set[str]]:
    """The wishes and HubSpot's ids that belong to these bookings."""
    claims = [claim for name in names if (claim := case.evidence.claims.get(name)) is not None]
    keys = {str(claim["idempotency_key"]) for claim in claims if claim.get("idempotency_key")}
    records = {str(claim["hubspot_id"]) for claim in claims if claim.get("hubspot_id")}
    return keys, records | {record.hubspot_id for name in names for record in case.records.get(name, ())}


def _said(case: Case, names: set[str]) -> Iterator[Event]:
    exams = names & case.trial.seats.keys()
    # Of an exam alone every student could tell; the refusals and the wishes named are enough then.
    for line in case.kept.said:
        if names & {line.key, line.booking_id, line.told} or (line.exam_id in exams and len(names) == len(exams)):
            yield line.at, _words(line)


def _words(line: Said) -> str:
    who = f"staff for {line.contact_id}" if line.staff else f"student {line.contact_id}"
    what = f"{line.deed} {line.booking_id or line.exam_id}"
    answer = f"{line.status or 'no answer'} {line.code or line.state or line.error or ''}".rstrip()
    told = f" → {line.told}" if line.told else ""
    took = f"sent {(line.at - line.sent_at) * 1000:.0f} ms before"
    return f"{who} to server {line.server}: {what} [{line.key}] → {answer}{told} ({took})"


def _ledger(case: Case, names: set[str], records: set[str]) -> Iterator[Event]:
    for row in case.evidence.rows("audit_log"):
        if row["record_id"] in names | records and row["record_id"] not in case.trial.seats:
            new: dict[str, Any] = row.get("new_values") or {}
            state = {name: new[name] for name in ("state", "is_active", "exam_id", "reason") if new.get(name)}
            at = instant(row["performed_at"]) or 0.0
            yield at, f"ledger: {row['operation']} {row['record_id']} by {row['performed_by']} {state or ''}".rstrip()
    for row in case.evidence.rows("outbox"):
        if row.get("booking_id") in names:
            at = instant(row["created_at"]) or 0.0
            yield at, f"outbox {row['outbox_id']}: {row['kind']} of {row['booking_id']} queued"
            if sent_at := instant(row.get("sent_at")):
                yield sent_at, f"outbox {row['outbox_id']}: {row['kind']} sent, term {row['sent_term']}"
            if done_at := instant(row.get("done_at")):
                yield (
                    done_at,
                    f"outbox {row['outbox_id']}: {row['kind']} {row['state']}, attempt {row['attempts']}",
                )


def _hubspot(case: Case, names: set[str]) -> Iterator[Event]:
    late = {line.seq: line.at for line in case.kept.landed if line.late and line.seq}
    for call in case.kept.calls:
        keys = {part for key in call.keys for part in key.split(">")}
        if names & keys and not (keys & case.trial.seats.keys() and not (names - case.trial.seats.keys()) & keys):
            how = f", fault {call.fault}" if call.fault else ""
            done = "changed" if call.committed else "nothing changed"
            yield call.arrived_at, f"HubSpot: call {call.seq} {call.operation} → {call.status} ({done}{how})"
            if call.seq in late:
                yield late[call.seq], f"HubSpot: call {call.seq} {call.operation} lands only now"


def _struck(case: Case) -> Iterator[Event]:
    for blow in case.kept.struck:
        where = "" if blow.server is None else f" {blow.server}"
        yield blow.at, f"demon: {blow.what}{where} {blow.note}".rstrip()
        if blow.well_at is not None:
            yield blow.well_at, f"demon: {blow.what}{where} is well again"
