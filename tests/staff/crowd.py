"""500 students and one clerk at a real site: all over HTTP, judged from what every part wrote down."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import msgspec

from lastseat.evidence import Answer, Budget, Ending, Evidence
from lastseat.invariants import Verdict, check_all
from lastseat.rehearsal.kept import Logged, call_of, portal_records
from lastseat.rehearsal.lines import Clock, Line, Reply, ask, open_lines, request
from lastseat.rehearsal.portal import TOKEN
from lastseat.rehearsal.rehearse import gates_now
from lastseat.rehearsal.seed import Session, Student, rush_school, wish
from lastseat.rehearsal.stack import LocalStack, Plan
from lastseat.rehearsal.tokens import staff_token, student_token
from lastseat.stores.dump import ledger_view
from lastseat.stores.health import health_of
from lastseat.stores.postgres import PostgresDatabase
from lastseat.web.openapi import operations
from lastseat.web.problems import STATUS
from tests.fault.world import until

STUDENTS, WAVES, FIRST_SEATS = 500, 5, 140
LIMIT = 190  # HubSpot's calls per 10 s on a Professional plan
PLAN = Plan(
    hubspot_limit=LIMIT,
    # So long a change is accepted and not acknowledged: a loaded machine still brings a wave into it.
    hubspot_latency_ms=500,
    environment={"LASTSEAT_DEADLINE_S": "5", "LASTSEAT_VERIFY_AFTER_S": "1"},
)
CREATE, UPDATE, ACTIVATE = "/api/bookings/create", "/api/admin/mock-exams/update", "/api/admin/mock-exams/activate"
CAPACITY = "/api/mock-exams/{exam_id}/capacity"
ASKED_FOR = "select count(*) from hubspot_sync.audit_log where operation = 'EXAM_UPDATE'"
PATIENCE_S = 30.0


def body_of(reply: Reply) -> dict[str, Any]:
    return msgspec.json.decode(reply.body) if reply.body else {}


@dataclass
class Crowd:
    """Everybody at one exam. A wave's students try until they have a seat or `over` is set."""

    stack: LocalStack
    port: int
    exam: Session
    students: list[Student]
    lines: list[Line]
    over: asyncio.Event = field(default_factory=asyncio.Event)
    answers: list[Answer] = field(default_factory=list)
    said: set[tuple[str, str, int, str | None]] = field(default_factory=set)
    trying: list[asyncio.Task[None]] = field(default_factory=list)
    seats_at_last: dict[str, Any] = field(default_factory=dict)

    def wave(self, number: int) -> None:
        """Release so many students at once."""
        for place in range(number * STUDENTS // WAVES, (number + 1) * STUDENTS // WAVES):
            self.trying.append(asyncio.create_task(self._try(self.students[place], self.lines[place], place)))

    async def _try(self, student: Student, line: Line, place: int) -> None:
        dice = random.Random(place)
        token, body = student_token(self.stack.secret, student.contact_id), msgspec.json.encode(wish(self.exam, dice))
        sent = request("POST", CREATE, port=self.port, token=token, key=f"wish-{place}", body=body)
        while True:
            async with asyncio.timeout(PATIENCE_S):
                reply = await line.put(sent)
            self._heard(student.contact_id, reply, f"wish-{place}")
            if reply.status in (201, 202) or self.over.is_set():
                return
            await asyncio.sleep(dice.uniform(0.4, 0.8))

    def _heard(self, contact_id: str, reply: Reply, key: str) -> None:
        told = body_of(reply)
        booking = told.get("booking") or {}
        self.said.add(("POST", CREATE, reply.status, told.get("code")))
        self.answers.append(
            Answer(
                contact_id=contact_id,
                exam_id=self.exam.exam_id,
                key=key,
                sent_at=reply.sent_at,
                ms=reply.ms,
                status=reply.status,
                code=told.get("code"),
                booking_id=booking.get("booking_id"),
                shown_contact=booking.get("contact_id"),
                status_url=told.get("statusUrl"),
            )
        )

    async def clerk(self, method: str, path: str, **fields: object) -> dict[str, Any]:
        """One change by staff, to its answer."""
        body = msgspec.json.encode({"examId": self.exam.exam_id, **fields})
        token = staff_token(self.stack.secret)
        reply = await ask(self.port, method, path, token=token, body=body, patience_s=PATIENCE_S)
        told = body_of(reply)
        self.said.add((method, path, reply.status, told.get("code")))
        return told

    async def accepted(self, change: Awaitable[dict[str, Any]], meanwhile: int) -> dict[str, Any]:
        """Release a wave as soon as a change is accepted, while HubSpot has not answered yet."""
        connection = await asyncpg.connect(self.stack.embedded.postgres_url)

        async def changes() -> int:
            return int(await connection.fetchval(ASKED_FOR))

        try:
            before = await changes()
            asked = asyncio.ensure_future(change)

            async def one_more() -> bool:
                return await changes() > before

            await until(one_more, PATIENCE_S)
        finally:
            await connection.close()
        self.wave(meanwhile)
        return await asked

    async def seats(self) -> dict[str, Any]:
        path = CAPACITY.format(exam_id=self.exam.exam_id)
        reply = await ask(self.port, "GET", path, patience_s=PATIENCE_S)
        told = body_of(reply)
        self.said.add(("GET", CAPACITY, reply.status, told.get("code")))
        return told

    async def left(self, wanted: Callable[[int], bool]) -> int:
        """Wait until so many seats are left; returns how many are taken."""

        async def reached() -> bool:
            return wanted((await self.seats())["remaining"])

        await until(reached, PATIENCE_S)
        return (await self.seats())["total_bookings"]

    async def end(self) -> Evidence:
        """Let everybody hear a last answer, wait until HubSpot has everything, and collect what was written down."""
        self.over.set()
        await asyncio.gather(*self.trying)
        self.seats_at_last = await self.seats()
        url = self.stack.embedded.postgres_url

        async def at_rest() -> bool:
            async with ledger_view(url) as view:
                return await view.unfinished() == 0

        await until(at_rest, 2 * PATIENCE_S)
        await self.stack.portal.settle(PATIENCE_S)
        endings = [await self._ending(answer) for answer in self.answers if answer.status == 202]
        settings = self.stack.settings
        state = msgspec.json.decode(await self.stack.portal.state())
        lines = self.stack.portal.log(since=self.stack.opened_at).splitlines()
        async with ledger_view(url) as view:
            tables = await view.dump()
        database = PostgresDatabase(url, connections=1, timeout_s=PATIENCE_S)
        health = await health_of(database)
        await database.close()
        assert self.stack.site is not None
        return Evidence(
            tables=tables,
            exposed=health.exposed,
            portal=portal_records(state, settings.hubspot_booking_type, settings.hubspot_booking_key),
            calls=[call_of(msgspec.json.decode(line, type=Logged)) for line in lines],
            budget=Budget(calls=LIMIT),
            gates=await gates_now(self.stack.embedded.redis_url, [self.exam.exam_id]),
            answers=self.answers,
            endings=endings,
            log_lines=self.stack.site.log().splitlines(),
            secrets=[self.stack.secret, TOKEN],
        )

    async def _ending(self, answer: Answer) -> Ending:
        token = student_token(self.stack.secret, answer.contact_id)
        booking = body_of(await ask(self.port, "GET", answer.status_url or "", token=token))["booking"]
        return Ending(
            contact_id=answer.contact_id,
            exam_id=answer.exam_id,
            booking_id=booking["booking_id"],
            state="booked" if booking["is_active"] == "Active" else "refused",
            at=Clock().now(),
            reason=booking["reason"],
            shown_contact=booking["contact_id"],
        )

    def undocumented(self) -> set[tuple[str, str, int, str | None]]:
        known = operations(demo=False)

        def documented(method: str, path: str, status: int, code: str | None) -> bool:
            operation = known[method, path]
            return (
                status in operation.answers if code is None else code in operation.problems and STATUS[code] == status
            )

        return {one for one in self.said if not documented(*one)}


async def open_crowd(stack: LocalStack) -> Crowd:
    """A site with one exam, and every student connected."""
    school = rush_school(students=STUDENTS, seats=FIRST_SEATS, exams=1, seed=1, timezone=stack.settings.timezone)
    (exam,), students = await stack.fill(school)
    site = await stack.open_site()
    return Crowd(stack, site.port, exam, students, await open_lines(site.port, STUDENTS, Clock()))


async def rush(crowd: Crowd) -> None:
    """Staff raises, lowers, closes and opens the exam; each wave comes while HubSpot has not answered a change."""
    crowd.wave(0)
    taken = await crowd.left(lambda left: left == FIRST_SEATS - STUDENTS // WAVES)
    await crowd.accepted(crowd.clerk("PUT", UPDATE, capacity=taken + 20), 1)  # lowered from 140
    await crowd.clerk("PUT", UPDATE, capacity=260)  # and raised: the second wave gets in
    await crowd.left(lambda left: left == 60)
    await crowd.accepted(crowd.clerk("POST", ACTIVATE, active=False), 2)
    await crowd.clerk("PUT", UPDATE, capacity=taken)  # below the seats sold
    await crowd.clerk("POST", ACTIVATE, active=True)
    await crowd.left(lambda left: left == 0)
    await crowd.accepted(crowd.clerk("PUT", UPDATE, capacity=400), 3)
    taken = await crowd.left(lambda left: left == 0)
    await crowd.clerk("PUT", UPDATE, capacity=480)
    await crowd.accepted(crowd.clerk("PUT", UPDATE, capacity=taken + 50), 4)
    await crowd.left(lambda left: left == 0)


def broken(verdicts: list[Verdict]) -> dict[str, list[str]]:
    return {v.invariant: [f.sentence for f in v.findings if not f.note] for v in verdicts if v.broken}


async def judged(
    folder: Path, before: Callable[[LocalStack], Awaitable[None]] | None = None
) -> tuple[Crowd, list[Verdict]]:
    """Play the rush on a stack of its own; `before`: what is done to the stack when it stands."""
    async with LocalStack(folder, PLAN) as stack:
        crowd = await open_crowd(stack)
        try:
            if before is not None:
                await before(stack)
            await rush(crowd)
            return crowd, check_all(await crowd.end())
        finally:
            for task in crowd.trying:
                task.cancel()
            for line in crowd.lines:
                line.close()
