"""Students and staff who ask until they know, with the same key, at whichever process lives; all is kept."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from lastseat.errors import LastseatError, Refused, Unavailable, Uncertain
from lastseat.evidence import Answer, Ending
from lastseat.model import CancelRequest, ChangeRequest, ClaimRequest
from lastseat.model_moves import MoveRequest
from lastseat.writes.book import fingerprint, mint_ids
from lastseat.writes.exams import mint_change
from tests.fault.process import Process
from tests.fault.town import Town

PATIENCE_S = 0.9  # So long a client waits for one answer before it asks again.
GIVE_UP_S = 4.0
STAFF = "staff:clerk"


class Asked(Exception):
    """No answer in time: the process may be dead."""


async def asked(town: Town, what: Callable[[Process], Awaitable[Any]]) -> tuple[Process, Any]:
    """One try at a process that lives, the newest first; a paused one lets its caller wait like a dead one."""
    process = next((p for p in reversed(town.processes) if not p.dead), town.processes[-1])
    try:
        async with asyncio.timeout(PATIENCE_S):
            return process, await what(process)
    except TimeoutError:
        raise Asked from None


async def until_known(town: Town, what: Callable[[Process], Awaitable[Any]]) -> Any:
    """Ask again after Unavailable, Uncertain and silence. Refused is an answer."""
    async with asyncio.timeout(GIVE_UP_S):
        while True:
            try:
                return (await asked(town, what))[1]
            except (Asked, Unavailable, Uncertain):
                await asyncio.sleep(0.05)


class Student:
    """Wants one seat. Each wish has one key, sent again until its end is known."""

    def __init__(self, town: Town, contact: str):
        self.town = town
        self.contact = contact

    async def book(self, exam_id: str, **properties: str) -> str:
        """`booked`, `refused`, or the code of the refusal."""
        key = uuid.uuid4().hex
        async with asyncio.timeout(GIVE_UP_S):
            while True:
                word = await self._ask(exam_id, key, properties)
                if word is not None:
                    return word
                await asyncio.sleep(0.05)

    async def book_in_the_end(self, exam_id: str, while_true: Callable[[], bool] = lambda: True) -> str:
        """Try with new keys as long as the exam is full, as students do."""
        word = await self.book(exam_id)
        while word == "SESSION_FULL" and while_true():
            await asyncio.sleep(0.05)
            word = await self.book(exam_id)
        return word

    async def cancel(self, booking_id: str) -> str:
        """`cancelled`, or `kept` when HubSpot refused it."""
        wish = CancelRequest(
            reference=booking_id, caller=f"student:{self.contact}", request_id="r", owner=self.contact
        )
        outcome = "pending"
        async with asyncio.timeout(GIVE_UP_S):
            while outcome == "pending":
                answers = await until_known(self.town, lambda p: p.services.canceller.cancel([wish]))
                outcome = answers[0].outcome
                if await self.town.rows("select from hubspot_sync.outbox where kind = 'cancel' and state = 'aside'"):
                    return "kept"
                await asyncio.sleep(0.03)
        return "cancelled"

    async def _ask(self, exam_id: str, key: str, properties: dict[str, str]) -> str | None:
        claim_id, booking_id = mint_ids()
        wish = ClaimRequest(
            claim_id=claim_id,
            booking_id=booking_id,
            exam_id=exam_id,
            contact_id=self.contact,
            caller=f"student:{self.contact}",
            request_id=uuid.uuid4().hex,
            properties=properties,
            key=key,
            fingerprint=fingerprint(exam_id, properties),
        )
        sent_at = time.time()
        try:
            process, claim = await asked(self.town, lambda p: p.services.booker.book(wish))
        except Asked:
            self._note(exam_id, key, sent_at, 0)
        except Refused as refusal:
            self._note(exam_id, key, sent_at, 409, code=refusal.code)
            return refusal.code
        except (Unavailable, Uncertain) as error:
            self._note(exam_id, key, sent_at, 503, code=error.code)
        else:
            return await self._heard(process, exam_id, key, sent_at, claim)
        return None

    async def _heard(self, process: Process, exam_id, key, sent_at, claim) -> str | None:
        if claim.state == "open":
            self._note(exam_id, key, sent_at, 202, booking_id=claim.booking_id)
            return None
        if claim.state == "booked":
            self._note(exam_id, key, sent_at, 201, booking_id=claim.booking_id)
            await self._sees(process, claim.booking_id, "Active")
        self._end(exam_id, claim)
        return claim.state if claim.state == "booked" else "refused"

    async def _sees(self, process: Process, booking_id: str, state: str) -> None:
        """A read of the same process after the answer shows it."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                body = await process.services.bookings.list_for(self.contact, filter="all", page=1, limit=20)
        except (TimeoutError, LastseatError):
            return
        said = msgspec.json.decode(body)
        shown = {b["booking_id"]: b["is_active"] for b in said["bookings"]}
        assert said.get("stale") or shown.get(booking_id) == state, f"I7: {booking_id} is not {state} in {shown}"

    def _note(self, exam_id, key, sent_at, status, *, code=None, booking_id=None) -> None:
        ms = (time.time() - sent_at) * 1000
        self.town.answers.append(
            Answer(
                contact_id=self.contact,
                exam_id=exam_id,
                key=key,
                sent_at=sent_at,
                ms=ms,
                status=status,
                code=code,
                booking_id=booking_id,
            )
        )

    def _end(self, exam_id, claim) -> None:
        self.town.endings.append(
            Ending(
                contact_id=self.contact,
                exam_id=exam_id,
                booking_id=claim.booking_id,
                state=claim.state,
                at=time.time(),
                reason=claim.reason,
            )
        )


class Clerk:
    """Staff: changes an exam, moves a booking."""

    def __init__(self, town: Town):
        self.town = town

    async def set_capacity(self, exam_id: str, seats: int) -> str:
        """`done`, or `refused`."""
        change_id, _ = mint_change(STAFF, uuid.uuid4().hex)
        fields: dict[str, object] = {"capacity": seats}
        wish = ChangeRequest(
            change_id=change_id, kind="exam_update", caller=STAFF, request_id="r", exam_id=exam_id, fields=fields
        )
        return await self._until_done(
            lambda p: p.services.changer.change(wish), lambda change: change.status == "done"
        )

    async def move(self, booking_id: str, exam_id: str) -> str:
        """`done`, or the code of the refusal."""
        key = uuid.uuid4().hex

        def wish() -> MoveRequest:
            claim_id, new_id = mint_ids()
            return MoveRequest(
                claim_id=claim_id,
                booking_id=new_id,
                reference=booking_id,
                exam_id=exam_id,
                caller=STAFF,
                request_id="r",
                key=key,
                fingerprint=fingerprint("move", booking_id, exam_id),
            )

        return await self._until_done(
            lambda p: p.services.mover.move(wish()),
            lambda moved: moved.claim.state == "booked" and moved.previous == "cancelled",
        )

    async def _until_done(self, ask: Callable[[Process], Awaitable[Any]], done: Callable[[Any], bool]) -> str:
        async with asyncio.timeout(GIVE_UP_S):
            while True:
                try:
                    answer = await until_known(self.town, ask)
                except Refused as refusal:
                    return refusal.code
                if done(answer):
                    return "done"
                await asyncio.sleep(0.03)
