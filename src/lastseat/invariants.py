"""The invariants I1–I9, one pure check each over `Evidence`; never fetches, never repairs, never guesses."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec

from lastseat.evidence import LIVE_CLAIM, Answer, Evidence
from lastseat.seats_in_time import SeatsInTime, seats_of

FULL: Final = "SESSION_FULL"
SETTLE_S: Final = 2.0
"""A raised capacity is written down before its transaction ends; so long after that "full" may still be true."""
MAIL = re.compile(r"[\w.+'-]+@[\w-]+\.[\w.-]+")
SECRET = re.compile(r"eyJ[\w-]{8,}\.[\w-]{8,}|pat-[\w-]{12,}|://[^/\s:@]*:[^/\s:@]{4,}@|sb_secret_\w+")


class Finding(msgspec.Struct, frozen=True):
    """One thing that is not as it should be, as a sentence; a `note` is worth reading and breaks nothing."""

    sentence: str
    note: bool = False


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What one check found. `looked_at` counts what it could judge; 0 means that it could judge nothing."""

    invariant: str
    promise: str
    looked_at: int
    findings: list[Finding] = []

    @property
    def broken(self) -> bool:
        """True when the promise was broken in what was seen."""
        return any(not finding.note for finding in self.findings)


def seats_given(evidence: Evidence) -> Iterator[Finding]:
    """I1. More holders than seats is ours only if we gave one when, as far as we knew, none was left."""
    for exam_id, exam in evidence.exams.items():
        over = -evidence.free(exam_id)
        late = SeatsInTime(evidence, exam_id).given_beyond()
        sentence = f"Exam {exam_id} is oversold by {over}: {evidence.taken(exam_id)} hold {seats_of(exam)} seats"
        if late and over > 0:
            yield Finding(f"{sentence}, and {late} was given when none was left.")
        elif late:
            yield Finding(f"Exam {exam_id} had no seat left when {late} was given one; it has more seats now.")
        elif over > 0:
            yield Finding(f"{sentence}; an import or a lowered capacity did it, nobody more gets in.", note=True)


def seats_counted(evidence: Evidence) -> Iterator[Finding]:
    """I2. The number kept with the exam equals the rows it stands for."""
    for exam_id, exam in evidence.exams.items():
        holders, waiting = evidence.holders[exam_id], evidence.open_claims[exam_id]
        if exam["seats_taken"] != holders + waiting:
            yield Finding(
                f"Exam {exam_id} counts {exam['seats_taken']} seats taken, "
                f"but {holders} bookings hold one and {waiting} claims are open."
            )
    mirrored = {row.get("booking_key") for row in evidence.bookings.values()}
    for booking_id, claim in evidence.claims.items():
        if claim["exam_id"] not in evidence.exams:
            yield Finding(f"Claim {booking_id} is for exam {claim['exam_id']}, which the ledger does not know.")
        if claim["state"] == "open" and booking_id in mirrored:
            yield Finding(f"Claim {booking_id} is still open although its record is mirrored: counted twice.")


def nothing_lost(evidence: Evidence) -> Iterator[Finding]:
    """I3. What was answered 201 is recorded twice; what was answered 202 ends and is told."""
    yield from _claims_kept(evidence)
    for answer in evidence.answers or ():
        if answer.status == 201:
            yield from _recorded(evidence, answer.booking_id, answer.contact_id, "answered 201")
        elif answer.status == 202:
            yield from _ended(evidence, answer)


def _claims_kept(evidence: Evidence) -> Iterator[Finding]:
    creates = {row["booking_id"] for row in evidence.rows("outbox") if row["kind"] == "create"}
    for booking_id, claim in evidence.claims.items():
        state = claim["state"]
        if state == "booked":
            yield from _recorded(evidence, booking_id, claim["contact_id"], "booked")
        elif state == "open" and (booking_id not in evidence.under_way or booking_id not in creates):
            yield Finding(f"Claim {booking_id} is open and nothing is on its way to HubSpot: it is lost.")
        elif state == "refused" and not claim.get("reason"):
            yield Finding(f"Claim {booking_id} was refused and its student is told no reason.")


def _recorded(evidence: Evidence, booking_id: str | None, contact_id: str, what: str) -> Iterator[Finding]:
    claim = evidence.claims.get(booking_id or "")
    if claim is None:
        yield Finding(f"Booking {booking_id} of contact {contact_id} was {what}, and the ledger has no claim.")
        return
    hubspot_id = claim.get("hubspot_id")
    if hubspot_id not in evidence.bookings:
        yield Finding(f"Booking {booking_id} was {what} and is not in Supabase.")
    if evidence.portal is not None and hubspot_id not in evidence.portal_by_id:
        yield Finding(f"Booking {booking_id} was {what} and HubSpot has no record {hubspot_id} of it.")


def _ended(evidence: Evidence, answer: Answer) -> Iterator[Finding]:
    ending = evidence.endings_by_student.get((answer.contact_id, answer.exam_id))
    if ending is None or ending.state == "lost":
        yield Finding(f"Contact {answer.contact_id} was told 202 for exam {answer.exam_id} and never more.")
    elif ending.state == "booked":
        yield from _recorded(evidence, ending.booking_id, answer.contact_id, "confirmed")
    elif ending.state == "refused" and not ending.reason:
        yield Finding(f"The claim {ending.booking_id} was refused and its student is told no reason.")


def one_seat_each(evidence: Evidence) -> Iterator[Finding]:
    """I4. One seat per student and exam through us; one result per caller and key."""
    seats: dict[tuple[str, str], list[str]] = defaultdict(list)
    keys: dict[tuple[str, str], list[str]] = defaultdict(list)
    for booking_id, claim in evidence.claims.items():
        if claim["state"] in LIVE_CLAIM:
            seats[claim["contact_id"], claim["exam_id"]].append(booking_id)
        if claim.get("idempotency_key"):
            keys[claim["caller"], claim["idempotency_key"]].append(booking_id)
    for (contact_id, exam_id), found in seats.items():
        if len(found) > 1:
            yield Finding(f"Contact {contact_id} holds {len(found)} seats of exam {exam_id}: {', '.join(found)}.")
    for (caller, key), found in keys.items():
        if len(found) > 1:
            yield Finding(f"Key {key} of {caller} gave {len(found)} results: {', '.join(found)}.")
    yield from _one_answer_per_key(evidence)
    yield from _one_record_each(evidence)


def _one_answer_per_key(evidence: Evidence) -> Iterator[Finding]:
    results: dict[tuple[str, str], set[str]] = defaultdict(set)
    for answer in evidence.answers or ():
        if answer.key and answer.booking_id and answer.status in {201, 202}:
            results[answer.contact_id, answer.key].add(answer.booking_id)
    for (contact_id, key), found in results.items():
        if len(found) > 1:
            yield Finding(f"Contact {contact_id} sent key {key} twice and was told {len(found)} bookings.")


def _one_record_each(evidence: Evidence) -> Iterator[Finding]:
    for (contact_id, exam_id), records in evidence.held.items():
        if len(records) > 1:
            ours = sum(record.key in evidence.claims for record in records)
            ids = ", ".join(record.hubspot_id for record in records)
            yield Finding(
                f"HubSpot holds {len(records)} active bookings of contact {contact_id}, exam {exam_id}: {ids}.",
                note=ours < 2,
            )


def one_record(evidence: Evidence) -> Iterator[Finding]:
    """I5. One record per booking, and its state in HubSpot as the ledger intends, unless something is on its way."""
    seen: dict[str, str] = {}
    for record in evidence.portal or ():
        if record.key in evidence.claims and record.key in seen and not record.archived:
            yield Finding(f"HubSpot holds booking {record.key} twice: {seen[record.key]}, {record.hubspot_id}.")
        if record.key and not record.archived:
            seen[record.key] = record.hubspot_id
        yield from _as_intended(evidence, record.hubspot_id)
    for booking_id, claim in evidence.claims.items():
        row = evidence.bookings.get(claim.get("hubspot_id") or "")
        if (
            claim["state"] == "cancelled"
            and row is not None
            and row["holds"]
            and booking_id not in evidence.under_way
        ):
            yield Finding(f"Booking {booking_id} was cancelled, still holds a seat, and no cancel is on its way.")


def _as_intended(evidence: Evidence, hubspot_id: str) -> Iterator[Finding]:
    record = evidence.portal_by_id[hubspot_id]
    row = evidence.bookings.get(hubspot_id)
    holds = record.holds and not record.archived
    if record.key in evidence.under_way or hubspot_id in evidence.under_way:
        return
    if row is None:
        ours = (record.key or "").startswith("LS-")
        if holds or ours:
            sentence = f"HubSpot has record {hubspot_id} ({record.key}), which the ledger does not know."
            yield Finding(sentence, note=not ours)
    elif holds != row["holds"]:
        there, here = ("active" if held else "not active" for held in (holds, row["holds"]))
        yield Finding(f"Booking {record.key or hubspot_id} is {there} in HubSpot and {here} in the ledger.")


def no_seat_stranded(evidence: Evidence) -> Iterator[Finding]:
    """I6. No seat is taken by nobody, and nobody hears "full" while a seat is free."""
    for exam_id, exam in evidence.exams.items():
        phantom = exam["seats_taken"] - evidence.taken(exam_id)
        if phantom > 0:
            yield Finding(f"Exam {exam_id} has {phantom} seats that nobody holds and nobody can book.")
    for exam_id, answers in _told_full(evidence).items():
        # A seat that was given back has left no trace of when it was held.
        if exam_id in evidence.exams and not _seats_came_back(evidence, exam_id):
            yield from _told_wrongly(evidence, exam_id, answers)


def _told_full(evidence: Evidence) -> dict[str, list[Answer]]:
    told: dict[str, list[Answer]] = defaultdict(list)
    for answer in evidence.answers or ():
        if answer.status == 409 and answer.code == FULL:
            told[answer.exam_id].append(answer)
    return told


def _seats_came_back(evidence: Evidence, exam_id: str) -> bool:
    gone = {"cancelled", "refused"}
    return any(row["exam_id"] == exam_id and row["state"] in gone for row in evidence.claims.values())


def _told_wrongly(evidence: Evidence, exam_id: str, answers: Sequence[Answer]) -> Iterator[Finding]:
    seats = SeatsInTime(evidence, exam_id)
    free = evidence.free(exam_id)
    if free > 0 and not seats.changed:
        yield Finding(f"{len(answers)} heard that exam {exam_id} is full, and {free} seats are free.")
    wrong = [answer for answer in answers if seats.least_free(answer.sent_at - SETTLE_S, answer.at) > 0]
    if wrong:
        yield Finding(f"{len(wrong)} heard that exam {exam_id} is full before its last seat was given.")


def gates_true(evidence: Evidence) -> Iterator[Finding]:
    """I7. The gate never runs ahead of the ledger, nor says another number for the same version."""
    for gate in evidence.gates or ():
        exam = evidence.exams.get(gate.exam_id)
        if exam is None:
            yield Finding(f"The gate knows exam {gate.exam_id}, which the ledger does not.")
            continue
        bound = exam.get("capacity_bound")  # what a change under way lowers
        seats = seats_of(exam) if bound is None else min(seats_of(exam), bound)
        version, remaining = exam["seats_version"], max(0, seats - exam["seats_taken"])
        if gate.version > version:
            yield Finding(f"The gate of exam {gate.exam_id} is at version {gate.version}, the ledger at {version}.")
        elif gate.version == version and max(0, gate.remaining) != remaining:
            yield Finding(f"The gate of exam {gate.exam_id} says {gate.remaining} left, the ledger {remaining}.")
        elif gate.version < version:
            note = f"The gate of exam {gate.exam_id} is {version - gate.version} versions behind the ledger."
            yield Finding(note, note=True)


def hubspot_spared(evidence: Evidence) -> Iterator[Finding]:
    """I8. No read calls HubSpot, and it is never called beyond the budget."""
    calls = evidence.calls or ()
    reads = sum(call.kind == "read" for call in calls)
    if reads:
        why = ", as doctor, sync and backfill do" if evidence.read_by_hand else ""
        yield Finding(
            f"HubSpot was read {reads} times (list, search or single read){why}.", note=evidence.read_by_hand
        )
    refused = sum(call.status == 429 and not call.planted for call in calls)
    if refused:
        yield Finding(f"HubSpot refused {refused} calls with 429.")
    if (budget := evidence.budget) is not None:
        most = most_in_window([call.at for call in calls], budget.window_s)
        if most > budget.calls:
            yield Finding(f"HubSpot got {most} calls within {budget.window_s:g} s; {budget.calls} are allowed.")


def most_in_window(instants: Sequence[float], window_s: float) -> int:
    """The largest number of instants within any window of this length."""
    ordered = sorted(instants)
    most = first = 0
    for last, at in enumerate(ordered):
        while at - ordered[first] >= window_s:
            first += 1
        most = max(most, last - first + 1)
    return most


def everybody_their_own(evidence: Evidence) -> Iterator[Finding]:
    """I9. Nobody sees another's booking; nothing personal or secret stands in a log; no table lies open."""
    for seen in (*(evidence.answers or ()), *evidence.endings):
        if seen.shown_contact is not None and seen.shown_contact != seen.contact_id:
            yield Finding(f"Contact {seen.contact_id} was shown a booking of contact {seen.shown_contact}.")
    for number, line in enumerate(evidence.log_lines or (), start=1):
        if SECRET.search(line) or any(secret in line for secret in evidence.secrets):
            yield Finding(f"Line {number} of the server's log shows a secret.")
        elif MAIL.search(line):
            yield Finding(f"Line {number} of the server's log shows an e-mail address.")
    for table in evidence.exposed or ():
        yield Finding(f"{table} is open to roles that must not reach it.")
    for table in evidence.strangers:
        yield Finding(f"{table}, which is not ours, has no row level security or no policy.", note=True)


CHECKS: Final[dict[str, tuple[str, Callable[[Evidence], Iterator[Finding]]]]] = {
    "I1": ("no seat is given when none is left", seats_given),
    "I2": ("seats taken are exactly the rows that hold one", seats_counted),
    "I3": ("a 201 is recorded, a 202 ends and is told", nothing_lost),
    "I4": ("one seat per student and exam, one result per key", one_seat_each),
    "I5": ("one record per booking, in the state we mean", one_record),
    "I6": ("no seat is stranded, nobody hears a wrong full", no_seat_stranded),
    "I7": ("the gate never runs ahead of the ledger", gates_true),
    "I8": ("HubSpot is not read, nor called beyond the budget", hubspot_spared),
    "I9": ("nobody sees what is not theirs", everybody_their_own),
}


def check_all(evidence: Evidence) -> list[Verdict]:
    """Every check once, in order."""
    return [
        Verdict(invariant=name, promise=promise, looked_at=looked_at(evidence, name), findings=list(check(evidence)))
        for name, (promise, check) in CHECKS.items()
    ]


def looked_at(evidence: Evidence, invariant: str) -> int:
    """How many things this check could judge in what was seen."""
    claims, exams, answers = len(evidence.claims), len(evidence.exams), len(evidence.answers or ())
    sizes = {
        "I1": exams,
        "I2": exams,
        "I3": claims + answers,
        "I4": claims + answers,
        "I5": len(evidence.portal or ()),
        "I6": exams,
        "I7": len(evidence.gates or ()),
        "I8": len(evidence.calls or ()),
        "I9": answers + len(evidence.log_lines or ()) + (1 if evidence.exposed is not None else 0),
    }
    return sizes[invariant]
