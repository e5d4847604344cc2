"""Cancels bookings: folds what HubSpot never saw, else queues and waits for its word; never frees a seat twice."""

import asyncio
from collections.abc import Sequence

import msgspec

from lastseat.group_commit import GroupCommit
from lastseat.model import CancelAnswer, CancelRequest
from lastseat.ports import Bulletin, SeatLedger
from lastseat.settings import Settings
from lastseat.writes.outcomes import Outcomes


class Canceller:
    """The same road as a booking: ledger, outbox, relay, announcement."""

    def __init__(self, *, ledger: SeatLedger, bulletin: Bulletin, outcomes: Outcomes, settings: Settings) -> None:
        self._ledger = ledger
        self._bulletin = bulletin
        self._outcomes = outcomes
        self._deadline_s = settings.deadline_s
        self._cancels = GroupCommit(self._cancel, window_s=settings.claim_window_s, limit=100)

    async def cancel(self, requests: Sequence[CancelRequest]) -> list[CancelAnswer]:
        """One answer per request, in order: `cancelled` when HubSpot said so in time, else `pending`."""
        ends_at = asyncio.get_running_loop().time() + self._deadline_s
        answers = await asyncio.gather(*(self._cancels.submit(request) for request in requests))
        return await asyncio.gather(*(self._confirmed(answer, ends_at) for answer in answers))

    async def _cancel(self, requests: Sequence[CancelRequest]) -> list[CancelAnswer]:
        answers, news = await self._ledger.cancel(requests)
        if any(answer.outcome == "pending" for answer in answers):
            await self._bulletin.wake()
        if news.contacts:
            await self._bulletin.announce(news)
        return answers

    async def _confirmed(self, answer: CancelAnswer, ends_at: float) -> CancelAnswer:
        if answer.outcome != "pending" or answer.outbox_id is None:
            return answer
        outcome = await self._outcomes.wait(answer.outbox_id, ends_at - asyncio.get_running_loop().time())
        if outcome is None or outcome.state != "cancelled":
            return answer
        return msgspec.structs.replace(answer, outcome="cancelled", booking=outcome.booking or answer.booking)
