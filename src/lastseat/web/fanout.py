"""Brings each change of seats to all open streams of this process at once; never waits for a reader.

One frame a tick is made for everybody. The first change leaves at once; what changes during the pause after it
leaves together. The pause grows so that sending takes no more than a share of the process.
"""

import asyncio
import contextlib
import logging
import random
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Any, Final

import msgspec

from lastseat.errors import LastseatError
from lastseat.model import Announcement, ContactId, ExamId, Gate, Outcome
from lastseat.reads.shown import seats, status
from lastseat.settings import Settings
from lastseat.web.services import LiveExams
from lastseat.web.stopping import when_asked_to_stop

CHUNK: Final = 50  # Limit: streams woken before other requests have their turn
CHUNK_PAUSE_S: Final = 0.001  # about what the server needs to write a chunk; else plain answers queue behind frames
LOOK_S: Final = 1.0  # Limit: how long a change may go unseen while Redis tells nobody
OUTCOMES_MOST: Final = 2_000  # Limit: outcomes kept for students who come back
DIGITS_MOST: Final = 15  # Limit: digits of a frame's number in what a reader says it has seen

log = logging.getLogger("lastseat.web")

_encode = msgspec.json.Encoder().encode


class Stream:
    """One open reader. `due` says what to send next; nothing due means: `wait`."""

    __slots__ = (
        "_waiter",
        "beat",
        "contact_id",
        "dropped",
        "ends_at",
        "number",
        "over",
        "own",
        "sending_since",
        "task",
    )

    def __init__(self, contact_id: ContactId | None, ends_at: float, task: asyncio.Task[Any] | None) -> None:
        self.contact_id = contact_id
        self.ends_at = ends_at
        self.task = task
        self.number = 0
        self.beat = 0
        self.own: list[bytes] = []
        self.over = self.dropped = False
        self.sending_since: float | None = None
        self._waiter: asyncio.Future[None] | None = None

    def wake(self) -> None:
        """Something may be due."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self) -> None:
        """Return when woken."""
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    def end(self) -> None:
        """Let it end as soon as what is being sent has left."""
        self.over = True
        self.wake()


class Fanout:
    """All streams of a process. Frames are numbered; the number is good in this process only."""

    def __init__(self, live: LiveExams, settings: Settings) -> None:
        self._live = live
        self._settings = settings
        self.name = secrets.token_hex(4)
        self._streams: dict[Stream, None] = {}
        self._gates: dict[ExamId, tuple[int, Gate]] = {}
        self._number = 0
        self._list_number = 0
        self._frames: dict[int, bytes] = {}
        self._beat = 0
        self._changed = asyncio.Event()
        self._dirty: dict[ExamId, Gate] = {}
        self._list_changed = False
        self._outcomes: deque[tuple[int, ContactId, bytes]] = deque()
        self._forgotten = -1  # the number of the newest outcome that is kept no more
        self._by_contact: OrderedDict[ContactId, set[Stream]] = OrderedDict()
        self.frames = self.dropped = 0
        self.stuck: set[asyncio.Task[None]] = set()  # each waits for the end of a connection whose reader was dropped
        self.sending_s = 0.0
        self.tick_s = settings.events_tick_s
        live.on_seats(self._seats)

    def __len__(self) -> int:
        return len(self._streams)

    def of(self, contact_id: ContactId) -> int:
        """How many streams this student has open here."""
        return len(self._by_contact.get(contact_id, ()))

    def open(self, stream: Stream, last_event_id: str) -> None:
        """Take it in. Who was here before gets what changed since, anybody else all that is known."""
        number = self._seen(last_event_id)
        known = number is not None
        stream.number = number or 0
        stream.beat = self._beat
        self._streams[stream] = None
        if stream.contact_id is not None:
            self._by_contact.setdefault(stream.contact_id, set()).add(stream)
            if known:
                if self._forgotten >= stream.number:
                    stream.own.append(LOOK_AGAIN)  # it may have been this student's
                stream.own += [
                    frame for n, who, frame in self._outcomes if who == stream.contact_id and n >= stream.number
                ]
            elif last_event_id:
                stream.own.append(LOOK_AGAIN)

    def _seen(self, last_event_id: str) -> int | None:
        """The number of the last frame of ours that this reader has seen; None for whatever else it says."""
        name, _, digits = last_event_id.partition("-")
        if name != self.name or len(digits) > DIGITS_MOST or not digits.isdecimal():
            return None
        number = int(digits)
        return number if number <= self._number else None

    def close(self, stream: Stream) -> None:
        """Forget it."""
        self._streams.pop(stream, None)
        if stream.contact_id is not None:
            theirs = self._by_contact.get(stream.contact_id, set())
            theirs.discard(stream)
            if not theirs:
                self._by_contact.pop(stream.contact_id, None)

    def due(self, stream: Stream) -> bytes:
        """What this reader has not been sent yet, in one piece."""
        parts: list[bytes] = []
        if stream.number < self._number:
            parts.append(self._since(stream.number))
            stream.number = self._number
        if stream.own:
            parts += stream.own
            stream.own = []
        if not parts and stream.beat < self._beat:
            parts.append(ALIVE)
        stream.beat = self._beat
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def hear(self, news: Announcement) -> None:
        """Outcomes go to their students at once; subscribe this to the bulletin."""
        told: set[ContactId] = set()
        for outcome in news.outcomes:
            if outcome.contact_id is not None and outcome.booking_id is not None:
                told.add(outcome.contact_id)
                self._own(outcome.contact_id, _outcome_frame(outcome))
        for contact_id in news.contacts:
            if contact_id not in told:
                self._own(contact_id, LOOK_AGAIN)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Send frames, heartbeats, and end streams that are over, until the process stops."""
        tasks = [asyncio.create_task(work()) for work in (self._send_frames, self._look_after)]
        try:
            with when_asked_to_stop(self.end_all):
                yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            self.end_all()

    def end_all(self) -> None:
        """Let every reader go; browsers come back by themselves, a few seconds later and not all at once."""
        for stream in list(self._streams):
            stream.end()
        for task in self.stuck:
            task.cancel()

    def lines(self, process: str) -> Iterable[str]:
        """In Prometheus' text."""
        for name, kind, what, value in (
            ("streams", "gauge", "Open event streams.", len(self._streams)),
            ("stuck", "gauge", "Connections of dropped readers that have not ended yet.", len(self.stuck)),
            ("frames_total", "counter", "Frames sent to all.", self.frames),
            ("dropped_total", "counter", "Streams ended because their readers took nothing.", self.dropped),
            ("sending_seconds_total", "counter", "CPU used while frames went out.", round(self.sending_s, 3)),
            ("tick_seconds", "gauge", "The present pause between frames.", round(self.tick_s, 4)),
        ):
            yield f"# HELP lastseat_event_{name} {what}"
            yield f"# TYPE lastseat_event_{name} {kind}"
            yield f"lastseat_event_{name}{{{process}}} {value}"

    def _seats(self, gates: Sequence[Gate], list_changed: bool) -> None:
        self._dirty.update((gate.exam_id, gate) for gate in gates)
        self._list_changed = self._list_changed or list_changed
        self._changed.set()

    def _compare(self, listed: Sequence[Gate]) -> None:
        """Send what nobody told of, and forget exams that are listed no more, or every first frame would grow."""
        ids = {gate.exam_id for gate in listed}
        self._gates = {exam_id: known for exam_id, known in self._gates.items() if exam_id in ids}
        self._seats(listed, list_changed=False)

    def _own(self, contact_id: ContactId, frame: bytes) -> None:
        if len(self._outcomes) >= OUTCOMES_MOST:
            self._forgotten = self._outcomes.popleft()[0]
        self._outcomes.append((self._number, contact_id, frame))
        for stream in self._by_contact.get(contact_id, ()):
            stream.own.append(frame)
            stream.wake()

    def _since(self, number: int) -> bytes:
        """The frame for whoever has seen `number`; 0 has seen nothing."""
        frame = self._frames.get(number)
        if frame is None:
            gates = [gate for at, gate in self._gates.values() if at > number]
            list_changed = number > 0 and self._list_number > number
            frame = self._frames[number] = _frame(f"{self.name}-{self._number}", gates, list_changed=list_changed)
        return frame

    async def _send_frames(self) -> None:
        for gate in await self._first_seats():
            self._dirty.setdefault(gate.exam_id, gate)
        self._changed.set()
        while True:
            await self._changed.wait()
            self._changed.clear()
            began, cpu_s = time.monotonic(), time.process_time()
            if not self._take_changes():
                continue
            await self._wake(self._streams)
            self.frames += 1
            spent_s = time.process_time() - cpu_s
            self.sending_s += spent_s
            self.tick_s = max(self._settings.events_tick_s, spent_s / self._settings.events_share)
            await asyncio.sleep(max(0.0, began + self.tick_s - time.monotonic()))

    async def _first_seats(self) -> list[Gate]:
        while True:
            try:
                return await self._live.seats_now()
            except LastseatError as error:
                log.warning("live seats cannot be read yet: %s", error.message)
            except Exception:  # whatever it was, live seats begin when it is over
                log.warning("live seats cannot be read yet", exc_info=True)
            await asyncio.sleep(LOOK_S)

    def _take_changes(self) -> bool:
        """False when readers would see nothing new: a version may grow while the seats stay."""
        dirty, self._dirty = self._dirty, {}
        seen = {exam_id: gate for exam_id, (_, gate) in self._gates.items()}
        changed = [
            gate for exam_id, gate in dirty.items() if exam_id not in seen or _seats(gate) != _seats(seen[exam_id])
        ]
        if not changed and not self._list_changed and self._number:
            return False
        self._number += 1
        self._frames = {}
        for gate in changed:
            self._gates[gate.exam_id] = (self._number, gate)
        if self._list_changed:
            self._list_number, self._list_changed = self._number, False
        return True

    async def _wake(self, streams: Iterable[Stream]) -> None:
        for count, stream in enumerate(list(streams), start=1):
            stream.wake()
            if count % CHUNK == 0:
                await asyncio.sleep(CHUNK_PAUSE_S)
        await asyncio.sleep(0)

    async def _look_after(self) -> None:
        """Each second: end what is over, tell quiet streams that they live, and look for changes nobody told of."""
        beat_at = time.monotonic()
        while True:
            await asyncio.sleep(LOOK_S)
            self._end_what_is_over()
            if time.monotonic() - beat_at >= self._settings.events_heartbeat_s:
                beat_at = time.monotonic()
                self._beat += 1
                await self._wake(self._streams)
            if self._streams:
                try:
                    self._compare(await self._live.seats_now())
                except Exception:  # the next look may find the stores again; readers keep what they saw
                    log.debug("live seats could not be looked at", exc_info=True)

    def _end_what_is_over(self) -> None:
        now, loop_now = time.time(), asyncio.get_running_loop().time()
        for stream in list(self._streams):
            if stream.sending_since is not None and loop_now - stream.sending_since > self._settings.events_slow_s:
                self.dropped += 1
                stream.over = stream.dropped = True
                if stream.task is not None:
                    stream.task.cancel()
            elif now >= stream.ends_at:
                stream.end()


ALIVE: Final = b": alive\n\n"
LOOK_AGAIN: Final = b"event: bookings\ndata: {}\n\n"


def opening() -> bytes:
    """What every stream begins with: when to come back after a loss, not all at once."""
    return b"retry: %d\n\n" % random.randint(1_000, 4_000)  # noqa: S311  # spreads readers, guards nothing


def _frame(event_id: str, gates: Iterable[Gate], *, list_changed: bool) -> bytes:
    body = b"id: %s\nevent: seats\ndata: %s\n\n" % (event_id.encode(), _encode({"exams": [*map(_seats, gates)]}))
    return body + b"event: exams\ndata: {}\n\n" if list_changed else body


def _seats(gate: Gate) -> dict[str, object]:
    capacity, taken, remaining = seats(None, gate)
    return {
        "exam_id": gate.exam_id,
        "capacity": capacity,
        "total_bookings": taken,
        "remaining": remaining,
        "is_full": remaining == 0,
        "status": status(capacity, remaining),
    }


def _outcome_frame(outcome: Outcome) -> bytes:
    said = {
        "booking_id": outcome.booking_id,
        "exam_id": outcome.exam_id,
        "state": outcome.state,
        "reason": outcome.reason,
    }
    return b"event: booking\ndata: %s\n\n" % _encode(said)
