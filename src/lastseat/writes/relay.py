"""Carries the outbox to HubSpot: one relay at a time, by a fenced lease; never calls HubSpot without it.

The steps write, mirror, announce and link happen here. Each server process runs a Relay that offers itself; the
one that holds the lease works, the others wait for it to end.
"""

import asyncio
import contextlib
import logging
import os
import secrets
from collections import Counter
from collections.abc import Coroutine
from typing import Protocol

from lastseat.errors import LastseatError, LeaseLost, Unavailable, Uncertain
from lastseat.model import Backlog, Lease, OutboxKind, OutboxRow
from lastseat.ports import Bulletin, RateBudget, RelayLedger, Slot
from lastseat.settings import Settings
from lastseat.writes.trips import ANNOUNCE, VERIFY, Deliverer, Trips

log = logging.getLogger(__name__)

_OBJECT_BATCH = 100  # HubSpot: at most 100 inputs in an object batch.
_LINK_BATCH = 2000  # HubSpot: at most 2,000 inputs in an association batch.
_SCARCE_CALLS = 50  # Limit: with fewer calls per window, links and counts go out at most once per window.
_STOP_S = 5.0
_FORGOTTEN_MOST = 5_000  # Limit: rows that one round of housekeeping may hold.

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


class RelayBudget(RateBudget, Protocol):
    """The budget of a process that may follow another as the relay."""

    def others_called(self, ago_s: float) -> None:
        """A relay before this one made its last call so long ago; Redis may not know."""
        ...


class Relay:
    """Offers itself for the lease, and while it holds it, empties the outbox within the rate budget."""

    def __init__(
        self, *, ledger: RelayLedger, delivery: Deliverer, budget: RelayBudget, bulletin: Bulletin, settings: Settings
    ) -> None:
        self._ledger = ledger
        self._delivery = delivery
        self._budget = budget
        self._bulletin = bulletin
        self._settings = settings
        self._carrier = Trips(
            ledger=ledger, delivery=delivery, bulletin=bulletin, settings=settings, holds=self._holds
        )
        self._settling = self._carrier.settling
        # The process comes first, so that an operator can find the one that holds the lease.
        self._holder = f"{os.getpid()}-{secrets.token_hex(8)}"
        self._lease: Lease | None = None
        self._lease_ends_at = 0.0
        self._woken = asyncio.Event()
        self._trips: set[asyncio.Task[None]] = set()
        self._flying: Counter[str] = Counter()
        self._links_ready_at = 0.0
        self._links_overdue_at = 0.0
        self._budget_free_at = 0.0
        self._tidy_at = 0.0
        bulletin.on_wake(self._woken.set)

    @property
    def term(self) -> int | None:
        """The term held now, or None: for readiness and metrics."""
        return self._lease.term if self._lease and self._remaining_s() > 0 else None

    @property
    def paused_because(self) -> str | None:
        """Why nothing is sent although rows wait: the portal refuses everything. Only the lease's holder knows."""
        return self._settling.portal_fault if self.term is not None else None

    @property
    def away_because(self) -> str | None:
        """Why HubSpot is thought to be away; what waits is tried again, a little at a time. As above."""
        return self._settling.away_because if self.term is not None else None

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
        asked_at, held = self._now(), self._lease
        term = held.term if held is not None else None
        lease = await self._ledger.take_lease(self._holder, self._settings.lease_s, term)
        if self._lease is not held:
            return  # Race: the term was given up meanwhile, and a call of it must not take this one for its own
        self._lease = lease
        if self._lease is not None and self._lease.called_ago_s is not None:
            self._budget.others_called(self._lease.called_ago_s)
        # The database counts from when it answers; counting from when we asked is the cautious side.
        self._lease_ends_at = asked_at + self._settings.lease_s if self._lease else 0.0

    async def _hold(self, term: int) -> None:
        """Work in one term. Any doubt about what was marked `sent` ends it: the next term takes those rows over."""
        log.info("relay: holding term %d", term)
        self._settling.forget_why()
        renewing = asyncio.create_task(self._keep_renewing(term))
        self._go("prepare", self._prepare(term))
        try:
            await self._carrier.tell_what_was_mirrored(term)
            while self._holds(term):
                backlog, arrived = await self._collected(term)
                started = await self._dispatch(term, backlog, arrived=arrived)
                # What a trip has mirrored it also tells; here is what no trip tells, or could not.
                if backlog.unannounced and (not self._trips or self._settling.in_trouble(ANNOUNCE)):
                    await self._carrier.tell_what_was_mirrored(term)
                if not started:
                    await self._tidy(term)
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

    async def _prepare(self, term: int) -> None:
        unknown = await self._delivery.prepare(lambda: self._may_start(term))
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

    def _may_start(self, term: int) -> bool:
        """Crash: a call that outlives the lease could land after the successor's; so it does not start."""
        return (
            self._holds(term)
            and self._remaining_s() > self._settings.hubspot_timeout_s + self._settings.lease_margin_s
        )

    async def _collected(self, term: int) -> tuple[Backlog, bool]:
        """The backlog, and whether bookings have stopped arriving for a moment (or waited long enough)."""
        self._woken.clear()
        backlog = await self._ledger.backlog(term)
        began_at, last = self._now(), -1
        while (due := _bookings_due(backlog)) and due != last:
            if any(backlog.due.get(kind, 0) >= _OBJECT_BATCH for kind in _BOOKINGS):
                return backlog, False
            if self._now() - began_at >= self._settings.relay_window_max_s:
                break
            last = due
            await asyncio.sleep(self._settings.relay_window_s)
            backlog = await self._ledger.backlog(term)
        return backlog, True

    async def _dispatch(self, term: int, backlog: Backlog, *, arrived: bool) -> int:
        """Start what may start; return how many calls. While bookings still arrive only full batches go."""
        if not self._may_start(term):
            return 0
        started = 0
        if backlog.verify_due:
            started += await self._verified_too(term)
        for kind in _BOOKINGS:
            started += await self._start(term, kind, self._batches(backlog, kind, whole_only=not arrived))
        for kind in _EXAMS:  # somebody waits for these too, but a student's seat comes first
            started += await self._start(term, kind, self._batches(backlog, kind, whole_only=False))
        if self._links_may_go(backlog):
            for kind in _LINKS:
                started += await self._start(term, kind, self._batches(backlog, kind, whole_only=False))
        return started

    def _batches(self, backlog: Backlog, kind: OutboxKind, *, whole_only: bool) -> int:
        """How many batches of this kind may start. One in trouble waits for its pause, then tries one at a time."""
        due, size = backlog.due.get(kind, 0), self._settling.batch(kind, _BATCH[kind])
        if not due or self._settling.pauses_s(kind, self._now()) > 0:
            return 0
        if self._settling.in_trouble(kind):
            return 0 if self._flying[kind] else 1
        # A kind that fills no batch goes as it is: another's full batch that cannot start must not keep it waiting.
        return due // size if whole_only and due >= size else -(-due // size)

    def _links_may_go(self, backlog: Backlog) -> bool:
        """After the bookings; once per window when calls are scarce; and within two windows in any case."""
        now, window_s = self._now(), self._settings.hubspot_rate_window_s
        if not any(backlog.due.get(kind) for kind in _LINKS):
            self._links_overdue_at = now + 2 * window_s
            return False
        if now < self._links_overdue_at:
            if _bookings_due(backlog) or any(self._flying[kind] for kind in _BOOKINGS):
                self._links_ready_at = max(self._links_ready_at, now + self._settings.link_quiet_s)
            if now < self._links_ready_at:
                return False
        if self._settings.hubspot_rate_limit < _SCARCE_CALLS:
            self._links_ready_at = now + window_s
        self._links_overdue_at = now + 2 * window_s
        return True

    async def _start(self, term: int, kind: OutboxKind, batches: int) -> int:
        """Start the calls of this kind that the budget allows now. Rows are marked only when slots are held.

        All rows are marked in one trip: a trip for each batch would let the last of them wait for all the others.
        """
        asked = await asyncio.gather(*(self._reserved(kind) for _ in range(batches)))
        slots = [slot for slot in asked if slot is not None]
        if not slots:
            return 0
        size = self._settling.batch(kind, _BATCH[kind])
        rows: list[OutboxRow] = []
        try:
            rows = await self._ledger.send(term, kind, size * len(slots))
        except LastseatError as error:
            if isinstance(error, LeaseLost) or (isinstance(error, Unavailable) and error.unsent):
                raise
            # Crash: rows may be marked in this term, and only the next one looks after them, whatever was answered.
            raise Uncertain(error.message) from error
        finally:
            parts = [rows[start : start + size] for start in range(0, len(rows), size)]
            for slot in slots[len(parts) :]:
                await slot.give_back()
        for slot, part in zip(slots, parts, strict=False):
            self._go(kind, self._deliver(term, kind, slot, part))
        return len(parts)

    async def _reserved(self, kind: str) -> Slot | None:
        answer = await self._budget.reserve(kind)
        if isinstance(answer, float | int):
            self._budget_free_at = self._now() + answer
            return None
        return answer

    def _go(self, kind: str, trip: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(trip)
        self._trips.add(task)
        self._flying[kind] += 1

        def ended(done: asyncio.Task[None]) -> None:
            self._trips.discard(done)
            self._flying[kind] -= 1
            self._woken.set()

        task.add_done_callback(ended)

    async def _deliver(self, term: int, kind: OutboxKind, slot: Slot, rows: list[OutboxRow]) -> None:
        try:
            await self._carrier.deliver(term, kind, slot, rows, lambda: self._may_start(term))
        except LeaseLost as error:
            log.warning("relay: %s", error.message)
        except LastseatError as error:
            log.warning("relay: term %d given up: %s", term, error.message)
            await self._give_up(term)
        except Exception:  # a fault of ours must not leave rows marked in a term that lives on
            log.exception("relay: term %d given up", term)
            await self._give_up(term)

    async def _verified_too(self, term: int) -> int:
        """Looking again can wait, seats cannot: whatever goes wrong with it never stops the sending."""
        try:
            return await self._start_verifying(term)
        except LeaseLost:
            raise
        except Exception as error:
            log.warning("relay: not looked again: %s", error, exc_info=not isinstance(error, LastseatError))
            self._settling.stumbled(VERIFY, self._now())
            return 0

    async def _start_verifying(self, term: int) -> int:
        if self._flying[VERIFY] or self._settling.pauses_s(VERIFY, self._now()) > 0:
            return 0
        slot = await self._reserved(VERIFY)
        if slot is None:
            return 0
        rows: list[OutboxRow] = []
        try:
            rows = await self._ledger.to_verify(term, _OBJECT_BATCH)
        finally:
            if not rows:
                await slot.give_back()
        if not rows:
            return 0
        self._go(VERIFY, self._verify(term, slot, rows))
        return 1

    async def _verify(self, term: int, slot: Slot, rows: list[OutboxRow]) -> None:
        try:
            await self._carrier.verify(term, slot, rows)
        except LastseatError as error:
            log.warning("relay: not verified yet: %s", error.message)
        except Exception:  # a fault of ours; the rows are looked at again after a pause
            log.exception("relay: not verified")
            self._settling.stumbled(VERIFY, self._now())

    async def _tidy(self, term: int) -> None:
        """When there is nothing better to do, and now and then: forget what nobody asks for any more."""
        settings = self._settings
        if self._now() < self._tidy_at:
            return
        self._tidy_at = self._now() + settings.housekeeping_s
        await self._ledger.housekeep(
            term, key_ttl_s=settings.key_ttl_s, keep_s=settings.outbox_keep_s, most=_FORGOTTEN_MOST
        )

    async def _rest(self, backlog: Backlog) -> None:
        """Sleep until woken, or until the next thing is due."""
        now = self._now()
        waits = [self._settings.relay_poll_s if self._bulletin.connected else self._settings.relay_poll_alone_s]
        if backlog.next_due_s is not None:
            waits.append(backlog.next_due_s)
        if any(backlog.due.values()):
            waits += [t - now for t in (self._links_ready_at, self._budget_free_at) if t > now]
        waits += [wait_s for kind in _BATCH if (wait_s := self._settling.pauses_s(kind, now)) > 0]
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
