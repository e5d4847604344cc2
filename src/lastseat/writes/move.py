"""Moves a booking to another session: claims the new seat first; never frees the old one before that is recorded."""

import asyncio
from typing import Literal, Protocol

import msgspec

from lastseat.errors import LastseatError, Refused
from lastseat.model import Announcement, Booking, Claim, ClaimId
from lastseat.model_moves import MoveAnswer, MoveRequest
from lastseat.ports import Bulletin, StaffLedger
from lastseat.settings import Settings
from lastseat.writes.book import claim_of, settled
from lastseat.writes.outcomes import Outcomes

_LAST_LOOK_S = 0.15  # Limit: what a request past its deadline may still spend on asking the ledger.


class MoveLedger(StaffLedger, Protocol):
    """The ledger with the two looks that a move needs."""

    async def outcomes(self, claim_ids: list[ClaimId]) -> list[Claim | None]: ...
    async def booking(self, reference: str) -> Booking | None: ...


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """The new booking's claim, `booked` or `open`, and whether the old booking is cancelled in HubSpot yet."""

    claim: Claim
    previous: Literal["cancelled", "pending"]


class Mover:
    """The same road as a booking, with a cancel behind it."""

    def __init__(self, *, ledger: MoveLedger, bulletin: Bulletin, outcomes: Outcomes, settings: Settings) -> None:
        self._ledger = ledger
        self._bulletin = bulletin
        self._outcomes = outcomes
        self._deadline_s = settings.deadline_s

    async def move(self, request: MoveRequest) -> Moved:
        """Raise Refused with the reason: then the student keeps the old seat; Unavailable or Uncertain."""
        ends_at = asyncio.get_running_loop().time() + self._deadline_s
        answer, news = await self._ledger.move_booking(request)
        claim = _claimed(answer)
        if claim.state == "open":
            await self._bulletin.wake()
        # Crash: who answered first, or mirrored, may have ended before it told; whoever asks again tells again.
        await self._bulletin.announce(news)
        if claim.state == "open":
            claim = await self._booked(claim, ends_at)
        return Moved(claim=claim, previous=await self._freed(request, answer, claim, ends_at))

    async def _booked(self, claim: Claim, ends_at: float) -> Claim:
        outcome = await self._outcomes.wait(claim.claim_id, ends_at - asyncio.get_running_loop().time())
        if outcome is not None:
            return settled(claim, outcome)
        try:
            async with asyncio.timeout(_LAST_LOOK_S):
                found = (await self._ledger.outcomes([claim.claim_id]))[0] or claim
                # Race: it is mirrored, and its announcement is still to come; a read after this must see it.
                await self._bulletin.announce(Announcement(contacts=[found.contact_id]))
                return found
        except (TimeoutError, LastseatError):
            return claim

    async def _freed(
        self, request: MoveRequest, answer: MoveAnswer, claim: Claim, ends_at: float
    ) -> Literal["cancelled", "pending"]:
        """The old seat's cancel starts when the new booking is recorded; it may end after this answer."""
        replayed = answer.answer is not None and answer.answer.outcome == "replay"
        if claim.state != "open" and answer.outbox_id is not None and not replayed:
            outcome = await self._outcomes.wait(answer.outbox_id, ends_at - asyncio.get_running_loop().time())
            if outcome is not None:
                return "cancelled" if outcome.state == "cancelled" else "pending"
        try:
            async with asyncio.timeout(_LAST_LOOK_S):
                old = await self._ledger.booking(request.reference)
        except (TimeoutError, LastseatError):
            return "pending"
        if old is None or old.is_active != "Cancelled":
            return "pending"
        await self._bulletin.announce(Announcement(contacts=[claim.contact_id]))
        return "cancelled"


_TROUBLES = {
    "not_found": "There is no such booking.",
    "no_contact": "This booking names no contact, so nobody would get the seat; link it to its student in HubSpot.",
    "not_active": "This booking holds no seat that can be moved: it is cancelled, completed, or being moved already.",
    "same_exam": "This booking is in that session already.",
}


def _claimed(answer: MoveAnswer) -> Claim:
    match answer.trouble:
        case "not_found":
            raise Refused(_TROUBLES["not_found"], code="BOOKING_NOT_FOUND", field="bookingId")
        case "no_contact":
            raise Refused(_TROUBLES["no_contact"], code="BOOKING_WITHOUT_CONTACT", field="bookingId")
        case "not_active":
            raise Refused(_TROUBLES["not_active"], code="BOOKING_NOT_ACTIVE", field="bookingId")
        case "same_exam":
            raise Refused(_TROUBLES["same_exam"], field="examId")
        case None:
            assert answer.answer is not None
            return claim_of(answer.answer)
