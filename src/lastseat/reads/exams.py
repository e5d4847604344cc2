"""Answers what everybody asks in a rush: which exams there are and how many seats are left; never asks HubSpot.

The list comes from a view and holds no counts; the counts come from the gates. Both are kept in the process for a
tenth of a second and dropped at once by an announcement, so that a crowd shares one body.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from lastseat.errors import Refused, Unavailable
from lastseat.model import Announcement, Exam, ExamId, Gate
from lastseat.ports import Bulletin, Mirror, View, Views
from lastseat.reads.counts import Counts, SeatLooks
from lastseat.reads.edition import Edition
from lastseat.reads.figures import Figures
from lastseat.reads.shown import Filter, folded, listed, on_show, seats
from lastseat.settings import Settings

AHEAD: Final = 0.7  # of a body's time: from here on it is renewed behind the readers
ALL: Final = Filter()

SeatListener = Callable[[Sequence[Gate], bool], None]

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(list[Exam])


class _Known(NamedTuple):
    """The list as it was read, begun at `began_at` on the process's clock; what it says was so at `true_at`."""

    exams: dict[ExamId, Exam]
    body: bytes
    stale: bool
    began_at: float
    true_at: float


_Looked = tuple[list[Gate], bool]


class ExamReads:
    """Complete JSON bodies about exams."""

    def __init__(
        self,
        mirror: Mirror,
        looks: SeatLooks,
        views: Views,
        bulletin: Bulletin,
        settings: Settings,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[ZoneInfo], datetime] = datetime.now,
    ) -> None:
        """`clock` measures ages; `now` tells the time in the school's zone."""
        self._mirror = mirror
        self._looks = looks
        self._views = views
        self._age_s = settings.body_age_s
        self._clock = clock
        self._now = now
        self._zone = ZoneInfo(settings.timezone)
        self._counts = Counts(settings.gate_ttl_s, clock)
        self._known: _Known | None = None
        self._before: _Known | None = None
        self._loading: asyncio.Task[_Known] | None = None
        self._changes = 0
        self._fragments: dict[ExamId, tuple[Exam, Gate | None, bool, bytes]] = {}
        self._edition = Edition()
        self._listeners: list[SeatListener] = []
        self.figures = Figures(lambda: self._edition)
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
        wanted = Filter(folded(mock_type), folded(location), date_from, date_to)
        return self._body(await self._for_reader(), wanted)

    def available_at_hand(self) -> tuple[bytes, Edition] | None:
        """The unfiltered list and the edition that it is of, when no store need be asked for it."""
        known = self._at_hand()
        return None if known is None else (self._body(known, ALL), self._edition)

    async def capacity(self, exam_id: ExamId) -> bytes:
        """`{"success": true, "exam_id", "capacity", "total_bookings", "remaining", "is_full"}`; past exams too."""
        return await self._capacity_of(exam_id, await self._for_reader())

    def capacity_at_hand(self, exam_id: ExamId) -> tuple[bytes, Edition] | None:
        """The same of an exam's capacity."""
        known, edition = self._known, self._edition
        if known is None or exam_id not in known.exams or self._at_hand() is None:
            return None
        body = edition.capacities.get(exam_id)
        if body is None:
            body = _capacity_body(exam_id, known.exams[exam_id], self._counts.get(exam_id), complete=not known.stale)
            edition.keep_capacity(exam_id, body)
        return body, edition

    async def seats_now(self) -> list[Gate]:
        """The seat counts of all listed exams, as they are known."""
        known = await self._current()
        return [gate for exam_id in known.exams if (gate := self._counts.get(exam_id)) is not None]

    async def shown(self) -> bytes:
        """The unfiltered list as a reader would get it now; not counted as an answer."""
        return self._body(await self._current(), ALL)

    def on_show(self, exams: Iterable[Exam]) -> list[Exam]:
        """Those that the list shows now."""
        now = self._now(self._zone)
        return [exam for exam in exams if on_show(exam, now)]

    async def shown_capacity(self, exam_id: ExamId) -> tuple[bytes, Gate | None]:
        """The capacity as a reader would get it now, and the count it should say; not counted as an answer."""
        body = await self._capacity_of(exam_id, await self._current())
        return body, self._counts.get(exam_id)

    def on_seats(self, listener: SeatListener) -> None:
        """Call `listener` with the counts that changed, and whether the list itself did; it must not wait."""
        self._listeners.append(listener)

    def _hear(self, news: Announcement) -> None:
        if news.exams_changed:
            # Race: a load under way may have read before this change; it is then good only for those who wait for it.
            self._changes += 1
            self._known = None
        changed = self._counts.learn(news.gates)
        if changed or news.exams_changed:
            self._begin_edition()
        self._tell(changed, list_changed=news.exams_changed)

    def _tell(self, changed: list[Gate], *, list_changed: bool) -> None:
        """Of listed exams only: of others, which may be many and long past, nobody here shows the seats."""
        if self._before is not None:
            changed = [gate for gate in changed if gate.exam_id in self._before.exams]
        if changed or list_changed:
            for listener in self._listeners:
                listener(changed, list_changed)

    def _begin_edition(self) -> None:
        """From now on nothing is given out again that was made before."""
        known, before = self._known, self._edition
        before.end()
        self.figures.count(before)
        self._edition = Edition() if known is None else Edition(known.true_at, self._unasked_until(known))

    def _unasked_until(self, known: _Known) -> float:
        """Whoever gives this list out again need not ask so long: but then somebody must, so that it is renewed."""
        return known.began_at + self._age_s * AHEAD

    def _at_hand(self) -> _Known | None:
        """The list, if it is young enough; renewed behind the readers before it grows too old."""
        known = self._known
        if known is None:
            return None
        age_s = self._clock() - known.began_at
        if age_s > self._age_s:
            return None
        if age_s > self._age_s * AHEAD and self._loading is None:
            self._begin_to_load()
            self._edition.until = known.began_at + self._age_s  # nobody need ask again meanwhile
        return known

    async def _for_reader(self) -> _Known:
        known = self._at_hand()
        if known is not None:
            self._edition.given_at.append(self._clock())
            return known
        known = await self._current()
        self.figures.waited += 1
        self.figures.ages.note(max(self._clock() - known.true_at, 0.0))
        return known

    async def _current(self) -> _Known:
        """The list, read not longer ago than `body_age_s` before this call."""
        at_hand = self._at_hand()
        if at_hand is not None:
            return at_hand
        arrived_at = self._clock()
        while True:
            loaded = await asyncio.shield(self._loading or self._begin_to_load())
            if loaded.began_at >= arrived_at:
                return loaded
            known = self._known
            if known is not None and known.began_at >= arrived_at - self._age_s:
                return known

    def _begin_to_load(self) -> asyncio.Task[_Known]:
        self._loading = asyncio.create_task(self._load())
        self._loading.add_done_callback(self._loaded)
        return self._loading

    def _loaded(self, task: asyncio.Task[_Known]) -> None:
        self._loading = None
        if not task.cancelled():
            task.exception()  # heard by those who wait; when all have gone, that is no fault

    async def _load(self) -> _Known:
        began_at = self._clock()
        changes = self._changes
        before = self._before
        view, early = await self._view_and_counts(before)
        same = before is not None and before.body == view.body
        exams = before.exams if before and same else {exam.hubspot_id: exam for exam in _decoder.decode(view.body)}
        gates, complete = early if early is not None and same else await self._looks.of(exams)
        changed = self._counts.learn(gates)
        self._counts.keep_only(exams)
        true_at = self._true_at(view, exams, began_at, complete=complete)
        known = _Known(exams, view.body, view.stale or not complete, began_at, true_at)
        self._before = known
        heard = changes != self._changes
        if not heard:
            self._known = known
            self._renew(known, same=same and not changed and before is not None and before.stale == known.stale)
        # Race: an announcement in the middle of this load makes its list old, not its counts: nobody would tell them.
        told = {gate.exam_id: gate for gate in [*changed, *self._newly_listed(before, exams)]}
        self._tell(list(told.values()), list_changed=not heard and not same and before is not None)
        return known

    def _newly_listed(self, before: _Known | None, exams: Iterable[ExamId]) -> list[Gate]:
        fresh = [] if before is None else [exam_id for exam_id in exams if exam_id not in before.exams]
        return [gate for exam_id in fresh if (gate := self._counts.get(exam_id)) is not None]

    async def _view_and_counts(self, before: _Known | None) -> tuple[View, _Looked | None]:
        """The list hardly ever changes: the counts of the one before are asked for with it, in the same trip."""
        if before is None:
            return await self._views.exams(self._fill), None
        return await asyncio.gather(self._views.exams(self._fill), self._looks.of(before.exams))

    def _true_at(self, view: View, exams: Iterable[ExamId], began_at: float, *, complete: bool) -> float:
        """A view is true while nobody drops it; a stale one was so when it was filled, a count when it was heard."""
        filled_at = began_at - max(self._now(self._zone).timestamp() - view.filled_at, 0.0)
        heard_at = () if complete else [self._counts.heard_at(exam_id) for exam_id in exams]
        oldest = min((filled_at if at is None else at for at in heard_at), default=began_at)
        return min(filled_at if view.stale else began_at, oldest)

    def _renew(self, known: _Known, *, same: bool) -> None:
        """Keep bodies that would come out the same: their ETags and compressed forms stay good."""
        edition = self._edition
        shown, edition.shown = edition.shown, None
        if same and shown is not None and self._listed(known) == shown:
            self.figures.count(edition)
            edition.true_at, edition.until = known.true_at, self._unasked_until(known)
        else:
            self._begin_edition()

    async def _fill(self) -> bytes:
        self.figures.lists_from_database += 1
        return _encoder.encode(await self._mirror.exams())

    def _body(self, known: _Known, wanted: Filter) -> bytes:
        body = self._edition.bodies.get(wanted)
        if body is None:
            chosen = [fragment for exam, fragment in self._listed(known) if wanted.admits(exam)]
            body = b'{"success":true,"exams":[' + b",".join(chosen) + (b'],"stale":true}' if known.stale else b"]}")
            if self._known is known:
                self._edition.keep_body(wanted, body)
        return body

    def _listed(self, known: _Known) -> list[tuple[Exam, bytes]]:
        """The exams on show with their JSON, made anew only for those that changed."""
        if self._edition.shown is not None and self._known is known:
            return self._edition.shown
        now = self._now(self._zone)
        shown = [(exam, self._fragment(exam, now)) for exam in known.exams.values() if on_show(exam, now)]
        self._fragments = {exam.hubspot_id: self._fragments[exam.hubspot_id] for exam, _ in shown}
        if self._known is known:
            self._edition.shown = shown
        return shown

    def _fragment(self, exam: Exam, now: datetime) -> bytes:
        gate = self._counts.get(exam.hubspot_id)
        bookable = exam.opens_at is None or exam.opens_at <= now
        made = self._fragments.get(exam.hubspot_id)
        if made is None or made[0] is not exam or made[1] is not gate or made[2] != bookable:
            made = (exam, gate, bookable, _encoder.encode(listed(exam, gate, bookable=bookable)))
            self._fragments[exam.hubspot_id] = made
        return made[3]

    async def _capacity_of(self, exam_id: ExamId, known: _Known) -> bytes:
        body = self._edition.capacities.get(exam_id)
        if body is None:
            body = await self._capacity(exam_id, known)
            if exam_id in known.exams and self._known is known:
                self._edition.keep_capacity(exam_id, body)
        return body

    async def _capacity(self, exam_id: ExamId, known: _Known) -> bytes:
        exam, complete = known.exams.get(exam_id), not known.stale
        if exam is None:
            found, complete = await self._looks.of([exam_id])
            self._counts.learn(found)
        gate = self._counts.get(exam_id)
        if exam is None and gate is None:
            raise _not_found() if complete else Unavailable("Seat counts cannot be read just now")
        return _capacity_body(exam_id, exam, gate, complete=complete)


def _capacity_body(exam_id: ExamId, exam: Exam | None, gate: Gate | None, *, complete: bool) -> bytes:
    capacity, taken, remaining = seats(exam, gate)
    facts: dict[str, object] = {
        "success": True,
        "exam_id": exam_id,
        "capacity": capacity,
        "total_bookings": taken,
        "remaining": remaining,
        "is_full": remaining == 0,
    }
    return _encoder.encode(facts if complete else facts | {"stale": True})


def _not_found() -> Refused:
    return Refused("There is no such exam", code="EXAM_NOT_FOUND")
