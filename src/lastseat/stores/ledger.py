"""The SQL functions as typed calls, over any transport; decides nothing, and resends only what is safe to resend."""

import logging
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

from lastseat.errors import Uncertain
from lastseat.model import (
    Announcement,
    Backlog,
    Booking,
    CancelAnswer,
    CancelOutcome,
    CancelRequest,
    Change,
    ChangeAnswer,
    ChangeOutcome,
    ChangeRequest,
    Claim,
    ClaimAnswer,
    ClaimId,
    ClaimOutcome,
    ClaimRequest,
    ContactId,
    Exam,
    ExamBookings,
    ExamId,
    ExamPage,
    Gate,
    Lease,
    OutboxKind,
    OutboxRow,
    Page,
    Record,
    Settlement,
    StaffExam,
)
from lastseat.model_moves import MoveAnswer, MoveRequest
from lastseat.ports import Database
from lastseat.stores.hubspot_codec import Codec, Facts
from lastseat.stores.sql_calls import SqlCalls

log = logging.getLogger(__name__)

_UNDECIDED = "the ledger has not decided yet"
_ASKED_AGAIN = 3  # Limit: rounds for wishes that met their key in another transaction.


class _Answer(msgspec.Struct):
    outcome: ClaimOutcome | str
    exam_id: ExamId | None = None
    claim: Claim | None = None
    detail: str | None = None


class _Answers(msgspec.Struct):
    answers: list[_Answer]
    gates: list[Gate]


class _CancelAnswer(msgspec.Struct):
    outcome: CancelOutcome
    exam_id: ExamId | None = None
    booking: Booking | None = None
    claim_id: ClaimId | None = None
    outbox_id: int | None = None


class _CancelAnswers(msgspec.Struct):
    answers: list[_CancelAnswer]
    gates: list[Gate]
    contacts: list[ContactId]


class _ChangeAnswer(msgspec.Struct):
    outcome: ChangeOutcome
    change: Change | None = None
    details: dict[str, object] = {}
    gates: list[Gate] = []
    contacts: list[ContactId] = []
    exams_changed: bool = False


class _Change(msgspec.Struct):
    change: Change | None
    gates: list[Gate] = []
    contacts: list[ContactId] = []
    exams_changed: bool = False


class _MoveAnswer(msgspec.Struct):
    outcome: ClaimOutcome | Literal["not_found", "no_contact", "not_active", "same_exam", "conflict"]
    exam_id: ExamId | None = None
    claim: Claim | None = None
    detail: str | None = None
    outbox_id: int | None = None
    gates: list[Gate] = []
    contacts: list[ContactId] = []


class _Gates(msgspec.Struct):
    gates: list[Gate]


class _Claims(msgspec.Struct):
    claims: list[Claim | None]


class _Leased(msgspec.Struct):
    lease: Lease | None


class _Rows(msgspec.Struct):
    rows: list[msgspec.Raw]

    def readable(self) -> list[OutboxRow]:
        """Crash: a row that cannot be read must not keep the relay from its neighbours, term after term."""
        rows: list[OutboxRow] = []
        for raw in self.rows:
            try:
                rows.append(msgspec.json.decode(raw, type=OutboxRow))
            except msgspec.ValidationError:
                outbox_id = msgspec.json.decode(raw, type=_RowId).outbox_id
                log.exception("outbox row %d cannot be read and is passed over", outbox_id)
        return rows


class _RowId(msgspec.Struct):
    outbox_id: int


class _News(msgspec.Struct):
    news: Announcement
    outbox_ids: list[int]


class _Exams(msgspec.Struct):
    exams: list[Exam]


class _Exam(msgspec.Struct):
    exam: Exam | None


class _StaffExam(msgspec.Struct):
    exam: StaffExam | None


class _Bookings(msgspec.Struct):
    bookings: list[Booking]
    total: int = 0


class _Booking(msgspec.Struct):
    booking: Booking | None


class Ledger(SqlCalls):
    """Ports SeatLedger, RelayLedger and Mirror: one round trip a call.

    Every function is safe to repeat (ids are minted before the first call, rows carry their state), so a call
    whose reply was lost is resent unchanged; after `_RESENDS` losses the caller gets Uncertain.
    """

    def __init__(self, database: Database, codec: Codec, *, timezone: str, verify_after_s: float) -> None:
        super().__init__(database)
        self._codec = codec
        self._zone = ZoneInfo(timezone)
        self._verify_after_s = verify_after_s

    # Seats.

    async def claim(self, claims: Sequence[ClaimRequest]) -> list[ClaimAnswer]:
        """Give seats; see ports.SeatLedger."""
        asked = await self._call("claim", {"claims": claims}, _Answers)
        for again in range(_ASKED_AGAIN):
            # Race: another exam's transaction took a key of ours meanwhile; asked again, the key is found.
            met = [n for n, answer in enumerate(asked.answers) if answer.outcome == "conflict"]
            for group in [met] if met and again == 0 else [[n] for n in met]:
                more = await self._call("claim", {"claims": [claims[n] for n in group]}, _Answers)
                asked.gates += more.gates
                for n, answer in zip(group, more.answers, strict=True):
                    asked.answers[n] = answer
        if any(answer.outcome == "conflict" for answer in asked.answers):
            raise Uncertain(_UNDECIDED)
        return _claim_answers(asked)

    async def lookup(self, claims: Sequence[ClaimRequest]) -> list[ClaimAnswer]:
        """Say what `claim` would answer, without giving a seat."""
        return _claim_answers(await self._read("lookup", {"claims": claims}, _Answers))

    async def cancel(self, cancels: Sequence[CancelRequest]) -> tuple[list[CancelAnswer], Announcement]:
        """Take cancel wishes; the news holds what was free at once."""
        asked = await self._call("cancel", {"cancels": cancels}, _CancelAnswers)
        gates = {gate.exam_id: gate for gate in asked.gates}
        answers = [
            CancelAnswer(
                outcome=a.outcome,
                booking=a.booking,
                claim_id=a.claim_id,
                outbox_id=a.outbox_id,
                gate=gates.get(a.exam_id) if a.exam_id else None,
            )
            for a in asked.answers
        ]
        return answers, Announcement(gates=asked.gates, contacts=asked.contacts)

    async def outcomes(self, claim_ids: Sequence[ClaimId]) -> list[Claim | None]:
        """The present state of each claim."""
        return (await self._read("outcomes", {"claim_ids": claim_ids}, _Claims)).claims

    async def gates(self, exam_ids: Collection[ExamId] | None = None) -> list[Gate]:
        """Gates of these exams (unknown ones are left out), or of all that lie ahead."""
        wanted = None if exam_ids is None else list(exam_ids)
        return (await self._read("gates", {"exam_ids": wanted}, _Gates)).gates

    # Staff.

    async def change_exam(self, wish: ChangeRequest) -> tuple[ChangeAnswer, Announcement]:
        """Check and queue a change of an exam; what it tightens is in the news and binds already."""
        args = {**msgspec.to_builtins(wish), "timezone": self._zone.key}
        asked = await self._call("change_exam", args, _ChangeAnswer)
        return ChangeAnswer(outcome=asked.outcome, change=asked.change, details=asked.details), _news_of(asked)

    async def exam_change(self, change_id: str) -> tuple[Change | None, Announcement]:
        """How far a change is; news only when it has ended and nobody was told yet."""
        found = await self._read("exam_change", {"change_id": change_id}, _Change)
        return found.change, _news_of(found)

    async def move_booking(self, wish: MoveRequest) -> tuple[MoveAnswer, Announcement]:
        """Claim the new seat and queue the old booking's cancel behind it, or neither."""
        asked = await self._call("move_booking", wish, _MoveAnswer)
        for _ in range(_ASKED_AGAIN):  # Race: as in `claim`
            if asked.outcome != "conflict":
                break
            asked = await self._call("move_booking", wish, _MoveAnswer)
        if asked.outcome == "conflict":
            raise Uncertain(_UNDECIDED)
        news = Announcement(gates=asked.gates, contacts=asked.contacts)
        if asked.outcome in ("not_found", "no_contact", "not_active", "same_exam"):
            return MoveAnswer(trouble=asked.outcome), news
        answer = ClaimAnswer(outcome=asked.outcome, claim=asked.claim, detail=asked.detail)
        return MoveAnswer(answer=answer, outbox_id=asked.outbox_id), news

    # The relay.

    async def take_lease(self, holder: str, lease_s: float, term: int | None = None) -> Lease | None:
        """Become the relay, or stay it in `term`; None while another one is."""
        args = {"holder": holder, "lease_s": lease_s, "term": term}
        return (await self._call("take_lease", args, _Leased)).lease

    async def release_lease(self, holder: str, term: int) -> None:
        """Let a successor start at once."""
        await self._call("release_lease", {"holder": holder, "term": term}, dict[str, object])

    async def backlog(self, term: int) -> Backlog:
        """What waits."""
        return await self._read("backlog", {"term": term}, Backlog)

    async def send(self, term: int, kind: OutboxKind, limit: int) -> list[OutboxRow]:
        """Mark due rows as sent, in a committed transaction, and return them.

        A resend after a lost reply returns the rows that the first one did not get: those it marked are found
        by the next term, so the loss is said (Uncertain) instead of being hidden.
        """
        return (await self._call("send", {"term": term, "kind": kind, "limit": limit}, _Rows, resends=0)).readable()

    async def settle(self, term: int, settlement: Settlement) -> tuple[Announcement, list[int]]:
        """Mirror what HubSpot wrote and end, retry or set aside the rows, in one transaction."""
        written = [
            {
                "outbox_id": w.outbox_id,
                "uncertain": w.uncertain,
                "facts": None if w.record is None else self._facts(w.record, w.kind),
            }
            for w in settlement.written
        ]
        args = {
            "term": term,
            "verify_after_s": self._verify_after_s,
            "timezone": self._zone.key,
            "written": written,
            "aside": settlement.aside,
            "retry": settlement.retry,
        }
        answer = await self._call("settle", args, _News)
        return answer.news, answer.outbox_ids

    async def unannounced(self, term: int) -> tuple[Announcement, list[int]]:
        """News that a relay before us mirrored and may not have told."""
        answer = await self._read("unannounced", {"term": term}, _News)
        return answer.news, answer.outbox_ids

    async def announced(self, term: int, outbox_ids: Sequence[int]) -> None:
        """Everybody was told of these rows."""
        await self._call("announced", {"term": term, "outbox_ids": outbox_ids}, dict[str, object])

    async def to_verify(self, term: int, limit: int) -> list[OutboxRow]:
        """Rows whose uncertain send is old enough to look at again."""
        return (await self._read("to_verify", {"term": term, "limit": limit}, _Rows)).readable()

    async def verified(
        self, term: int, found: Sequence[tuple[OutboxRow, Record | None]]
    ) -> tuple[Announcement, list[int]]:
        """Take what HubSpot holds for them; what is not as it should be there is queued to be put right."""
        rows = [
            {
                "outbox_id": row.outbox_id,
                "attempts": row.attempts,
                "facts": None if record is None else self._facts(record, row.kind),
            }
            for row, record in found
        ]
        answer = await self._call("verified", {"term": term, "found": rows}, _News)
        return answer.news, answer.outbox_ids

    async def housekeep(self, term: int, *, key_ttl_s: float, keep_s: float, most: int) -> int:
        """Forget old idempotency keys and ended rows, at most so many of each; return how many."""
        args = {"term": term, "key_ttl_s": key_ttl_s, "keep_s": keep_s, "most": most}
        return sum((await self._call("housekeep", args, dict[str, int])).values())

    # The mirror.

    async def mirror(
        self,
        *,
        exams: Sequence[Record] = (),
        contacts: Sequence[Record] = (),
        bookings: Sequence[Record] = (),
        actor: str = "hubspot",
    ) -> Announcement:
        """Take HubSpot's records, whoever read them; rows only move forward in time."""
        args = {
            "actor": actor,
            "exams": [self._codec.exam_facts(r) for r in exams],
            "contacts": [self._codec.contact_facts(r) for r in contacts],
            "bookings": [self._codec.booking_facts(r) for r in bookings],
        }
        return await self._call("mirror", args, Announcement)

    async def exams(self) -> list[Exam]:
        """Active and scheduled exams from today on, in the school's time zone, by date and start."""
        today = datetime.now(self._zone).date()
        return (await self._read("exams", {"today": today}, _Exams)).exams

    async def exam(self, exam_id: ExamId) -> Exam | None:
        """One exam, past or inactive too."""
        return (await self._read("exam", {"exam_id": exam_id}, _Exam)).exam

    async def bookings(self, contact_id: ContactId) -> list[Booking]:
        """One student's bookings, open claims and refusals of the last 30 days, newest exam first."""
        return (await self._read("bookings", {"contact_id": contact_id}, _Bookings)).bookings

    async def all_bookings(self, *, offset: int, limit: int) -> Page:
        """Everybody's, for staff."""
        page = await self._read("all_bookings", {"offset": offset, "limit": limit}, _Bookings)
        return Page(bookings=page.bookings, total=page.total)

    async def exam_bookings(self, exam_id: ExamId, *, offset: int, limit: int) -> ExamBookings:
        """Who has a seat in an exam or waits for one, by name, for staff."""
        return await self._read("exam_bookings", {"exam_id": exam_id, "offset": offset, "limit": limit}, ExamBookings)

    async def all_exams(self, *, offset: int, limit: int) -> ExamPage:
        """For staff: the latest first, closed and deleted ones too."""
        return await self._read("all_exams", {"offset": offset, "limit": limit}, ExamPage)

    async def staff_exam(self, exam_id: ExamId) -> StaffExam | None:
        """One exam as staff sees it."""
        return (await self._read("staff_exam", {"exam_id": exam_id}, _StaffExam)).exam

    async def booking(self, reference: str) -> Booking | None:
        """By our booking id or by HubSpot's record id."""
        return (await self._read("booking", {"reference": reference}, _Booking)).booking

    def _facts(self, record: Record, kind: OutboxKind) -> Facts:
        of_exam = kind == "count" or kind.startswith("exam")
        return self._codec.exam_facts(record) if of_exam else self._codec.booking_facts(record)


def _claim_answers(asked: _Answers) -> list[ClaimAnswer]:
    gates = {gate.exam_id: gate for gate in asked.gates}
    return [
        ClaimAnswer(
            outcome=a.outcome,  # pyright: ignore[reportArgumentType]  # "conflict" never leaves `claim`
            claim=a.claim,
            gate=gates.get(a.exam_id) if a.exam_id else None,
            detail=a.detail,
        )
        for a in asked.answers
    ]


def _news_of(asked: _ChangeAnswer | _Change) -> Announcement:
    return Announcement(gates=asked.gates, contacts=asked.contacts, exams_changed=asked.exams_changed)
