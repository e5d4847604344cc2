"""Plays one rush over real HTTP: every student with a warm connection, all released at once; judges nothing."""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

import msgspec

from lastseat.evidence import Answer, Ending
from lastseat.rehearsal.kept import Rush
from lastseat.rehearsal.lines import Clock, Line, Reply, answers, ask, hang_up, open_lines, release, request
from lastseat.rehearsal.seed import Session, Student, spread, wish
from lastseat.rehearsal.tokens import student_token

CREATE: Final = "/api/bookings/create"
LIST: Final = "/api/mock-exams/available"
ANSWER_S: Final = 30.0
POLITE_S: Final = 1.0
ENDED: Final[dict[str, Literal["booked", "refused", "cancelled"]]] = {
    "Active": "booked",
    "Completed": "booked",
    "Refused": "refused",
    "Failed": "refused",
    "Cancelled": "cancelled",
}


@dataclass(frozen=True)
class Shot:
    """One request of one student."""

    student: Student
    exam: Session
    key: str | None
    body: bytes


@dataclass(frozen=True)
class Played:
    """A rush whose answers are all there; the pending ones are still followed by `follow`."""

    rush: Rush
    answers: list[Answer]


class Crowd:
    """The students of one rush and their requests, ready to go."""

    def __init__(
        self,
        number: int,
        students: Sequence[Student],
        exams: Sequence[Session],
        *,
        secret: str,
        seed: int,
        double: bool = False,
    ) -> None:
        self._number = number
        self._students = students
        self._exams = exams
        self._tokens = {one.contact_id: student_token(secret, one.contact_id) for one in students}
        dice = random.Random(f"wishes:{seed}:{number}")  # noqa: S311  made-up wishes, no secret
        self.shots = [
            shot for place, pair in enumerate(spread(students, exams)) for shot in _shots(place, *pair, dice, double)
        ]

    async def rush(self, port: int, *, tick: Callable[[int], None] | None = None) -> Played:
        """Connect and look at the list, as students do; then press the button, all at once."""
        clock = Clock()
        lines = await open_lines(port, len(self.shots), clock)
        await self._warm(lines, port)
        requests = [self._request(shot, port) for shot in self.shots]
        released_at = clock.now()
        futures = release(lines, requests)
        replies = await answers(lines, futures, ANSWER_S, tick)
        hang_up(lines)
        rush = Rush(
            number=self._number,
            released_at=released_at,
            students=len(self._students),
            seats=sum(exam.seats for exam in self._exams),
            exam_ids=[exam.exam_id for exam in self._exams],
        )
        found = [_answer(self._number, shot, reply) for shot, reply in zip(self.shots, replies, strict=True)]
        return Played(rush, found)

    async def _warm(self, lines: Sequence[Line], port: int) -> None:
        asked = [request("GET", LIST, port=port)] * len(lines)
        await answers(lines, release(lines, asked), ANSWER_S)

    def _request(self, shot: Shot, port: int) -> bytes:
        token = self._tokens[shot.student.contact_id]
        return request("POST", CREATE, port=port, token=token, key=shot.key, body=shot.body)

    async def follow(self, played: Played, port: int, patience_s: float) -> list[Ending]:
        """Ask each pending claim's status, politely, until it ends or patience does."""
        pending = {(answer.contact_id, answer.exam_id): answer for answer in played.answers if answer.status == 202}
        # Limit: about a hundred questions a second in all, whatever the number of those who wait.
        pause_s = max(POLITE_S, len(pending) / 100)
        return list(await asyncio.gather(*(self._ending(one, port, pause_s, patience_s) for one in pending.values())))

    async def _ending(self, answer: Answer, port: int, pause_s: float, patience_s: float) -> Ending:
        loop = asyncio.get_running_loop()
        until = loop.time() + patience_s
        token = self._tokens[answer.contact_id]
        while answer.status_url and loop.time() < until:
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311  only to spread the questions
            reply = await ask(port, "GET", answer.status_url, token=token)
            booking = _booking(_decoded(reply))
            state = ENDED.get(str(booking.get("is_active")))
            if state is not None:
                return _ended(answer, booking, state, reply.at)
        return _ended(answer, {}, "lost", Clock().now())


def _shots(place: int, student: Student, exam: Session, dice: random.Random, double: bool) -> list[Shot]:
    body = msgspec.json.encode(wish(exam, dice))
    # The exam is part of the key: the next demo's students, in a session of its own, must not repeat a key.
    key = f"rush-{exam.exam_id}-{dice.getrandbits(64):016x}" if place % 2 == 0 or not double else None
    return [Shot(student, exam, key, body)] * (2 if double else 1)


def _answer(number: int, shot: Shot, reply: Reply) -> Answer:
    body = _decoded(reply)
    booking = _booking(body)
    return Answer(
        rush=number,
        contact_id=shot.student.contact_id,
        exam_id=shot.exam.exam_id,
        key=shot.key,
        sent_at=reply.sent_at,
        ms=round(reply.ms, 3),
        status=reply.status,
        code=body.get("code"),
        booking_id=booking.get("booking_id"),
        shown_contact=booking.get("contact_id"),
        status_url=body.get("statusUrl"),
        error=reply.error or body.get("error"),
    )


def _ended(
    answer: Answer, booking: dict[str, Any], state: Literal["booked", "refused", "cancelled", "lost"], at: float
) -> Ending:
    return Ending(
        rush=answer.rush,
        contact_id=answer.contact_id,
        exam_id=answer.exam_id,
        booking_id=booking.get("booking_id") or answer.booking_id,
        state=state,
        at=at,
        reason=booking.get("reason"),
        shown_contact=booking.get("contact_id"),
    )


def _decoded(reply: Reply) -> dict[str, Any]:
    """The body as an object; anything else counts as an empty one and is seen by its status."""
    try:
        return msgspec.json.decode(reply.body, type=dict[str, Any])
    except msgspec.MsgspecError:
        return {}


def _booking(body: dict[str, Any]) -> dict[str, Any]:
    booking = body.get("booking")
    return cast("dict[str, Any]", booking) if isinstance(booking, dict) else {}
