"""Carries the outbox to HubSpot: one relay at a time, by a fenced lease; never calls HubSpot without it.

The steps write, mirror, announce and link happen here. Each server process runs a Relay that offers itself; the
one that holds the lease works, the others wait for it to end.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable, Coroutine, Sequence
from typing import Protocol

from lastseat.errors import LastseatError, LeaseLost, Uncertain
from lastseat.model import Announcement, Backlog, Lease, OutboxKind, OutboxRow, Record, RowResult, Settlement
from lastseat.ports import Bulletin, RateBudget, RelayLedger, Slot
from lastseat.settings import Settings
from lastseat.writes.settling import Settling

log = logging.getLogger(__name__)

_OBJECT_BATCH = 100  # HubSpot: at most 100 inputs in an object batch.
_LINK_BATCH = 2000  # HubSpot: at most 2,000 inputs in an association batch.
_SCARCE_CALLS = 50  # Limit: with fewer calls per window, links and counts go out at most once per window.
_STOP_S = 5.0

_BATCH: dict[OutboxKind, int] = {
    "create": _OBJECT_BATCH,
    "cancel": _OBJECT_BATCH,
    "exam_create": _OBJECT_BATCH,
    "exam_update": _OBJECT_BATCH,
    "exam_archive": _OBJECT_BATCH,
    "exam_restore": _OBJECT_BATCH,
    "link_contact": _LINK_BATCH,
    "link_exam": _LINK_BATCH,
    "count": _OBJECT_BATCH,
}
_BOOKINGS: tuple[OutboxKind, ...] = ("create", "cancel")
_EXAMS: tuple[OutboxKind, ...] = ("exam_create", "exam_update", "exam_archive", "exam_restore")
_LINKS: tuple[OutboxKind, ...] = ("link_contact", "link_exam", "count")


class Deliverer(Protocol):
    """What the relay needs of `writes.delivery`: batches brought to HubSpot, and a look at what it holds."""

    async def deliver(
        self, kind: OutboxKind, slot: Slot, rows: Sequence[OutboxRow], may_start: Callable[[], bool]
    ) -> list[RowResult]: ...

    async def look(self, slot: Slot, rows: Sequence[OutboxRow]) -> dict[str, Record]: ...

    async def prepare(self, may_start: Callable[[], bool]) -> str | None:
        """Learn what the first booking would otherwise wait for; say why something is still unknown."""
        ...


class Relay:
    """Offers itself for the lease, and while it holds it, empties the outbox within the rate budget."""

    def __init__(
        self, *, ledger: RelayLedger, delivery: Deliverer, budget: RateBudget, bulletin: Bulletin, settings: Settings
    ) -> None:
        self._ledger = ledger
        self._delivery = delivery
        self._budget = budget
        self._bulletin = bulletin
        self._settings = settings
        self._settling = Settling(settings)
        self._holder = secrets.token_hex(8)
        self._lease: Lease | None = None
        self._lease_ends_at = 0.0
        self._woken = asyncio.Event()
        self._trips: set[asyncio.Task[None]] = set()
        self._bookings_in_flight = 0
        self._verifying = False
        self._links_ready_at = 0.0
        self._links_overdue_at = 0.0
        self._budget_free_at = 0.0
        bulletin.on_wake(self._woken.set)

    @property
    def term(self) -> int | None:
        """The term held now, or None: for readiness and metrics."""
        return self._lease.term if self._lease and self._remaining_s() > 0 else None

    @property
    def paused_because(self) -> str | None:
        """Why nothing is sent although rows wait: the portal refuses everything."""
        return self._settling.portal_fault

    async def run(self) -> None:
        """Work until cancelled; then let calls under way end and release the lease."""
        try:
            while True:
                await self._offer()
                if self._lease is not None:
                    await self._hold(self._lease.term)
        finally:
            await self._stop()

    async def _offer(self) -> None:
        try:
            await self._renew()
        except LastseatError as error:
            log.warning("relay: no lease: %s", error.message)
            self._lease = None
        if self._lease is None:
            await asyncio.sleep(self._settings.lease_offer_s)

    async def _renew(self) -> None:
        asked_at = self._now()
        term = self._lease.term if self._lease is not None else None
        self._lease = await self._ledger.take_lease(self._holder, self._settings.lease_s, term)
        # The database counts from when it answers; counting from when we asked is the cautious side.
        self._lease_ends_at = asked_at + self._settings.lease_s if self._lease else 0.0

    async def _hold(self, term: int) -> None:
        """Work in one term. Any doubt about what was marked `sent` ends it: the next term takes those rows over."""
        log.info("relay: holding term %d", term)
        renewing = asyncio.create_task(self._keep_renewing(term))
        self._go(self._prepare(), booking=False)
        try:
            await self._tell_what_was_mirrored(term)
            while self._holds(term):
                backlog, arrived = await self._collected(term)
                if not await self._dispatch(term, backlog, arrived=arrived):
                    await self._rest(backlog)
        except Uncertain as error:
            log.warning("relay: term %d given up: %s", term, error.message)
            await self._give_up(term)
        except LastseatError as error:
            log.warning("relay: term %d interrupted: %s", term, error.message)
            await asyncio.sleep(self._settings.relay_poll_alone_s)
        except Exception:  # a fault of ours must not end the only relay that may be left
            log.exception("relay: term %d given up", term)
            await self._give_up(term)
            await asyncio.sleep(self._settings.lease_offer_s)
        finally:
            renewing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await renewing

    async def _prepare(self) -> None:
        unknown = await self._delivery.prepare(self._may_start)
        if unknown is not None:
            log.warning("relay: not prepared: %s", unknown)

    async def _keep_renewing(self, term: int) -> None:
        while self._holds(term):
            await asyncio.sleep(self._settings.lease_s / 4)
            with contextlib.suppress(LastseatError):
                await self._renew()

    def _holds(self, term: int) -> bool:
        return self._lease is not None and self._lease.term == term and self._remaining_s() > 0

    def _remaining_s(self) -> float:
        return self._lease_ends_at - self._now()

    def _may_start(self) -> bool:
        """Crash: a call that outlives the lease could land after the successor's; so it does not start."""
        return self._remaining_s() > self._settings.hubspot_timeout_s + self._settings.lease_margin_s

    async def _collected(self, term: int) -> tuple[Backlog, bool]:
        """The backlog, and whether bookings have stopped arriving for a moment (or waited long enough)."""
        self._woken.clear()
        backlog = await self._ledger.backlog(term)
        began_at, last = self._now(), -1
        while (due := _bookings_due(backlog)) and due != last:
            if due >= _OBJECT_BATCH:
                return backlog, False
            if self._now() - began_at >= self._settings.relay_window_max_s:
                break
            last = due
            await asyncio.sleep(self._settings.relay_window_s)
            backlog = await self._ledger.backlog(term)
        return backlog, True

    async def _dispatch(self, term: int, backlog: Backlog, *, arrived: bool) -> int:
        """Start what may start; return how many calls. While bookings still arrive only full batches go."""
        if self._settling.pauses_until > self._now() or not self._may_start():
            return 0
        started = 0
        if backlog.verify_due:
            started += await self._start_verifying(term)
        for kind in _BOOKINGS:
            started += await self._start(term, kind, _batches(backlog, kind, whole_only=not arrived))
        for kind in _EXAMS:  # somebody waits for these too, but a student's seat comes first
            started += await self._start(term, kind, _batches(backlog, kind, whole_only=False))
        if self._links_may_go(backlog):
            for kind in _LINKS:
                started += await self._start(term, kind, _batches(backlog, kind, whole_only=False))
        return started

    def _links_may_go(self, backlog: Backlog) -> bool:
        """After the bookings; once per window when calls are scarce; and within two windows in any case."""
        now, window_s = self._now(), self._settings.hubspot_rate_window_s
        if not any(backlog.due.get(kind) for kind in _LINKS):
            self._links_overdue_at = now + 2 * window_s
            return False
        if now < self._links_overdue_at:
            if _bookings_due(backlog) or self._bookings_in_flight:
                self._links_ready_at = max(self._links_ready_at, now + self._settings.link_quiet_s)
            if now < self._links_ready_at:
                return False
        if self._settings.hubspot_rate_limit < _SCARCE_CALLS:
            self._links_ready_at = now + window_s
        self._links_overdue_at = now + 2 * window_s
        return True

    async def _start(self, term: int, kind: OutboxKind, batches: int) -> int:
        """Start the calls of this kind that the budget allows now. Rows are marked only when a slot is held."""
        for started in range(batches):
            slot = await self._reserved(kind)
            if slot is None:
                return started
            rows = await self._ledger.send(term, kind, _BATCH[kind])
            if not rows:
                await slot.give_back()
                return started
            self._go(self._deliver(term, kind, slot, rows), booking=kind in _BOOKINGS)
        return batches

    async def _reserved(self, kind: str) -> Slot | None:
        answer = await self._budget.reserve(kind)
        if isinstance(answer, float | int):
            self._budget_free_at = self._now() + answer
            return None
        return answer

    def _go(self, trip: Coroutine[None, None, None], *, booking: bool) -> None:
        task = asyncio.create_task(trip)
        self._trips.add(task)
        self._bookings_in_flight += booking

        def ended(done: asyncio.Task[None]) -> None:
            self._trips.discard(done)
            self._bookings_in_flight -= booking
            self._woken.set()

        task.add_done_callback(ended)

    async def _deliver(self, term: int, kind: OutboxKind, slot: Slot, rows: list[OutboxRow]) -> None:
        """One batch from `sent` to `announced`. Crash: wherever this stops, the rows are still in the outbox."""
        try:
            results = await self._delivery.deliver(kind, slot, rows, self._may_start)
            settlement = self._settling.of(rows, results, self._now())
            news, told = await self._persist(term, settlement)
            await self._announce(term, news, told)
        except LeaseLost as error:
            log.warning("relay: %s", error.message)
        except LastseatError as error:
            log.warning("relay: term %d given up: %s", term, error.message)
            await self._give_up(term)
        except Exception:  # a fault of ours must not leave rows marked in a term that lives on
            log.exception("relay: term %d given up", term)
            await self._give_up(term)

    async def _persist(self, term: int, settlement: Settlement) -> tuple[Announcement, list[int]]:
        """HubSpot has spoken; try until Supabase has heard it or the lease is over."""
        while True:
            try:
                return await self._ledger.settle(term, settlement)
            except LeaseLost:
                raise
            except LastseatError:
                if not self._holds(term):
                    raise
                await asyncio.sleep(self._settings.relay_poll_alone_s)

    async def _announce(self, term: int, news: Announcement, told: list[int]) -> None:
        await self._bulletin.announce(news)
        if told:
            await self._ledger.announced(term, told)

    async def _tell_what_was_mirrored(self, term: int) -> None:
        """Crash: a relay that ended between mirror and announce left these; told twice is harmless."""
        while True:
            news, told = await self._ledger.unannounced(term)
            if not told:
                return
            await self._announce(term, news, told)

    async def _start_verifying(self, term: int) -> int:
        if self._verifying:
            return 0
        slot = await self._reserved("verify")
        if slot is None:
            return 0
        rows = await self._ledger.to_verify(term, _OBJECT_BATCH)
        if not rows:
            await slot.give_back()
            return 0
        self._verifying = True
        self._go(self._verify(term, slot, rows), booking=False)
        return 1

    async def _verify(self, term: int, slot: Slot, rows: list[OutboxRow]) -> None:
        """A stuck call may have landed after its read-back: read again, and let the ledger compare."""
        try:
            found = await self._delivery.look(slot, rows)
            news, told = await self._ledger.verified(term, [(row, found.get(row.key)) for row in rows])
            await self._announce(term, news, told)
        except LastseatError as error:
            log.warning("relay: not verified yet: %s", error.message)
        finally:
            self._verifying = False

    async def _rest(self, backlog: Backlog) -> None:
        """Sleep until woken, or until the next thing is due."""
        now = self._now()
        waits = [self._settings.relay_poll_s if self._bulletin.connected else self._settings.relay_poll_alone_s]
        if backlog.next_due_s is not None:
            waits.append(backlog.next_due_s)
        if any(backlog.due.values()):
            waits += [t - now for t in (self._links_ready_at, self._budget_free_at) if t > now]
        try:
            async with asyncio.timeout(max(min(waits), 0.001)):
                await self._woken.wait()
        except TimeoutError:
            return

    async def _give_up(self, term: int) -> None:
        if self._lease is None or self._lease.term != term:
            return
        self._lease = None
        with contextlib.suppress(LastseatError):
            await self._ledger.release_lease(self._holder, term)

    async def _stop(self) -> None:
        if self._trips:
            await asyncio.wait(self._trips, timeout=_STOP_S)
        if self._lease is not None:
            await self._give_up(self._lease.term)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def _bookings_due(backlog: Backlog) -> int:
    return backlog.due.get("create", 0) + backlog.due.get("cancel", 0)


def _batches(backlog: Backlog, kind: OutboxKind, *, whole_only: bool) -> int:
    due, size = backlog.due.get(kind, 0), _BATCH[kind]
    return due // size if whole_only else -(-due // size)
