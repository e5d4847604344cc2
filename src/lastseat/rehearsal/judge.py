"""Computes every number of a rush from the files it left, and nothing else; never asks a running part."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from lastseat.evidence import Answer, Ending, Evidence
from lastseat.invariants import FULL, Verdict, check_all
from lastseat.rehearsal.kept import Kept, Rush

REFUSALS: Final = frozenset({FULL, "EXAM_CLOSED"})
GIVEN: Final = frozenset({201, 202})
MUST_BE_ZERO: Final = ("failed", "oversold", "stranded", "duplicates", "hubspot_reads")


class Numbers(msgspec.Struct, frozen=True, kw_only=True):
    """What a rush came to. Counts of students (booked, pending, refused), of answers (failed), of seats and calls.

    `hubspot_429`: calls beyond HubSpot's limit; one that a planted fault refused is not of our making.
    """

    students: int
    seats: int
    booked: int
    pending: int
    refused: int
    failed: int
    oversold: int
    stranded: int
    duplicates: int
    hubspot_calls: int
    hubspot_429: int
    hubspot_reads: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    all_answered_ms: float
    all_confirmed_ms: float
    accepted_per_s: float
    processes: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole run, each rush of it, and what the invariants say."""

    total: Numbers
    rushes: list[Numbers]
    verdicts: list[Verdict]

    @property
    def passed(self) -> bool:
        """False as soon as one invariant broke."""
        counted = any(getattr(self.total, name) for name in MUST_BE_ZERO)
        return not counted and not any(verdict.broken for verdict in self.verdicts)


def judge(kept: Kept) -> Report:
    """Every number of a kept run."""
    evidence = kept.evidence
    last = len(kept.run.rushes) - 1
    rushes = [
        _numbers(kept, [rush], until=kept.run.rushes[number + 1].released_at if number < last else None)
        for number, rush in enumerate(kept.run.rushes)
    ]
    total = msgspec.structs.replace(
        _numbers(kept, kept.run.rushes, until=None), duplicates=duplicates(evidence, exams=None)
    )
    return Report(total=total, rushes=rushes, verdicts=check_all(evidence))


def _numbers(kept: Kept, rushes: Sequence[Rush], until: float | None) -> Numbers:
    evidence = kept.evidence
    wanted = {rush.number for rush in rushes}
    answers = [answer for answer in evidence.answers or () if answer.rush in wanted]
    groups = by_student(answers)
    fates = [fate(evidence, group) for group in groups]
    exams = {exam_id for rush in rushes for exam_id in rush.exam_ids}
    calls = [call for call in evidence.calls or () if rushes[0].released_at <= call.at < (until or float("inf"))]
    whole_log = list(evidence.calls or ()) if until is None and rushes[0].number == 0 else calls
    times = sorted(answer.ms for answer in answers)
    clock = [_clock(evidence, rush, [answer for answer in answers if answer.rush == rush.number]) for rush in rushes]
    return Numbers(
        students=sum(rush.students for rush in rushes),
        seats=sum(rush.seats for rush in rushes),
        booked=fates.count("booked"),
        pending=fates.count("pending"),
        refused=fates.count("refused"),
        failed=sum(failures(evidence, group) for group in groups)
        + sum(rush.students for rush in rushes)
        - len(groups),
        oversold=sum(oversold(evidence, exam_id) for exam_id in exams),
        stranded=sum(stranded(evidence, exam_id) for exam_id in exams),
        duplicates=duplicates(evidence, exams),
        hubspot_calls=len(calls),
        hubspot_429=sum(call.status == 429 and not call.planted for call in whole_log),
        hubspot_reads=sum(call.kind == "read" for call in whole_log),
        p50_ms=percentile(times, 50),
        p95_ms=percentile(times, 95),
        p99_ms=percentile(times, 99),
        all_answered_ms=max((one.answered_ms for one in clock), default=0.0),
        all_confirmed_ms=max((one.confirmed_ms for one in clock), default=0.0),
        accepted_per_s=round(min((one.accepted_per_s for one in clock), default=0.0), 1),
        processes=kept.run.processes,
    )


def by_student(answers: Iterable[Answer]) -> list[list[Answer]]:
    """The answers to one student's wish for one exam, together."""
    groups: dict[tuple[int, str, str], list[Answer]] = defaultdict(list)
    for answer in answers:
        groups[answer.rush, answer.contact_id, answer.exam_id].append(answer)
    return list(groups.values())


def fate(evidence: Evidence, group: Sequence[Answer]) -> str:
    """What one student got: `booked`, `pending`, `refused`, or `failed`."""
    if any(answer.status == 201 and has_record(evidence, answer) for answer in group):
        return "booked"
    if any(answer.status == 202 for answer in group):
        return "pending"
    if all(answer.status == 409 and answer.code in REFUSALS for answer in group):
        return "refused"
    return "failed"


def has_record(evidence: Evidence, seen: Answer | Ending) -> bool:
    """Whether HubSpot holds the active record of this booking, for this student and this exam."""
    return any(record.key == seen.booking_id for record in evidence.held.get((seen.contact_id, seen.exam_id), ()))


def failures(evidence: Evidence, group: Sequence[Answer]) -> int:
    """How many of one student's answers broke their word, or were no answer that the docs know."""
    given = any(answer.status in GIVEN for answer in group)
    return sum(not _kept_word(evidence, answer, given=given) for answer in group)


def _kept_word(evidence: Evidence, answer: Answer, *, given: bool) -> bool:
    if answer.status == 201:
        return has_record(evidence, answer)
    if answer.status == 202:
        ending = evidence.endings_by_student.get((answer.contact_id, answer.exam_id))
        if ending is None or ending.state == "lost":
            return False
        return ending.state != "booked" or has_record(evidence, ending)
    if answer.status == 409 and answer.code == "ALREADY_BOOKED":
        return given
    # A student who holds a seat must not hear that the exam is full.
    return answer.status == 409 and answer.code in REFUSALS and not given


def oversold(evidence: Evidence, exam_id: str) -> int:
    """Seats given beyond the capacity, by HubSpot's records or by the ledger: the worse of the two."""
    seats = int(evidence.exams[exam_id].get("capacity") or 0) if exam_id in evidence.exams else 0
    there = sum(len(records) for (_, exam), records in evidence.held.items() if exam == exam_id)
    return max(0, there - seats, evidence.taken(exam_id) - seats)


def stranded(evidence: Evidence, exam_id: str) -> int:
    """Seats left free although somebody heard "full", and seats that are taken by nobody."""
    if exam_id not in evidence.exams:
        return 0
    told = any(a.exam_id == exam_id and a.status == 409 and a.code == FULL for a in evidence.answers or ())
    phantom = max(0, int(evidence.exams[exam_id]["seats_taken"]) - evidence.taken(exam_id))
    return phantom + (max(0, evidence.free(exam_id)) if told else 0)


def duplicates(evidence: Evidence, exams: set[str] | None) -> int:
    """HubSpot's records beyond one active per student and exam, and those the ledger does not know, each once.

    Without `exams`: all records, since one that the ledger does not know may name another exam, or none.
    """
    records = [record for record in evidence.portal or () if not record.archived]
    unknown = {
        record.hubspot_id
        for record in records
        if record.hubspot_id not in evidence.bookings and record.key not in evidence.claims
    }
    seen: set[tuple[str | None, str | None]] = set()
    count = 0
    for record in records:
        if exams is not None and record.exam_id not in exams:
            continue
        if record.hubspot_id in unknown:
            count += 1
        elif record.holds:
            count += (record.contact_id, record.exam_id) in seen
            seen.add((record.contact_id, record.exam_id))
    return count


class _Clock(msgspec.Struct, frozen=True):
    answered_ms: float
    confirmed_ms: float
    accepted_per_s: float


def _clock(evidence: Evidence, rush: Rush, answers: Sequence[Answer]) -> _Clock:
    """How long one rush took, from its release."""
    confirmed = [answer.at for answer in answers if answer.status == 201]
    confirmed += [end.at for end in evidence.endings if end.rush == rush.number and end.state == "booked"]
    accepted: dict[tuple[str, str], float] = {}
    for answer in answers:
        if answer.status in GIVEN:
            accepted.setdefault((answer.contact_id, answer.exam_id), answer.at)
    took_s = max(accepted.values(), default=0.0) - rush.released_at
    return _Clock(
        answered_ms=_since(rush, [answer.at for answer in answers]),
        confirmed_ms=_since(rush, confirmed),
        accepted_per_s=len(accepted) / took_s if accepted and took_s > 0 else 0.0,
    )


def _since(rush: Rush, instants: Sequence[float]) -> float:
    return round((max(instants) - rush.released_at) * 1000, 1) if instants else 0.0


def percentile(ordered: Sequence[float], percent: int) -> float:
    """The smallest value that at least `percent` of the values do not exceed."""
    if not ordered:
        return 0.0
    return round(ordered[max(0, -(-len(ordered) * percent // 100) - 1)], 1)
