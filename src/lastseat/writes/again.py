"""Shows staff what HubSpot refused for itself and tries it anew; never gives a seat that a new booking would not."""

from lastseat.errors import Refused
from lastseat.model_upkeep import AsideAnswer, AsidePage
from lastseat.ports import AsideLedger, Bulletin


class SecondTry:
    """Ledger, outbox, relay: the same road once more."""

    def __init__(self, *, ledger: AsideLedger, bulletin: Bulletin) -> None:
        self._ledger = ledger
        self._bulletin = bulletin

    async def list(self, *, page: int, limit: int) -> AsidePage:
        """The rows set aside, newest first."""
        return await self._ledger.set_aside(offset=(page - 1) * limit, limit=limit)

    async def retry(self, outbox_id: int, *, caller: str, request_id: str) -> AsideAnswer:
        """Return `queued`, `not_needed` or `not_aside` with the row; raise Refused with the reason."""
        answer = await self._ledger.retry_aside(outbox_id, caller=caller, request_id=request_id)
        _refuse(answer)
        if answer.outcome == "queued":
            await self._bulletin.wake()
            await self._bulletin.announce(answer.news)
        return answer


def _refuse(answer: AsideAnswer) -> None:
    match answer.outcome:
        case "not_found":
            raise Refused("There is no such row.", code="NOT_FOUND", field="outboxId")
        case "full":
            raise Refused("The seat was given to somebody else, and the session is full", code="SESSION_FULL")
        case "already_booked":
            raise Refused("The student has booked this session meanwhile", code="ALREADY_BOOKED")
        case "closed":
            details: dict[str, object] = {"reason": answer.detail}
            raise Refused("The session is not open for booking", code="EXAM_CLOSED", details=details)
        case "unknown_exam":
            raise Refused("There is no such session any more", code="EXAM_NOT_FOUND")
        case "not_retryable":
            text = "This cannot be tried again as it was: change the exam, or move or book, once more"
            raise Refused(text, code="NOT_RETRYABLE")
        case _:
            return
