"""Takes staff's changes of exams on the bookings' road and waits for HubSpot; never writes to HubSpot itself."""

import asyncio
import hashlib
import secrets
import uuid
from collections.abc import Sequence
from datetime import date, datetime
from zoneinfo import ZoneInfo

import msgspec

from lastseat.errors import LastseatError, Refused
from lastseat.model import Change, ChangeAnswer, ChangeRequest, Outcome
from lastseat.ports import Bulletin, StaffLedger
from lastseat.settings import Settings
from lastseat.writes.outcomes import Outcomes

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_KEY_LENGTH = 16
_LAST_LOOK_S = 0.15  # Limit: what a request past its deadline may still spend on asking the ledger.
_NAMES = uuid.UUID("6f1d7a52-3a53-4b0b-9a0e-4c61737473ea")


def mint_change(caller: str, key: str | None) -> tuple[str, str]:
    """The ids of a change and of the exam it may make; a caller's key always gives the same."""
    change_id = uuid.uuid4() if key is None else uuid.uuid5(_NAMES, f"{caller}\n{key}")
    digest = secrets.token_bytes(_KEY_LENGTH) if key is None else hashlib.sha256(change_id.bytes).digest()
    reference = "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest[:_KEY_LENGTH])
    return str(change_id), f"LX-{reference}"


class ExamChanger:
    """Checks what can be checked without the ledger, then ledger, outbox, relay, announcement."""

    def __init__(self, *, ledger: StaffLedger, bulletin: Bulletin, outcomes: Outcomes, settings: Settings) -> None:
        self._ledger = ledger
        self._bulletin = bulletin
        self._outcomes = outcomes
        self._deadline_s = settings.deadline_s
        self._zone = ZoneInfo(settings.timezone)
        self._lists = {"mock_type": settings.mock_types, "location": settings.locations}

    async def change(self, request: ChangeRequest) -> Change:
        """Return the change, `done` or still `pending`; raise Refused with the reason, Unavailable or Uncertain."""
        ends_at = asyncio.get_running_loop().time() + self._deadline_s
        request = msgspec.structs.replace(request, fields=self._checked(request))
        answer, news = await self._ledger.change_exam(request)
        change = _accepted(answer)
        if change.status == "pending":
            await self._bulletin.wake()
        # Crash: who answered first, or mirrored, may have ended before it told; whoever asks again tells again.
        await self._bulletin.announce(news)
        if change.status == "pending":
            change = await self._confirmed(change, ends_at)
        return _not_refused(change)

    async def look(self, change_id: str) -> Change | None:
        """How far a change is; None for one that nobody asked for."""
        change, news = await self._ledger.exam_change(change_id)
        if news.exams_changed:
            # Race: it is mirrored, and its announcement is still to come; a read after this must see it.
            await self._bulletin.announce(news)
        return change

    async def _confirmed(self, change: Change, ends_at: float) -> Change:
        outcome = await self._outcomes.wait(change.outbox_id, ends_at - asyncio.get_running_loop().time())
        if outcome is not None:
            return _ended(change, outcome)
        try:
            async with asyncio.timeout(_LAST_LOOK_S):
                return await self.look(change.change_id) or change
        except (TimeoutError, LastseatError):
            return change  # it is written down and the relay goes on: 202 is the truth

    def _checked(self, request: ChangeRequest) -> dict[str, object]:
        """The fields with listed words as the settings spell them; a day must be to come for a new exam."""
        fields = dict(request.fields)
        for name, known in self._lists.items():
            if isinstance(said := fields.get(name), str):
                fields[name] = _listed(name, said, known)
        if request.kind == "exam_create":
            self._check_ahead(fields)
        return fields

    def _check_ahead(self, fields: dict[str, object]) -> None:
        now = datetime.now(self._zone)
        day, start = fields.get("exam_date"), fields.get("start_time")
        if isinstance(day, date) and day < now.date():
            raise Refused(f"exam_date {day} is past: today is {now.date()} ({self._zone.key}).", field="exam_date")
        if day == now.date() and isinstance(start, str) and start <= now.strftime("%H:%M"):
            raise Refused(f"start_time {start} today is past: it is {now:%H:%M} now.", field="start_time")


def _listed(name: str, said: str, known: Sequence[str]) -> str:
    spelled = {word.casefold(): word for word in known}
    if said.casefold() not in spelled:
        raise Refused(f"{name} must be one of: {', '.join(known)}.", field=name, details={"allowed": list(known)})
    return spelled[said.casefold()]


def _ended(change: Change, outcome: Outcome) -> Change:
    refused = outcome.state == "refused"
    return msgspec.structs.replace(
        change,
        status="refused" if refused else "done",
        reason=outcome.reason if refused else None,
        exam_id=outcome.exam_id or change.exam_id,
        exam=outcome.exam or change.exam,
    )


def _not_refused(change: Change) -> Change:
    if change.status != "refused":
        return change
    raise Refused(f"This change was refused: {change.reason}. The exam is as it was.", code="REFUSED_BY_HUBSPOT")


def _accepted(answer: ChangeAnswer) -> Change:
    """The change that is on its way or ended; everything else is a refusal in words."""
    told = answer.details
    match answer.outcome:
        case "accepted" | "known" if answer.change is not None:
            return answer.change
        case "key_reused":
            raise Refused("This Idempotency-Key was used for another request; use a new key", code="KEY_REUSED")
        case "not_deleted":
            raise Refused("This exam is not deleted.", field="examId")
        case "starts_in_the_past":
            start = " ".join(str(part) for part in told.values() if part is not None)
            text = f"The start ({start}) is past: nobody could book this exam any more."
            raise Refused(text, field="exam_date", details=told)
        case "end_before_start":
            text = f"end_time {told['end_time']} is not after start_time {told['start_time']}."
            raise Refused(text, field="end_time", details=told)
        case "opens_after_start":
            raise Refused("opens_at is not before the exam's start.", field="opens_at", details=told)
        case "below_sold":
            text = f"{told['seats_taken']} seats are taken; the capacity cannot be {told['capacity']}."
            raise Refused(text, code="CAPACITY_BELOW_SOLD", field="capacity", details=told)
        case "has_bookings":
            raise Refused(_in_the_way(told), code="HAS_BOOKINGS", details=told)
        case _:
            raise Refused("There is no such exam.", code="EXAM_NOT_FOUND", field="examId")


def _in_the_way(told: dict[str, object]) -> str:
    if told["completed"]:
        return f"{told['bookings']} bookings hold a seat, {told['completed']} of them completed: these stay."
    return f"{told['bookings']} bookings hold a seat; send cancelBookings: true to cancel them first."
