"""Books a seat: admit by the gate, claim in the ledger, wait for HubSpot's word; never writes to HubSpot itself."""

import asyncio
import base64
import hashlib
import secrets
import uuid
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from lastseat.errors import LastseatError, Refused
from lastseat.group_commit import GroupCommit
from lastseat.model import (
    Announcement,
    BookingId,
    Claim,
    ClaimAnswer,
    ClaimId,
    ClaimRequest,
    ExamId,
    Gate,
    Outcome,
)
from lastseat.ports import Bulletin, SeatLedger
from lastseat.settings import Settings
from lastseat.writes.outcomes import Outcomes

_CROCKFORD = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", b"0123456789ABCDEFGHJKMNPQRSTVWXYZ")
"""From the alphabet of RFC 4648 to the one without I, L, O and U, which people misread."""
_CLAIM_TRIPS = 2  # Limit: one hot exam gains nothing from more; they would queue on its row.
_LAST_LOOK_S = 0.15  # Limit: what a request past its deadline may still spend on asking the ledger.

GateLook = Callable[[ExamId], Awaitable[Gate | None]]


def mint_ids() -> tuple[ClaimId, BookingId]:
    """Ids for one wish, made before the first call so that a resend is recognised."""
    reference = base64.b32encode(secrets.token_bytes(10)).translate(_CROCKFORD).decode()
    return ClaimId(str(uuid.uuid4())), BookingId(f"LS-{reference}")


def fingerprint(*parts: object) -> str:
    """A digest of what is asked for: the same key with another one is another request."""
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


class Booker:
    """The steps admit and claim, and the wait for write, mirror and announce."""

    def __init__(
        self, *, look: GateLook, ledger: SeatLedger, bulletin: Bulletin, outcomes: Outcomes, settings: Settings
    ) -> None:
        self._look = look
        self._ledger = ledger
        self._bulletin = bulletin
        self._outcomes = outcomes
        self._deadline_s = settings.deadline_s
        fields = settings.booking_fields if settings.booking_fields_needed else {}
        self._needs = {mock_type.lower(): names for mock_type, names in fields.items()} or None
        window, limit = settings.claim_window_s, settings.claim_batch
        self._claims = GroupCommit(self._claim, window_s=window, limit=limit, trips=_CLAIM_TRIPS)
        self._lookups = GroupCommit(self._lookup, window_s=window, limit=limit, trips=_CLAIM_TRIPS)
        self._last_looks = GroupCommit(ledger.outcomes, window_s=window, limit=limit)

    async def book(self, request: ClaimRequest) -> Claim:
        """Return the claim, `booked` or still `open`; raise Refused with the reason, Unavailable or Uncertain."""
        ends_at = asyncio.get_running_loop().time() + self._deadline_s
        if self._needs is not None:
            request = msgspec.structs.replace(request, needs=self._needs)
        answer = await self._lookups.submit(request) if await self._seems_full(request.exam_id) else None
        if answer is None or answer.outcome == "free":
            answer = await self._claims.submit(request)
        claim = claim_of(answer)
        if claim.state != "open":
            return claim
        return await self._confirmed(claim, ends_at)

    async def _seems_full(self, exam_id: ExamId) -> bool:
        """The gate's hint. Absent is not full, and a closed exam is the ledger's to explain."""
        gate = await self._look(exam_id)
        return gate is not None and gate.open and gate.remaining <= 0

    async def _claim(self, requests: Sequence[ClaimRequest]) -> list[ClaimAnswer]:
        answers = await self._ledger.claim(requests)
        gates = {a.gate.exam_id: a.gate for a in answers if a.gate is not None}
        await self._tell(list(gates.values()), _claims_found(answers))
        return answers

    async def _lookup(self, requests: Sequence[ClaimRequest]) -> list[ClaimAnswer]:
        answers = await self._ledger.lookup(requests)
        await self._tell([], _claims_found(answers))
        return answers

    async def _tell(self, gates: list[Gate], found: list[Claim]) -> None:
        """Crash: whoever won a claim, or mirrored it, may have ended before it told; who finds it tells again."""
        if any(claim.state == "open" for claim in found):
            await self._bulletin.wake()
        if gates or found:
            contacts = list({claim.contact_id for claim in found})
            await self._bulletin.announce(Announcement(gates=gates, contacts=contacts))

    async def _confirmed(self, claim: Claim, ends_at: float) -> Claim:
        outcome = await self._outcomes.wait(claim.claim_id, ends_at - asyncio.get_running_loop().time())
        if outcome is not None:
            return settled(claim, outcome)
        try:
            async with asyncio.timeout(_LAST_LOOK_S):
                found = await self._last_looks.submit(claim.claim_id) or claim
                if found.state != "open":
                    # Race: it is mirrored, and its announcement is still to come; a read after this must see it.
                    await self._bulletin.announce(Announcement(contacts=[found.contact_id]))
                return found
        except (TimeoutError, LastseatError):
            return claim  # the seat is held and the relay goes on: 202 is the truth


def _claims_found(answers: Sequence[ClaimAnswer]) -> list[Claim]:
    """Those that are answered as won, now or before, and those that wait."""
    return [
        a.claim for a in answers if a.claim is not None and (a.outcome != "already_booked" or a.claim.state == "open")
    ]


def settled(claim: Claim, outcome: Outcome) -> Claim:
    """The claim as HubSpot's word left it; a refusal is raised."""
    if outcome.state == "refused":
        raise Refused(
            f"HubSpot refused this booking: {outcome.reason}. The seat was given back.", code="REFUSED_BY_HUBSPOT"
        )
    return msgspec.structs.replace(claim, state=outcome.state, booking=outcome.booking or claim.booking)


_CLOSED = {
    "past": "This session has already started",
    "not_open_yet": "This session is not open for booking yet",
    "inactive": "This session is not open for booking",
}


def claim_of(answer: ClaimAnswer) -> Claim:
    """The claim that was won or is replayed; everything else is a refusal in words."""
    match answer.outcome:
        case "won" | "replay" if answer.claim is not None:
            return answer.claim
        case "unknown_exam":
            raise Refused("There is no such session", code="EXAM_NOT_FOUND", field="examId")
        case "closed":
            raise Refused(
                _CLOSED.get(answer.detail or "", _CLOSED["inactive"]),
                code="EXAM_CLOSED",
                details={"reason": answer.detail},
            )
        case "lacks":
            field = answer.detail or ""
            raise Refused(f"{field} is missing: this type of session needs it.", field=field)
        case "already_booked":
            held = answer.claim.booking_id if answer.claim else answer.detail
            raise Refused(
                "You already hold a seat in this session", code="ALREADY_BOOKED", details={"bookingId": held}
            )
        case "key_reused":
            raise Refused("This Idempotency-Key was used for another request; use a new key", code="KEY_REUSED")
        case _:
            raise Refused("Session is full", code="SESSION_FULL", details={"remaining": 0})
