"""What may not be true after a torture, one check each over its files; never asks a running part, never repairs."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from lastseat.evidence import UNFINISHED, PortalRecord, Row, instant
from lastseat.invariants import check_all
from lastseat.rehearsal.history import Kept, Said, Viewed
from lastseat.rehearsal.lives import (
    NEVER,
    Asked,
    Hold,
    Life,
    certain_holds,
    lives_of,
    most_at_once,
    most_between,
    possible_holds,
    wishes_of,
)
from lastseat.rehearsal.students import REFUSALS

WELL: Final = {
    "book": {201, 202, 409, 429, 503, 0},
    "cancel": {200, 429, 503, 0},
    "move": {200, 201, 202, 409, 429, 503, 0},
    "status": {200, 429, 503, 0},
}
CANCELLED: Final = {"cancelled", "pending", "already_cancelled"}
UNTRUE: Final = {"EXAM_CLOSED", "REFUSED_BY_HUBSPOT", "Refused", "Failed"}
"""Never true in a torture: no session closes in it, and HubSpot's weather refuses no row for itself."""
RECOVERY_S: Final = 60.0


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: which number it counts in (if any), in words, and how many it stands for."""

    kind: str
    sentence: str
    about: tuple[str, ...] = ()
    count: int = 1


class Case:
    """A kept torture with what all checks need of it."""

    def __init__(self, kept: Kept) -> None:
        self.kept = kept
        self.trial = kept.trial
        self.evidence = kept.evidence
        self.wishes = wishes_of(kept.said)
        self.lives = lives_of(self.wishes)

    @cached_property
    def records(self) -> dict[str, list[PortalRecord]]:
        """HubSpot's records that are not archived, by our booking id."""
        found: dict[str, list[PortalRecord]] = defaultdict(list)
        for record in self.evidence.portal or ():
            if record.key and not record.archived:
                found[record.key].append(record)
        return found

    @cached_property
    def mirrored(self) -> dict[str, Row]:
        """The mirror's rows by our booking id; the one that holds a seat, if several have it."""
        rows = sorted(self.evidence.bookings.values(), key=lambda row: bool(row["holds"]))
        return {row["booking_key"]: row for row in rows if row.get("booking_key")}

    @cached_property
    def certain(self) -> dict[str, list[Hold]]:
        """By exam, when seats were surely held."""
        return _by_exam(certain_holds(self.lives, self.evidence))

    @cached_property
    def possible(self) -> dict[str, list[Hold]]:
        """By exam, when seats may have been held."""
        return _by_exam(possible_holds(self.lives, self.evidence))

    def held_in_hubspot(self, exam_id: str) -> int:
        """Active records of an exam."""
        return sum(len(records) for (_, exam), records in self.evidence.held.items() if exam == exam_id)


def _by_exam(holds: Sequence[Hold]) -> dict[str, list[Hold]]:
    found: dict[str, list[Hold]] = defaultdict(list)
    for hold in holds:
        found[hold.exam_id].append(hold)
    return found


def lost(case: Case) -> Iterator[Finding]:
    """What was given and not given up is active in HubSpot and in the mirror."""
    for life in case.lives.values():
        if life.should_hold:
            records = [record for record in case.records.get(life.booking_id, ()) if _is_of(record, life)]
            row = case.mirrored.get(life.booking_id)
            where = [
                *(() if any(record.holds for record in records) else ("HubSpot",)),
                *(() if row is not None and row["holds"] else ("the mirror",)),
            ]
            if where:
                sentence = f"Booking {life.booking_id} was confirmed and is not active in {' nor in '.join(where)}."
                yield Finding("lost", sentence, (life.booking_id,))
    yield from _taken_away(case)


def _taken_away(case: Case) -> Iterator[Finding]:
    """What is gone although nobody asked to cancel or to move it. No session is deleted in a torture."""
    gone = {booking_id for booking_id, life in case.lives.items() if life.gone_at < NEVER and not life.refused}
    gone |= {booking_id for booking_id, claim in case.evidence.claims.items() if claim["state"] == "cancelled"}
    for booking_id in sorted(gone):
        life = case.lives.get(booking_id)
        if life is None or not (life.given_up or life.should_hold):
            yield Finding("lost", f"Booking {booking_id} is cancelled, and nobody asked for it.", (booking_id,))


def _is_of(record: PortalRecord, life: Life) -> bool:
    return record.contact_id == life.contact_id and record.exam_id == life.exam_id


def came_back(case: Case) -> Iterator[Finding]:
    """What was cancelled, moved away or refused holds no seat."""
    for life in case.lives.values():
        if life.should_hold is False:
            active = any(record.holds for record in case.records.get(life.booking_id, ()))
            row = case.mirrored.get(life.booking_id)
            if active or (row is not None and row["holds"]):
                where = "HubSpot" if active else "the mirror"
                sentence = f"Booking {life.booking_id} was given up or refused and is active in {where}."
                yield Finding("came_back", sentence, (life.booking_id,))


def duplicates(case: Case) -> Iterator[Finding]:
    """One record for a booking, one booking for a wish, one seat for a student and exam, none that nobody knows."""
    for key, records in case.records.items():
        if len(records) > 1:
            ids = ", ".join(record.hubspot_id for record in records)
            yield Finding("duplicates", f"HubSpot holds booking {key} {len(records)} times: {ids}.", (key,))
        if key not in case.evidence.claims:
            yield Finding("duplicates", f"HubSpot holds booking {key}, which the ledger does not know.", (key,))
    for (contact_id, exam_id), records in case.evidence.held.items():
        if len(records) > 1:
            keys = tuple(record.key or record.hubspot_id for record in records)
            sentence = f"Contact {contact_id} holds {len(keys)} seats of exam {exam_id}: {', '.join(keys)}."
            yield Finding("duplicates", sentence, keys, len(keys) - 1)
    for asked in case.wishes.values():
        if asked.first.deed in ("book", "move") and len(asked.told) > 1:
            told = tuple(sorted(asked.told))
            yield Finding(
                "duplicates", f"The wish {asked.key} was told {len(told)} bookings: {', '.join(told)}.", told
            )


def oversold(case: Case) -> Iterator[Finding]:
    """At no instant are more seats surely held than there are, nor in the end by HubSpot or the ledger."""
    for exam_id, seats in case.trial.seats.items():
        most, which = most_at_once(case.certain.get(exam_id, ()))
        worst = max(most, case.held_in_hubspot(exam_id), case.evidence.taken(exam_id))
        if worst > seats:
            last = tuple(hold.booking_id for hold in which[-3:])
            sentence = (
                f"Exam {exam_id} has {seats} seats; {most} were surely held at one instant, in the end "
                f"{case.held_in_hubspot(exam_id)} in HubSpot and {case.evidence.taken(exam_id)} in the ledger."
            )
            yield Finding("oversold", sentence, (*last, exam_id), worst - seats)


def stranded(case: Case) -> Iterator[Finding]:
    """In the end every seat is taken by somebody, because students asked for each; and no "full" was wrong."""
    for exam_id, seats in case.trial.seats.items():
        exam = case.evidence.exams.get(exam_id)
        phantom = 0 if exam is None else max(0, int(exam["seats_taken"]) - case.evidence.taken(exam_id))
        free = max(0, seats - case.held_in_hubspot(exam_id))
        if phantom or free:
            sentence = f"Exam {exam_id}: {free} seats could not be booked in the end, {phantom} are taken by nobody."
            yield Finding("stranded", sentence, (exam_id,), max(free, phantom))
    for line in case.kept.said:
        if line.code == "SESSION_FULL" and line.exam_id in case.trial.seats:
            most = most_between(case.possible.get(line.exam_id, ()), line.sent_at, line.at)
            if most < case.trial.seats[line.exam_id]:
                sentence = (
                    f'Contact {line.contact_id} heard "full" of exam {line.exam_id} while at most {most} held a seat.'
                )
                yield Finding("stranded", sentence, (line.key, line.exam_id))


def unresolved(case: Case) -> Iterator[Finding]:
    """Every wish is answered, every 202 and every pending cancel ends."""
    for asked in case.wishes.values():
        first = asked.first
        if not asked.answered and first.deed in ("book", "cancel", "move"):
            yield Finding("unresolved", f"The wish {asked.key} ({first.deed}) was never answered.", (asked.key,))
        elif first.deed == "cancel" and _still_pending(case, asked):
            sentence = f"The cancel of {first.booking_id} was pending and never ended."
            yield Finding("unresolved", sentence, (first.booking_id or "",))
    for life in case.lives.values():
        if not life.ended:
            sentence = f"Booking {life.booking_id} was answered 202 and never ended."
            yield Finding("unresolved", sentence, (life.booking_id,))


def _still_pending(case: Case, asked: Asked) -> bool:
    life = case.lives.get(asked.first.booking_id or "")
    return any(line.state == "pending" for line in asked.wishes) and (life is None or life.gone_at == NEVER)


def wrong_answers(case: Case) -> Iterator[Finding]:
    """Every answer is one that the documents know, and it is true as far as its student can tell."""
    odd: dict[tuple[str, int, str | None], list[Said]] = defaultdict(list)
    for line in case.kept.said:
        if line.status not in WELL.get(line.deed, {line.status}) or (
            line.status == 409 and (line.code not in REFUSALS - UNTRUE and line.code != "IN_PROGRESS")
        ):
            odd[line.deed, line.status, line.code].append(line)
        elif (line.state or "").partition("/")[0] in UNTRUE or (
            line.deed == "cancel" and line.status == 200 and line.state not in CANCELLED
        ):
            odd[line.deed, line.status, line.state].append(line)
        if line.shown is not None and line.shown != line.contact_id:
            sentence = f"Contact {line.contact_id} was shown a booking of contact {line.shown}."
            yield Finding("answers", sentence, (line.key,))
        if line.code == "ALREADY_BOOKED" and not _may_hold(case, line):
            sentence = f"Contact {line.contact_id} heard of a seat in exam {line.exam_id} that is not there."
            yield Finding("answers", sentence, (line.key,))
        if line.code == "BOOKING_NOT_ACTIVE" and _surely_held(case, line):
            sentence = f"Booking {line.booking_id} was called not active while it held its seat."
            yield Finding("answers", sentence, (line.key, line.booking_id or ""))
    for (deed, status, code), lines in odd.items():
        sentence = f"{len(lines)} × {deed} answered {status} {code or ''}: {lines[0].error or lines[0].state}."
        yield Finding("answers", sentence, (lines[0].key, lines[0].booking_id or ""))


def _may_hold(case: Case, line: Said) -> bool:
    holds = case.possible.get(line.exam_id or "", ())
    mine = [hold for hold in holds if hold.contact_id == line.contact_id]
    return any(hold.begins_at <= line.at and hold.ends_at >= line.sent_at for hold in mine)


def _surely_held(case: Case, line: Said) -> bool:
    """Whether it held a seat all the time from the question to the answer."""
    holds = [hold for found in case.certain.values() for hold in found if hold.booking_id == line.booking_id]
    return any(hold.begins_at <= line.sent_at and hold.ends_at >= line.at for hold in holds)


def unheard(case: Case) -> Iterator[Finding]:
    """A claim that no student heard of belongs to a wish of which an answer was lost."""
    for booking_id, claim in case.evidence.claims.items():
        if booking_id in case.lives:
            continue
        asked = case.wishes.get(claim.get("idempotency_key") or "")
        if asked is None:
            yield Finding("answers", f"Nobody asked for booking {booking_id}.", (booking_id,))
        elif not asked.lost:
            sentence = f"Booking {booking_id} is its student's, who was told no ({asked.key})."
            yield Finding("answers", sentence, (booking_id, asked.key))


def views(case: Case) -> Iterator[Finding]:
    """What students and servers see in the end is what the ledger holds."""
    held: dict[str, dict[str, str]] = defaultdict(dict)
    for row in case.evidence.bookings.values():
        if row["holds"]:
            held[row["contact_id"]][row["booking_key"] or row["hubspot_id"]] = str(row["is_active"])
    for booking_id, claim in case.evidence.claims.items():
        if claim["state"] == "open":
            held[claim["contact_id"]][booking_id] = "Pending"
    for view in case.kept.views:
        if view.status != 200:
            yield Finding("views", f"Server {view.server} answered a look with {view.status}.")
        elif view.contact_id is not None and view.bookings != held[view.contact_id]:
            wrong = {booking_id for booking_id, _ in view.bookings.items() ^ held[view.contact_id].items()}
            sentence = (
                f"Server {view.server} shows contact {view.contact_id} {view.bookings}, "
                f"the ledger holds {held[view.contact_id]}."
            )
            yield Finding("views", sentence, tuple(sorted(wrong)))
        elif view.contact_id is None:
            yield from _exams_shown(case, view)


def _exams_shown(case: Case, view: Viewed) -> Iterator[Finding]:
    for exam_id, seats in case.trial.seats.items():
        exam = case.evidence.exams[exam_id]
        left, shown = max(0, seats - int(exam["seats_taken"])), view.remaining.get(exam_id)
        if shown != left:
            sentence = f"Server {view.server} shows {shown} seats left of exam {exam_id}, the ledger has {left}."
            yield Finding("views", sentence, (exam_id,))


def unseen(case: Case) -> Iterator[Finding]:
    """Everybody and every server was looked at: what is not there convicts nobody, so that it is a fault itself."""
    servers = {view.server for view in case.kept.views if view.contact_id is None}
    if missing := set(range(case.trial.processes)) - servers:
        yield Finding("views", f"Nobody looked at the list of sessions of servers {sorted(missing)}.")
    students = {view.contact_id for view in case.kept.views if view.contact_id is not None}
    missing = {line.contact_id for line in case.kept.said} - students
    if missing or len(students) < case.trial.students:
        yield Finding("views", f"{len(students)} of {case.trial.students} students looked; not {sorted(missing)}.")
    for server in range(case.trial.processes):
        if not case.kept.logged.get(server):
            yield Finding("logs", f"Server {server} wrote no log.")


def links(case: Case) -> Iterator[Finding]:
    """HubSpot links each active booking to its student and its exam, and counts each exam's bookings."""
    objects: dict[str, list[dict[str, Any]]] = case.kept.state["objects"]
    for record in objects.get(case.trial.booking_type, ()):
        held = case.evidence.portal_by_id[record["id"]]
        if held.holds and not held.archived:
            ends = {end["id"] for found in record.get("associations", {}).values() for end in found}
            missing = {held.contact_id, held.exam_id} - ends
            if missing:
                yield Finding(
                    "links", f"Booking {held.key} is not linked to {missing} in HubSpot.", (held.key or "",)
                )
    for record in objects.get(case.trial.exam_type, ()):
        exam = case.evidence.exams.get(record["id"])
        said = int(record["properties"].get("total_bookings") or 0)
        if exam is not None and said != exam["seats_taken"]:
            sentence = f"HubSpot counts {said} bookings of exam {record['id']}, the ledger {exam['seats_taken']}."
            yield Finding("totals", sentence, (record["id"],))


def left_over(case: Case) -> Iterator[Finding]:
    """Nothing waits in the outbox, and nothing was set aside."""
    rows = [row for row in case.evidence.rows("outbox") if row["state"] in UNFINISHED or _overdue(case, row)]
    kinds = Counter((row["kind"], row["state"]) for row in rows)
    for (kind, state), count in kinds.items():
        first = next(row for row in rows if (row["kind"], row["state"]) == (kind, state))
        sentence = f"{count} outbox rows ({kind}) are still {state}: {first['last_error'] or 'no error'}."
        yield Finding("outbox", sentence, (first.get("booking_id") or "",))
    for row in case.evidence.rows("outbox"):
        if row["state"] == "aside":
            sentence = f"A row ({row['kind']}) of booking {row['booking_id']} was set aside: {row['last_error']}."
            yield Finding("outbox", sentence, (row.get("booking_id") or "",))


def _overdue(case: Case, row: Row) -> bool:
    verify_at = instant(row.get("verify_at"))
    return verify_at is not None and verify_at <= case.trial.end_at


def logs(case: Case) -> Iterator[Finding]:
    """No server met a fault that it did not foresee."""
    faults = sum(line.startswith("Traceback ") for line in case.evidence.log_lines or ())
    if faults:
        yield Finding("logs", f"The servers wrote {faults} tracebacks.")


def invariants(case: Case) -> Iterator[Finding]:
    """The invariants that hold at every moment hold in the end."""
    for verdict in check_all(case.evidence):
        if not verdict.looked_at:
            yield Finding(verdict.invariant, f"Nothing was kept by which to judge that {verdict.promise}.")
        for finding in verdict.findings:
            if not finding.note:
                yield Finding(verdict.invariant, finding.sentence, _ids(case, finding.sentence))


def _ids(case: Case, sentence: str) -> tuple[str, ...]:
    """The bookings and exams that a sentence speaks of."""
    words = sentence.replace(",", " ").replace(".", " ").replace("(", " ").replace(")", " ").replace(":", " ").split()
    known = {word for word in words if word in case.evidence.claims or word in case.evidence.exams}
    keys = {record.key for word in words if (record := case.evidence.portal_by_id.get(word)) is not None}
    return tuple(sorted(known | {key for key in keys if key}))


CHECKS: Final = (
    lost, came_back, duplicates, oversold, stranded, unresolved, wrong_answers, unheard, views, unseen, links,
    left_over, logs, invariants,
)  # fmt: skip


def findings_of(case: Case) -> list[Finding]:
    """Everything that is wrong."""
    return [finding for check in CHECKS for finding in check(case)]
