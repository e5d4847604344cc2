"""Turns HubSpot's answers into what the ledger is told, with back-off; decides pauses, never talks to a store."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from lastseat.model import OutboxRow, Retry, RowResult, SetAside, Settlement, Written
from lastseat.settings import Settings

_SHRINK = 4  # A batch that failed as a whole is followed by one of a quarter of its rows.
_STEPS_MOST = 6  # Limit: 4^6 is more than the largest batch, so the smallest is one row.
_PORTAL_FIRST = 1
_AWAY_FIRST = 2  # One batch may hold a row that breaks HubSpot; two in a row are HubSpot.


@dataclass
class _Trouble:
    """What one kind of row has met since HubSpot last took one of them."""

    failures: int = 0
    shrunk: int = 0
    until: float = 0.0
    portal: str | None = None
    away: str | None = None


class Settling:
    """Remembers per kind whether HubSpot takes rows at all: the portal refuses every one, or nobody answers.

    A kind in trouble pauses by itself and is tried with ever smaller batches, down to one row, so that an outage
    costs few calls, few rows become uncertain, and a row that breaks HubSpot ends up alone.
    """

    def __init__(self, settings: Settings) -> None:
        self._first_s = settings.backoff_first_s
        self._most_s = settings.backoff_most_s
        self._probe_s = settings.probe_most_s
        self._kinds: defaultdict[str, _Trouble] = defaultdict(_Trouble)

    @property
    def portal_fault(self) -> str | None:
        """Why rows that wait are not sent: HubSpot's words when it refused them all alike."""
        return next((kind.portal for kind in self._kinds.values() if kind.portal), None)

    @property
    def away_because(self) -> str | None:
        """Why HubSpot is thought to be away: what the last call met."""
        return next((kind.away for kind in self._kinds.values() if kind.away), None)

    def of(self, rows: Sequence[OutboxRow], results: Sequence[RowResult], now: float) -> Settlement:
        """The settlement of one batch of one kind; `now` is the relay's clock, in seconds."""
        by_key = {result.key: result for result in results}
        self._notice(rows, results, now)
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
        return Settlement(written=written, aside=aside, retry=retry)

    def forget_why(self) -> None:
        """A term begins: what HubSpot did in an earlier one may be over. Pauses and small batches stay."""
        for kind in self._kinds.values():
            kind.portal = kind.away = None

    def heard(self, kind: str) -> None:
        """HubSpot took or judged a row of this kind: the way is open, wider with every batch."""
        trouble = self._kinds[kind]
        self._kinds[kind] = _Trouble(shrunk=max(0, trouble.shrunk - 1))

    def failed(
        self, kind: str, now: float, *, away: str | None = None, portal: str | None = None, sent: bool = False
    ) -> None:
        """A batch of this kind came to nothing as a whole; `sent`: one row of several may be to blame."""
        trouble = self._kinds[kind]
        trouble.failures += 1
        trouble.shrunk = min(trouble.shrunk + sent, _STEPS_MOST)
        beyond = trouble.failures - (_AWAY_FIRST if portal is None else _PORTAL_FIRST)
        if beyond < 0:
            return
        trouble.portal, trouble.away = portal, away
        most_s = self._probe_s if portal is None else self._most_s
        trouble.until = now + min(self._first_s * 2 ** min(beyond, 16), most_s)

    def stumbled(self, kind: str, now: float) -> None:
        """We failed at this ourselves, not HubSpot: it pauses, and nobody is told that HubSpot is away."""
        trouble = self._kinds[kind]
        trouble.failures += 1
        trouble.until = now + min(self._first_s * 2 ** min(trouble.failures, 16), self._probe_s)

    def in_trouble(self, kind: str) -> bool:
        """Whether one batch at a time is tried: the last came to nothing, or batches are not whole again yet.

        Limit: many small batches at once would take all the calls of a window for a few rows.
        """
        return self._kinds[kind].failures > 0 or self._kinds[kind].shrunk > 0

    def pauses_s(self, kind: str, now: float) -> float:
        """How long no row of this kind is sent."""
        return max(0.0, self._kinds[kind].until - now)

    def batch(self, kind: str, most: int) -> int:
        """How many rows the next batch may hold."""
        return max(1, most // _SHRINK ** self._kinds[kind].shrunk)

    def _again(self, row: OutboxRow, result: RowResult) -> Retry:
        # What was turned away unread says nothing about the row: it need not wait longer each time.
        attempts = 1 if result.outcome == "not_sent" else row.attempts
        return Retry(
            outbox_id=row.outbox_id,
            after_s=self._after_s(row, attempts),
            reason=result.reason or result.outcome,
            uncertain=result.uncertain or result.outcome == "unknown",
        )

    def _after_s(self, row: OutboxRow, attempts: int) -> float:
        """While HubSpot is away the kind waits, not the row; it only lets the next one be tried."""
        most_s = self._most_s if self._kinds[row.kind].failures < _AWAY_FIRST else 2 * self._probe_s
        return min(self._first_s * 2 ** min(attempts - 1, 16), most_s)

    def _notice(self, rows: Sequence[OutboxRow], results: Sequence[RowResult], now: float) -> None:
        """All refused alike is the portal's fault: the claims stay, the kind pauses, the operator is told."""
        if not rows:
            return
        kind = rows[0].kind
        if any(result.outcome in ("written", "refused", "missing") for result in results):
            self.heard(kind)
            return
        portal = next((result for result in results if result.outcome == "portal"), None)
        if portal is not None:
            self.failed(kind, now, portal=portal.reason or "HubSpot refuses every write")
        elif results:
            # One row gets no smaller. Counted on, it would take as many good rows, one by one, to grow again.
            sent = len(rows) > 1 and any(result.outcome == "unknown" for result in results)
            self.failed(kind, now, away=results[0].reason or "HubSpot did not answer", sent=sent)


def apart(settlement: Settlement, refusal: str, after_s: float) -> list[Settlement]:
    """What to try when the ledger refuses a settlement as a whole: halves; a row alone waits, with the reason."""
    rows = len(settlement.written) + len(settlement.aside) + len(settlement.retry)
    if rows > 1:
        first = (rows + 1) // 2
        return [_part(settlement, 0, first), _part(settlement, first, rows)]
    ended = [*settlement.written, *settlement.aside]
    reason = f"the ledger does not take HubSpot's answer: {refusal}"
    return [
        Settlement(retry=[Retry(outbox_id=row.outbox_id, after_s=after_s, reason=reason, uncertain=True)])
        for row in ended
    ]


def _part(whole: Settlement, start: int, stop: int) -> Settlement:
    written, aside = len(whole.written), len(whole.written) + len(whole.aside)
    return Settlement(
        written=whole.written[start:stop],
        aside=whole.aside[max(start - written, 0) : max(stop - written, 0)],
        retry=whole.retry[max(start - aside, 0) : max(stop - aside, 0)],
    )
