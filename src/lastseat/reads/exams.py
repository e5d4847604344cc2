"""Answers what everybody asks in a rush: which exams there are and how many seats are left; never asks HubSpot.

The list comes from a view and holds no counts; the counts come from the gates. Both are kept in the process for a
tenth of a second and dropped at once by an announcement, so that a crowd shares one body.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import date, datetime
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from lastseat.errors import Refused, Unavailable
from lastseat.group_commit import GroupCommit
from lastseat.model import Announcement, Exam, ExamId, Gate
from lastseat.ports import Bulletin, Gates, Mirror, SeatLedger, Views
from lastseat.settings import Settings

LIMITED_SEATS: Final = 5
LIMITED_SHARE: Final = 0.2
BODIES_MOST: Final = 64  # Limit: filtered lists kept at once
CAPACITIES_MOST: Final = 1_000  # Limit: capacity bodies kept at once
LOOKS: Final = 1_000  # Limit: neighbours that share one ledger call

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(list[Exam])


class _Known(NamedTuple):
    """The list as it was read, begun at `began_at` on the process's clock."""

    exams: dict[ExamId, Exam]
    body: bytes
    stale: bool
    began_at: float


class _Filter(NamedTuple):
    mock_type: str | None
    location: str | None
    date_from: date | None
    date_to: date | None

    def admits(self, exam: Exam) -> bool:
        """Whether the exam is asked for; days are the school's, both included."""
        return (
            (self.mock_type is None or (exam.mock_type or "").casefold() == self.mock_type)
            and (self.location is None or (exam.location or "").casefold() == self.location)
            and (self.date_from is None or (exam.exam_date is not None and exam.exam_date >= self.date_from))
            and (self.date_to is None or (exam.exam_date is not None and exam.exam_date <= self.date_to))
        )


class Counts:
    """The newest gate of each exam that this process has heard of; never goes back to a lower version."""

    def __init__(self, forget_s: float, clock: Callable[[], float]) -> None:
        """After `forget_s` without news a lower version is believed: the ledger was restored from a backup."""
        self._forget_s = forget_s
        self._clock = clock
        self._gates: dict[ExamId, tuple[float, Gate]] = {}

    def get(self, exam_id: ExamId) -> Gate | None:
        """What is known."""
        known = self._gates.get(exam_id)
        return None if known is None else known[1]

    def learn(self, gates: Iterable[Gate]) -> bool:
        """Take what is newer; True when anything changed."""
        now = self._clock()
        changed = False
        for gate in gates:
            at, known = self._gates.get(gate.exam_id, (now, None))
            if known is None or gate.version >= known.version or now - at > self._forget_s:
                self._gates[gate.exam_id] = (now, gate)
                changed = changed or gate != known
        return changed

    def keep_only(self, exam_ids: Collection[ExamId]) -> None:
        """Forget all others."""
        if len(self._gates) > 2 * len(exam_ids) + LOOKS:
            self._gates = {exam_id: known for exam_id, known in self._gates.items() if exam_id in exam_ids}


class ExamReads:
    """Complete JSON bodies about exams."""

    def __init__(
        self,
        mirror: Mirror,
        gates: Gates,
        ledger: SeatLedger,
        views: Views,
        bulletin: Bulletin,
        settings: Settings,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[ZoneInfo], datetime] = datetime.now,
    ) -> None:
        """`clock` measures ages; `now` tells the time in the school's zone."""
        self._mirror = mirror
        self._gates = gates
        self._ledger = ledger
        self._views = views
        self._settings = settings
        self._clock = clock
        self._now = now
        self._zone = ZoneInfo(settings.timezone)
        self._counts = Counts(settings.gate_ttl_s, clock)
        self._ledger_looks = GroupCommit(self._ask_ledger, window_s=0, limit=LOOKS)
        self._known: _Known | None = None
        self._before: _Known | None = None
        self._loading: asyncio.Task[_Known] | None = None
        self._changes = 0
        self._shown: list[tuple[Exam, bytes]] | None = None
        self._fragments: dict[ExamId, tuple[Exam, Gate | None, bool, bytes]] = {}
        self._bodies: dict[_Filter, bytes] = {}
        self._capacities: dict[ExamId, bytes] = {}
        bulletin.subscribe(self._hear)

    async def available(
        self,
        *,
        mock_type: str | None = None,
        location: str | None = None,
        date_from: date | None = None,
        date_to: date | None = None,
    ) -> bytes:
        """`{"success": true, "exams": […]}`: what can be booked now, or will open; by date and start.

        Each exam has the PRD's columns and `id`, `remaining`, `status` (available, limited, full) and `bookable`;
        `capacity` and `total_bookings` are live. `"stale": true` is added while Supabase is away.
        """
        known = await self._current()
        wanted = _Filter(_folded(mock_type), _folded(location), date_from, date_to)
        body = self._bodies.get(wanted)
        if body is None:
            chosen = [fragment for exam, fragment in self._listed(known) if wanted.admits(exam)]
            body = b'{"success":true,"exams":[' + b",".join(chosen) + (b'],"stale":true}' if known.stale else b"]}")
            if self._known is known:
                if len(self._bodies) >= BODIES_MOST:
                    self._bodies.clear()
                self._bodies[wanted] = body
        return body

    async def capacity(self, exam_id: ExamId) -> bytes:
        """`{"success": true, "exam_id", "capacity", "total_bookings", "remaining", "is_full"}`; past exams too."""
        known = await self._current()
        body = self._capacities.get(exam_id)
        if body is None:
            body = await self._capacity(exam_id, known)
            if exam_id in known.exams and self._known is known:
                if len(self._capacities) >= CAPACITIES_MOST:
                    self._capacities.clear()
                self._capacities[exam_id] = body
        return body

    async def exam(self, exam_id: ExamId) -> Exam:
        """One exam, as the mirror holds it."""
        known = (await self._current()).exams.get(exam_id)
        found = known or await self._mirror.exam(exam_id)
        if found is None:
            raise _not_found()
        return found

    def _hear(self, news: Announcement) -> None:
        if news.exams_changed:
            # Race: a load under way may have read before this change; it is then good only for those who wait for it.
            self._changes += 1
            self._known = None
            self._forget_bodies()
        if self._counts.learn(news.gates):
            self._forget_bodies()

    def _forget_bodies(self) -> None:
        self._shown = None
        self._bodies.clear()
        self._capacities.clear()

    async def _current(self) -> _Known:
        """The list, read not longer ago than `body_age_s` before this call."""
        arrived_at = self._clock()
        while True:
            known = self._known
            if known is not None and known.began_at >= arrived_at - self._settings.body_age_s:
                return known
            if self._loading is None:
                self._loading = asyncio.create_task(self._load())
                self._loading.add_done_callback(self._loaded)
            loaded = await asyncio.shield(self._loading)
            if loaded.began_at >= arrived_at:
                return loaded

    def _loaded(self, task: asyncio.Task[_Known]) -> None:
        self._loading = None
        if not task.cancelled():
            task.exception()  # heard by those who wait; when all have gone, that is no fault

    async def _load(self) -> _Known:
        began_at = self._clock()
        changes = self._changes
        view = await self._views.exams(self._fill)
        before = self._before
        same = before is not None and before.body == view.body
        exams = before.exams if before and same else {exam.hubspot_id: exam for exam in _decoder.decode(view.body)}
        gates, complete = await self._gates_of(exams)
        self._counts.learn(gates)
        self._counts.keep_only(exams)
        known = _Known(exams, view.body, view.stale or not complete, began_at)
        self._before = known
        if changes == self._changes:
            self._known = known
            self._forget_bodies()
        return known

    async def _fill(self) -> bytes:
        return _encoder.encode(await self._mirror.exams())

    async def _gates_of(self, exam_ids: Collection[ExamId]) -> tuple[list[Gate], bool]:
        """The gates of these exams, and whether both stores together could be asked."""
        found = await self._gates.look(exam_ids)
        absent = [exam_id for exam_id in exam_ids if exam_id not in found]
        if not absent:
            return list(found.values()), True
        try:
            return [*found.values(), *await self._ledger_looks.submit(absent)], True
        except Unavailable:
            return list(found.values()), False

    async def _ask_ledger(self, asked: Sequence[Collection[ExamId]]) -> list[list[Gate]]:
        gates = await self._ledger.gates(list({exam_id: None for exam_ids in asked for exam_id in exam_ids}))
        await self._gates.put(gates)
        by_id = {gate.exam_id: gate for gate in gates}
        return [[by_id[exam_id] for exam_id in exam_ids if exam_id in by_id] for exam_ids in asked]

    def _listed(self, known: _Known) -> list[tuple[Exam, bytes]]:
        """The exams on show with their JSON, made anew only for those that changed."""
        if self._shown is not None and self._known is known:
            return self._shown
        now = self._now(self._zone)
        shown = [(exam, self._fragment(exam, now)) for exam in known.exams.values() if _on_show(exam, now)]
        self._fragments = {exam.hubspot_id: self._fragments[exam.hubspot_id] for exam, _ in shown}
        if self._known is known:
            self._shown = shown
        return shown

    def _fragment(self, exam: Exam, now: datetime) -> bytes:
        gate = self._counts.get(exam.hubspot_id)
        bookable = exam.opens_at is None or exam.opens_at <= now
        made = self._fragments.get(exam.hubspot_id)
        if made is None or made[:3] != (exam, gate, bookable):
            made = (exam, gate, bookable, _encoder.encode(_shown(exam, gate, bookable=bookable)))
            self._fragments[exam.hubspot_id] = made
        return made[3]

    async def _capacity(self, exam_id: ExamId, known: _Known) -> bytes:
        exam, gate, complete = known.exams.get(exam_id), self._counts.get(exam_id), not known.stale
        if exam is None:
            found, complete = await self._gates_of([exam_id])
            self._counts.learn(found)
            gate = self._counts.get(exam_id)
        if exam is None and gate is None:
            raise _not_found() if complete else Unavailable("Seat counts cannot be read just now")
        capacity, taken, remaining = _seats(exam, gate)
        facts: dict[str, object] = {
            "success": True,
            "exam_id": exam_id,
            "capacity": capacity,
            "total_bookings": taken,
            "remaining": remaining,
            "is_full": remaining == 0,
        }
        return _encoder.encode(facts if complete else facts | {"stale": True})


def _on_show(exam: Exam, now: datetime) -> bool:
    """Listed until it starts, by the school's date: at 23:30 today is still today."""
    if exam.exam_date is None or exam.exam_date < now.date():
        return False
    if exam.starts_at is not None and exam.starts_at <= now:
        return False
    return exam.is_active == "active" or (exam.is_active == "scheduled" and exam.opens_at is not None)


def _seats(exam: Exam | None, gate: Gate | None) -> tuple[int, int, int]:
    """Capacity, taken and left: from the gate; while no store knows it, as the mirror last counted."""
    if gate is not None:
        return gate.capacity, max(gate.taken, gate.capacity - gate.remaining), max(gate.remaining, 0)
    assert exam is not None
    return exam.capacity, exam.total_bookings, max(exam.capacity - exam.total_bookings, 0)


def _shown(exam: Exam, gate: Gate | None, *, bookable: bool) -> dict[str, object]:
    capacity, taken, remaining = _seats(exam, gate)
    limited = remaining <= LIMITED_SEATS or remaining <= capacity * LIMITED_SHARE
    return {
        "id": exam.hubspot_id,
        **msgspec.structs.asdict(exam),
        "capacity": capacity,
        "total_bookings": taken,
        "remaining": remaining,
        "status": "full" if remaining == 0 else "limited" if limited else "available",
        "bookable": bookable,
    }


def _folded(text: str | None) -> str | None:
    return text.casefold() if text else None


def _not_found() -> Refused:
    return Refused("There is no such exam", code="EXAM_NOT_FOUND")
