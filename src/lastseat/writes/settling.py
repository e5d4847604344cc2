"""Turns HubSpot's answers into what the ledger is told, with back-off; decides pauses, never talks to a store."""

from collections.abc import Sequence

from lastseat.model import OutboxRow, Retry, RowResult, SetAside, Settlement, Written
from lastseat.settings import Settings


class Settling:
    """Remembers only whether the portal refuses everything, and until when that pauses the relay."""

    def __init__(self, settings: Settings) -> None:
        self._first_s = settings.backoff_first_s
        self._most_s = settings.backoff_most_s
        self._portal_refusals = 0
        self.portal_fault: str | None = None
        self.pauses_until = 0.0

    def of(self, rows: Sequence[OutboxRow], results: Sequence[RowResult], now: float) -> Settlement:
        """The settlement of one batch; `now` is the relay's clock, in seconds."""
        by_key = {result.key: result for result in results}
        written: list[Written] = []
        aside: list[SetAside] = []
        retry: list[Retry] = []
        for row in rows:
            result = by_key.get(row.key, RowResult(key=row.key, outcome="unknown", reason="no answer for this row"))
            if result.outcome == "written":
                written.append(
                    Written(outbox_id=row.outbox_id, kind=row.kind, record=result.record, uncertain=result.uncertain)
                )
            elif result.outcome == "refused":
                reason = result.reason or "refused"
                aside.append(SetAside(outbox_id=row.outbox_id, reason=reason, uncertain=result.uncertain))
            else:
                retry.append(self._again(row, result))
        self._notice_portal(results, accepted=bool(written), now=now)
        return Settlement(written=written, aside=aside, retry=retry)

    def _again(self, row: OutboxRow, result: RowResult) -> Retry:
        # What was turned away unread says nothing about the row: it need not wait longer each time.
        attempts = 1 if result.outcome == "not_sent" else row.attempts
        return Retry(
            outbox_id=row.outbox_id,
            after_s=self._after_s(attempts),
            reason=result.reason or result.outcome,
            uncertain=result.uncertain or result.outcome == "unknown",
        )

    def _after_s(self, attempts: int) -> float:
        return min(self._first_s * 2 ** min(attempts - 1, 16), self._most_s)

    def _notice_portal(self, results: Sequence[RowResult], *, accepted: bool, now: float) -> None:
        """All refused alike is the portal's fault: the claims stay, the queue pauses, the operator is told."""
        refused = next((result for result in results if result.outcome == "portal"), None)
        if refused is not None and not accepted:
            self._portal_refusals += 1
            self.portal_fault = refused.reason or "HubSpot refuses every write"
            self.pauses_until = now + self._after_s(self._portal_refusals)
        elif accepted:
            self._portal_refusals, self.portal_fault, self.pauses_until = 0, None, 0.0
