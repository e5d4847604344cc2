"""Students who book, cancel and are moved at random, as good clients: the same key until answered; judge nothing."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from lastseat.rehearsal.history import Deed, Said, Viewed
from lastseat.rehearsal.lines import Clock
from lastseat.rehearsal.phone import Pen, Phone, WallClock, Wish
from lastseat.rehearsal.seed import Session, Student, wish
from lastseat.rehearsal.tokens import staff_token, student_token

SEATS_WANTED: Final = 2
DOUBLE: Final = 0.08
"""How often a student presses twice: the same request to two servers at once."""
IMPATIENT: Final = 0.06
"""How often one hangs up on a request under way and asks again."""
STAFF: Final = 0.15
MOVE: Final = 0.25
REPEAT: Final = 0.2
"""How often a pending booking is asked after by sending the same request again, not by its status URL."""
HASTY_S: Final = 0.3
GIVEN: Final = frozenset({201, 202})
AGAIN: Final = frozenset({0, 429, 500, 502, 503, 504})
HELD: Final = frozenset({"Active", "Completed"})
GONE: Final = frozenset({"Cancelled", "Refused", "Failed"})
REFUSALS: Final = frozenset(
    {"SESSION_FULL", "ALREADY_BOOKED", "EXAM_CLOSED", "REFUSED_BY_HUBSPOT", "BOOKING_NOT_ACTIVE"}
)
FULLS: Final = 3
"""So many must hear "full", one after another, before it is believed that no seat is left."""


@dataclass
class Town:
    """What all students share. `playing` ends when the demon has ended; who waits then may go on until `until`."""

    ports: list[int]
    exams: Sequence[Session]
    secret: str
    seed: int
    pen: Pen
    pace_s: float = 0.7
    clock: Clock = field(default_factory=WallClock)
    playing: bool = True
    until: float = float("inf")
    staff: str = ""

    def __post_init__(self) -> None:
        self.staff = staff_token(self.secret)

    @property
    def over(self) -> bool:
        """Whether patience has ended: what is not known by now never will be."""
        return self.clock.now() > self.until


class Client:
    """One student. `held` is what this student believes: booking → exam."""

    def __init__(self, town: Town, who: Student) -> None:
        self._town = town
        self._who = who
        self._dice = random.Random(f"{town.seed}:{who.contact_id}")  # noqa: S311  a rehearsal's chance, no secret
        self._token = student_token(town.secret, who.contact_id)
        self._phone = Phone(town.ports, town.pen, town.clock, self._dice)
        self._wishes = 0
        self.held: dict[str, str] = {}

    async def live(self) -> None:
        """Want something, get it or not, wait a little; until the play ends."""
        await self._pause(self._town.pace_s * 2)
        while self._town.playing:
            await self._step()
            await self._pause(self._town.pace_s)

    def hang_up(self) -> None:
        """Close every line."""
        self._phone.hang_up()

    async def _step(self) -> None:
        if len(self.held) < SEATS_WANTED and (not self.held or self._dice.random() < 0.6):
            await self.book(self._dice.choice(self._others()))
        elif self._dice.random() < MOVE:
            await self._move(self._dice.choice(sorted(self.held)), self._dice.choice(self._others()))
        else:
            await self._cancel(self._dice.choice(sorted(self.held)))

    def _others(self) -> list[Session]:
        return [exam for exam in self._town.exams if exam.exam_id not in self.held.values()]

    async def book(self, exam: Session) -> Said:
        """Ask for a seat until it is known what came of it."""
        body = msgspec.json.encode(wish(exam, self._dice))
        asked = self._wish("book", exam_id=exam.exam_id, body=body)
        if self._dice.random() < DOUBLE:
            both = await asyncio.gather(self._phone.ask(asked), self._phone.ask(asked))
            # One may hear "full" and the other, a moment later, get a seat that became free: then there is a seat.
            said = next((one for one in both if one.status in GIVEN), both[0] if final(both[0]) else both[1])
        else:
            said = await self._phone.ask(asked, patience_s=self._patience_s())
        said = await self._until_answered(asked, said)
        if said.status in GIVEN and said.told is not None:
            await self._keep(asked, said.told, exam.exam_id, pending=said.status == 202)
        return said

    async def _keep(self, asked: Wish, booking_id: str, exam_id: str, *, pending: bool) -> bool:
        if not pending or await self._followed(asked, booking_id, HELD | GONE) in HELD:
            self.held[booking_id] = exam_id
            return True
        return False

    async def _cancel(self, booking_id: str) -> None:
        staff = self._dice.random() < STAFF
        body = msgspec.json.encode({"bookingIds": [booking_id]})
        asked = self._wish("cancel", exam_id=self.held[booking_id], booking_id=booking_id, body=body, staff=staff)
        said = await self._phone.ask(asked, patience_s=self._patience_s())
        said = await self._until_answered(asked, said)
        if said.state == "pending":
            await self._followed(asked, booking_id, GONE)
        del self.held[booking_id]

    async def _move(self, booking_id: str, exam: Session) -> None:
        """Staff moves the booking, as the student asked on the phone."""
        body = msgspec.json.encode({"bookingId": booking_id, "examId": exam.exam_id})
        asked = self._wish("move", exam_id=exam.exam_id, booking_id=booking_id, body=body, staff=True)
        said = await self._phone.ask(asked, patience_s=self._patience_s())
        said = await self._until_answered(asked, said)
        if said.status in GIVEN and said.told is not None:
            if await self._keep(asked, said.told, exam.exam_id, pending=said.status == 202):
                del self.held[booking_id]
        elif said.code == "BOOKING_NOT_ACTIVE":
            del self.held[booking_id]

    async def _until_answered(self, asked: Wish, said: Said) -> Said:
        while not final(said) and not self._town.over:
            await self._pause(0.5)
            said = await self._phone.ask(asked)
        return said

    async def _followed(self, asked: Wish, booking_id: str, wanted: frozenset[str]) -> str | None:
        """Ask after a booking until it is in a state that is wanted; None: never while there was patience."""
        look = Wish(
            deed="status",
            key=asked.key,
            contact_id=asked.contact_id,
            token=self._token,
            exam_id=asked.exam_id,
            booking_id=booking_id,
        )
        while not self._town.over:
            await self._pause(0.8)
            repeat = asked.deed == "book" and self._dice.random() < REPEAT
            said = await self._phone.ask(asked if repeat else look)
            if said.state in wanted:
                return said.state
        return None

    async def looked(self, server: int) -> Viewed:
        """This student's own list, as one server shows it."""
        asked = Wish(deed="list", key="", contact_id=self._who.contact_id, token=self._token)
        reply = await self._phone.send(asked, server)
        rows: list[dict[str, Any]] = []
        if reply.status == 200:
            rows = msgspec.json.decode(reply.body, type=dict[str, Any])["bookings"]
        bookings = {str(row["booking_id"]): str(row.get("is_active")) for row in rows}
        return Viewed(server=server, contact_id=self._who.contact_id, bookings=bookings, status=reply.status)

    def _wish(
        self, deed: Deed, *, exam_id: str, body: bytes, booking_id: str | None = None, staff: bool = False
    ) -> Wish:
        self._wishes += 1
        return Wish(
            deed=deed,
            key=f"{self._town.seed}-{self._who.contact_id}-{self._wishes}",
            contact_id=self._who.contact_id,
            token=self._town.staff if staff else self._token,
            exam_id=exam_id,
            booking_id=booking_id,
            body=body,
            staff=staff,
        )

    def _patience_s(self) -> float:
        return self._dice.uniform(0.02, HASTY_S) if self._dice.random() < IMPATIENT else 8.0

    async def _pause(self, about_s: float) -> None:
        await asyncio.sleep(about_s * self._dice.uniform(0.5, 1.5))


def final(said: Said) -> bool:
    """Whether this answer ends the asking; a conflict that is no refusal means that another try is under way."""
    return said.status not in AGAIN and (said.status != 409 or said.code in REFUSALS)


async def play(clients: Sequence[Client]) -> None:
    """Let all of them live at once until the play ends, and what they began is answered."""
    async with asyncio.TaskGroup() as living:
        for client in clients:
            living.create_task(client.live())


async def take_what_is_free(clients: Sequence[Client], exams: Sequence[Session], dice: random.Random) -> None:
    """Students ask for every seat that is left, until several hear "full" one after another."""
    async with asyncio.TaskGroup() as asking:
        for exam in exams:
            without = [client for client in clients if exam.exam_id not in client.held.values()]
            asking.create_task(_fill(exam, dice.sample(without, len(without))))


async def _fill(exam: Session, clients: Sequence[Client]) -> None:
    fulls = 0
    for client in clients:
        said = await client.book(exam)
        fulls = fulls + 1 if said.code == "SESSION_FULL" else 0
        if fulls == FULLS:
            return
