"""Takes one batch of outbox rows to its end at HubSpot: reads back, resends, sifts; never writes to the ledger.

Every extra call asks `may_start` (the lease) and the rate budget first; when none is free soon, rows come back as
they are, and the relay tries them again later.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, Protocol

from msgspec.structs import replace

from lastseat.errors import Refused, Unavailable
from lastseat.model import OutboxKind, OutboxRow, Record, RowResult
from lastseat.ports import HubSpot, RateBudget, Slot
from lastseat.settings import Settings

MayStart = Callable[[], bool]
"""True while the lease outlives one more call with a margin."""
LinkKind = Literal["link_contact", "link_exam"]

_LINKS: tuple[LinkKind, ...] = ("link_contact", "link_exam")
_NO_CALL = "No HubSpot call was free."
_ALONE_MOST = 10  # Limit: each costs a call while its neighbours wait for their settlement; the others come again.
_TRIES_MOST = 3  # Limit: an outage must not eat the budget; after so many lost answers a row waits with back-off.
Call = Callable[[Slot, Sequence[OutboxRow]], Awaitable[list[RowResult]]]


class LinkingHubSpot(HubSpot, Protocol):
    """HubSpot, with the association types that must be discovered before the first link."""

    def knows(self, kind: OutboxKind) -> bool:
        """True when the association type of these links is known."""
        ...

    async def learn(self, slot: Slot, kind: OutboxKind) -> object:
        """Discover it; raise Unavailable or Refused."""
        ...


class Delivery:
    """One result per row, in the order of the rows, with `uncertain` where a lost call may still land.

    A refusal is the row's own only when HubSpot accepted another row lately; otherwise it is the portal's.
    `recall` fills in association types that another process learnt; it costs no call.
    """

    def __init__(
        self,
        hubspot: LinkingHubSpot,
        budget: RateBudget,
        settings: Settings,
        recall: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._recall = recall
        self.hubspot = hubspot
        self.budget = budget
        self.settings = settings
        self.accepted_at: dict[str, float] = {}

    async def deliver(
        self, kind: OutboxKind, slot: Slot, rows: Sequence[OutboxRow], may_start: MayStart
    ) -> list[RowResult]:
        """Bring rows of one kind to HubSpot."""
        match kind:
            case "create":
                return await self.create(slot, rows, may_start)
            case "cancel":
                return await self.cancel(slot, rows, may_start)
            case "count":
                return await self.count(slot, rows, may_start)
            case "link_contact" | "link_exam":
                return await self.link(slot, kind, rows, may_start)
            case _:
                raise NotImplementedError(kind)  # a change of an exam: see exam_delivery

    async def look(self, slot: Slot, rows: Sequence[OutboxRow]) -> dict[str, Record]:
        """What HubSpot holds now of these rows, by their key; raise Unavailable or Refused when it cannot be told."""
        records = await self.hubspot.read_bookings(slot, [row.key for row in rows], by_key=True)
        return {record.properties.get(self.settings.hubspot_booking_key) or "": record for record in records}

    async def create(self, slot: Slot, rows: Sequence[OutboxRow], may_start: MayStart) -> list[RowResult]:
        """Upsert bookings (at most 100). Rows of unknown outcome are read back, and sent only when missing."""
        errand = Errand(self, "create", self.hubspot.upsert_bookings, _key, slot, may_start)
        await errand.create(rows)
        return await errand.finish(rows)

    async def cancel(self, slot: Slot, rows: Sequence[OutboxRow], may_start: MayStart) -> list[RowResult]:
        """Cancel bookings by HubSpot id (at most 100). A record that is gone is cancelled."""
        errand = Errand(self, "cancel", self.hubspot.update_bookings, _hubspot_id, slot, may_start)
        await errand.repeatable(rows)
        return [_gone_is_cancelled(row, result) for row, result in zip(rows, await errand.finish(rows), strict=True)]

    async def link(
        self, slot: Slot, kind: LinkKind, rows: Sequence[OutboxRow], may_start: MayStart
    ) -> list[RowResult]:
        """Associate bookings with contacts or exams (at most 2,000)."""

        async def call(slot: Slot, rows: Sequence[OutboxRow]) -> list[RowResult]:
            return await self.hubspot.link(slot, kind, rows)

        errand = Errand(self, kind, call, _contact_link if kind == "link_contact" else _exam_link, slot, may_start)
        failure = await self._learnt(errand, kind)
        if failure is not None:
            return [replace(failure, key=row.key) for row in rows]
        await errand.repeatable(rows)
        return [_gone_is_refused(result) for result in await errand.finish(rows)]

    async def count(self, slot: Slot, rows: Sequence[OutboxRow], may_start: MayStart) -> list[RowResult]:
        """Write exams' `total_bookings` (at most 100)."""
        errand = Errand(self, "count", self.hubspot.update_exams, _exam_id, slot, may_start)
        await errand.repeatable(rows)
        return [_gone_is_refused(result) for result in await errand.finish(rows)]

    async def prepare(self, may_start: MayStart = lambda: True) -> str | None:
        """Learn the association types and, with the first reply's headers, how full the window is.

        Worth two calls at the very first start. None, or why something is still unknown.
        """
        if self._recall is not None:
            await self._recall()
        unknown: list[LinkKind] = [kind for kind in _LINKS if not self.hubspot.knows(kind)]
        if not unknown and await self.budget.free() <= 1:
            unknown = [_LINKS[0]]
        for kind in unknown:
            errand = Errand(self, "discover", self.hubspot.update_exams, _key, None, may_start)
            slot = await errand.slot()
            if slot is None:
                return _NO_CALL
            try:
                await self.hubspot.learn(slot, kind)
            except (Refused, Unavailable) as error:
                return error.message
        return None

    async def _learnt(self, errand: "Errand", kind: LinkKind) -> RowResult | None:
        if self.hubspot.knows(kind):
            return None
        slot = await errand.slot()
        if slot is None:
            return RowResult(key="", outcome="not_sent", reason=_NO_CALL)
        try:
            await self.hubspot.learn(slot, kind)
        except Unavailable as error:
            return RowResult(key="", outcome="not_sent", reason=error.message)
        except Refused as error:
            return RowResult(key="", outcome="portal", reason=error.message)
        return None


class Errand:
    """The state of one delivery; results are kept by what identifies a row at HubSpot, so a double is sent once."""

    def __init__(
        self,
        delivery: Delivery,
        kind: str,
        call: Call,
        ident: Callable[[OutboxRow], str],
        slot: Slot | None,
        may_start: MayStart,
    ) -> None:
        self._delivery = delivery
        self._kind = kind
        self._call = call
        self._ident = ident
        self._slot = slot
        self._may_start = may_start
        self._patience_s = delivery.settings.hubspot_extra_wait_s
        self._results: dict[str, RowResult] = {}
        self._doubtful: set[str] = set()
        self._accepted = False
        self._stopped = False

    async def create(self, rows: Sequence[OutboxRow]) -> None:
        """Send what is new, read back what is in doubt, send again what is missing, once."""
        todo = self._sendable(rows)
        unsure = [row for row in todo if row.taken_over]
        if unsure:
            fresh = [row for row in todo if not row.taken_over]
            todo = fresh + await self._read_back(unsure)
        await self._deliver(todo)
        lost = [row for row in todo if self._outcome(row) == "unknown"]
        if lost:
            await self._deliver(await self._read_back(lost))

    async def repeatable(self, rows: Sequence[OutboxRow]) -> None:
        """Send rows for which sending twice is the same as once; a lost answer is sent again, a few times."""
        todo = self._sendable(rows)
        await self._deliver(todo)
        # HubSpot: a write to a merged record is answered with the survivor's id (2026), so among others it has no
        # name. Sent alone, the one result is its own.
        for row in [row for row in todo if self._unnamed(row)][:_ALONE_MOST]:
            await self._deliver([row])
        for _ in range(_TRIES_MOST - 1):
            await self._deliver([r for r in todo if self._outcome(r) == "unknown" and not self._unnamed(r)])

    async def finish(self, rows: Sequence[OutboxRow]) -> list[RowResult]:
        """The results, with the refusals judged."""
        if self._slot is not None:
            await self._slot.give_back()
        self._judge()
        return [self._final(row) for row in rows]

    async def slot(self) -> Slot | None:
        """The slot this errand came with, or one more if the lease and the budget allow it soon enough."""
        slot, self._slot = self._slot, None
        if slot is not None:
            # Crash: this process may have slept since its rows were marked, and a successor may be at work.
            if self._may_start():
                return slot
            await slot.give_back()
            return None
        while self._may_start():
            granted = await self._delivery.budget.reserve(self._kind)
            if not isinstance(granted, int | float):
                # Race: the lease may have run out while we waited for the slot.
                if self._may_start():
                    return granted
                await granted.give_back()
                return None
            self._patience_s -= granted
            if self._patience_s < 0:
                return None
            await asyncio.sleep(granted)
        return None

    def _sendable(self, rows: Sequence[OutboxRow]) -> list[OutboxRow]:
        # HubSpot: the same id twice in a batch is a 400 for the whole batch. The last word counts.
        latest = {self._ident(row): row for row in rows}
        self._doubtful |= {self._ident(row) for row in rows if row.taken_over}
        for ident, row in latest.items():
            if not all(ident.split(">")):
                reason = "It has no HubSpot id to write to."
                self._results[ident] = RowResult(key=row.key, outcome="missing", reason=reason)
        return [row for ident, row in latest.items() if ident not in self._results]

    async def _deliver(self, rows: Sequence[OutboxRow]) -> None:
        if rows and await self._send(rows):
            together = [row for row in rows if self._results[self._ident(row)].together]
            if together:
                await self._part(together)

    async def _send(self, rows: Sequence[OutboxRow]) -> bool:
        """One call; False when none could be made."""
        slot = await self.slot()
        if slot is None:
            self._stopped = True
            return False
        for row, result in zip(rows, await self._call(slot, rows), strict=True):
            self._results[self._ident(row)] = result
            if result.outcome == "written":
                self._accepted = True
            if result.outcome == "unknown":
                self._doubtful.add(self._ident(row))
            # After a lost answer or a limit, parting further would only lose more calls.
            if result.outcome in ("unknown", "not_sent") or (result.outcome == "portal" and not result.together):
                self._stopped = True
        return True

    async def _read_back(self, rows: Sequence[OutboxRow]) -> list[OutboxRow]:
        """Fill in those that are there; return those that are not. A read that fails is tried again, a few times."""
        reason = _NO_CALL
        for _ in range(_TRIES_MOST):
            slot = await self.slot()
            if slot is None:
                break
            try:
                found = await self._delivery.look(slot, rows)
            except Unavailable as error:
                reason = error.message
            except Refused as error:
                return self._leave(rows, "portal", error.message)
            else:
                return self._found(rows, found)
        return self._leave(rows, "unknown", reason)

    def _found(self, rows: Sequence[OutboxRow], found: dict[str, Record]) -> list[OutboxRow]:
        for row in rows:
            record = found.get(row.key)
            outcome = "missing" if record is None else "written"
            self._results[self._ident(row)] = RowResult(key=row.key, outcome=outcome, record=record)
        return [row for row in rows if row.key not in found]

    def _leave(
        self, rows: Sequence[OutboxRow], outcome: Literal["unknown", "portal"], reason: str
    ) -> list[OutboxRow]:
        for row in rows:
            self._results.setdefault(self._ident(row), RowResult(key=row.key, outcome=outcome, reason=reason))
        return []

    async def _part(self, rows: list[OutboxRow]) -> None:
        """Find out whether one row or the portal is to blame for a batch refused as a whole.

        Two rows far apart are tried alone: when both are refused it is the portal. Which two changes with
        every attempt, so that two bad rows cannot hold up the others for ever.
        """
        self._stopped = False
        bad = True
        if len(rows) > 2:
            first = rows[0].attempts * 7 % len(rows)
            picks = [rows[first], rows[(first + len(rows) // 2) % len(rows)]]
            for pick in picks:
                if not await self._send([pick]) or self._stopped:
                    return
                rows = [row for row in rows if row is not pick]
                if self._outcome(pick) == "written":
                    break
                bad = False
                if self._outcome(pick) != "refused":
                    break
            else:
                self._blame_portal([*rows, *picks], self._results[self._ident(picks[0])].reason)
                return
        await self._sift(rows, bad=bad)

    async def _sift(self, rows: list[OutboxRow], *, bad: bool) -> None:
        """Halve what is known to hold a bad row, the largest first, so that most rows are written soonest."""
        known_bad = [rows] if bad or await self._is_together(rows) else []
        while known_bad and not self._stopped:
            group = known_bad.pop(0)
            half = len(group) // 2
            first, second = group[:half], group[half:]
            if first and await self._is_together(first):
                known_bad.append(first)
            if self._stopped:
                return
            to_blame = len(second) > 1 and all(self._outcome(row) == "written" for row in first)
            if to_blame or await self._is_together(second):
                known_bad.append(second)

    async def _is_together(self, rows: list[OutboxRow]) -> bool:
        """Send these rows; True when they were refused as a whole, so that one of them is to blame."""
        return await self._send(rows) and any(self._results[self._ident(row)].together for row in rows)

    def _judge(self) -> None:
        """A refusal without any acceptance to hold against it is the portal's, so no seat is given back for it."""
        delivery, now = self._delivery, asyncio.get_running_loop().time()
        accepted_at = delivery.accepted_at.get(self._kind)
        if self._accepted:
            delivery.accepted_at[self._kind] = now
            return
        refused = [ident for ident, result in self._results.items() if result.outcome == "refused"]
        if not refused:
            return
        # One acceptance vouches for one lone refusal: if the portal broke just now, no second row pays for it.
        delivery.accepted_at.pop(self._kind, None)
        lately = accepted_at is not None and now - accepted_at <= delivery.settings.hubspot_accepted_s
        if len(refused) > 1 or not lately:
            for ident in refused:
                self._results[ident] = replace(self._results[ident], outcome="portal")

    def _blame_portal(self, rows: Sequence[OutboxRow], reason: str | None) -> None:
        for row in rows:
            self._results[self._ident(row)] = RowResult(key=row.key, outcome="portal", reason=reason)

    def _outcome(self, row: OutboxRow) -> str:
        return self._results[self._ident(row)].outcome if self._ident(row) in self._results else "not_sent"

    def _unnamed(self, row: OutboxRow) -> bool:
        return self._ident(row) in self._results and self._results[self._ident(row)].unnamed

    def _final(self, row: OutboxRow) -> RowResult:
        ident = self._ident(row)
        result = self._results.get(ident) or RowResult(key=row.key, outcome="not_sent", reason=_NO_CALL)
        if result.together:
            # HubSpot: whether a batch refused as a whole wrote some of its rows is not documented (2026).
            return RowResult(key=row.key, outcome="unknown", reason=result.reason, uncertain=True)
        return replace(result, key=row.key, uncertain=ident in self._doubtful)


def _gone_is_cancelled(row: OutboxRow, result: RowResult) -> RowResult:
    if result.outcome != "missing" or not row.hubspot_id:
        return _gone_is_refused(result)
    record = Record(hubspot_id=row.hubspot_id, properties=dict(row.properties), archived=True)
    return replace(result, outcome="written", record=record)


def _gone_is_refused(result: RowResult) -> RowResult:
    return replace(result, outcome="refused") if result.outcome == "missing" else result


def _key(row: OutboxRow) -> str:
    return row.key


def _hubspot_id(row: OutboxRow) -> str:
    return row.hubspot_id or ""


def _exam_id(row: OutboxRow) -> str:
    return row.exam_id or ""


def _contact_link(row: OutboxRow) -> str:
    return f"{row.hubspot_id or ''}>{row.contact_id or ''}"


def _exam_link(row: OutboxRow) -> str:
    return f"{row.hubspot_id or ''}>{row.exam_id or ''}"
