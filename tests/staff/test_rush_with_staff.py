"""A rush while staff raises, lowers, closes and opens the exam: invariants hold, every answer is documented."""

import asyncio
import time
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from lastseat.evidence import Answer, Evidence, PortalRecord, holds_seat
from lastseat.invariants import check_all
from lastseat.stores.dump import dump_ledger
from lastseat.web.app import create_app
from lastseat.web.openapi import operations
from lastseat.web.problems import STATUS
from tests.staff.world import EXAM, StaffWorld
from tests.web.caller import Caller
from tests.web.fakes import World as Desks
from tests.web.fakes import staff, student

STUDENTS = 150
RUSH_S = 1.2
CLERK = staff("exams.edit", "exams.activate")
CREATE, UPDATE, ACTIVATE = "/api/bookings/create", "/api/admin/mock-exams/update", "/api/admin/mock-exams/activate"
# What staff does, in turn; what would be below the seats sold is refused; it ends open with 100.
TURNS: list[tuple[str, str, dict[str, Any]]] = [
    ("PUT", UPDATE, {"capacity": 60}),
    ("PUT", UPDATE, {"capacity": 25}),
    ("POST", ACTIVATE, {"active": False}),
    ("PUT", UPDATE, {"capacity": 45}),
    ("POST", ACTIVATE, {"active": True}),
    ("PUT", UPDATE, {"capacity": 90}),
    ("PUT", UPDATE, {"capacity": 50}),
    ("PUT", UPDATE, {"is_active": "inactive"}),
    ("PUT", UPDATE, {"is_active": "active", "capacity": 70}),
    ("PUT", UPDATE, {"is_active": "active", "capacity": 100}),
]


@dataclass
class Rush:
    """Students and staff at one application over a real ledger."""

    world: StaffWorld
    app: Any
    answers: list[Answer] = field(default_factory=list)
    said: list[tuple[str, str, int, str | None]] = field(default_factory=list)

    async def ask(self, method: str, path: str, body: dict[str, Any], token: str) -> Any:
        reply = await Caller(self.app).ask(method, path, body={"examId": EXAM, **body}, token=token)
        self.said.append((method, path, reply.status, reply.code))
        return reply

    async def student(self, number: int, ends_at: float) -> None:
        """Tries until there is a seat or the rush is over."""
        contact = str(10_000 + number)
        token = student(contact)
        await asyncio.sleep(RUSH_S * 0.6 * number / STUDENTS)
        while time.time() < ends_at:
            began_at = time.time()
            reply = await self.ask("POST", CREATE, {}, token)
            booking = reply.json.get("booking") or {}
            self.answers.append(
                Answer(
                    contact_id=contact,
                    exam_id=EXAM,
                    sent_at=began_at,
                    ms=(time.time() - began_at) * 1000,
                    status=reply.status,
                    code=reply.code,
                    booking_id=booking.get("booking_id"),
                    shown_contact=booking.get("contact_id"),
                )
            )
            if reply.status in (201, 202):
                return
            await asyncio.sleep(0.05)

    async def staff(self) -> None:
        for method, path, body in TURNS:
            await self.ask(method, path, body, CLERK)
            await asyncio.sleep(RUSH_S * 0.05)

    async def evidence(self, url: str) -> Evidence:
        records = [
            PortalRecord(
                hubspot_id=record["id"],
                key=key,
                exam_id=record["mock_exam_id"],
                contact_id=record["contact_id"],
                holds=holds_seat(record.get("booking_status"), record.get("is_active")),
            )
            for key, record in self.world.hubspot.records.items()
        ]
        gates = await self.world.ledger.gates()
        return Evidence(tables=await dump_ledger(url), portal=records, gates=gates, answers=self.answers)

    def undocumented(self) -> set[tuple[str, str, int, str | None]]:
        known = operations(demo=False)

        def documented(method: str, path: str, status: int, code: str | None) -> bool:
            operation = known[method, path]
            return (
                status in operation.answers if code is None else code in operation.problems and STATUS[code] == status
            )

        return {said for said in self.said if not documented(*said)}


def broken(evidence: Evidence) -> dict[str, list[str]]:
    return {v.invariant: [f.sentence for f in v.findings] for v in check_all(evidence) if v.broken}


@pytest.fixture
async def rush(schema_database_url):
    world = StaffWorld(schema_database_url)
    services = replace(Desks().services(), booker=world.booker, canceller=world.canceller, changer=world.changer)
    world.start_relay()
    yield Rush(world, create_app(services))
    await world.close()


async def test_a_rush_while_staff_raises_lowers_closes_and_opens_the_exam(rush, schema_database_url):
    await rush.world.exam(40)
    ends_at = time.time() + RUSH_S
    await asyncio.gather(rush.staff(), *(rush.student(number, ends_at) for number in range(STUDENTS)))
    await rush.world.settled()
    evidence = await rush.evidence(schema_database_url)
    assert broken(evidence) == {}
    assert rush.undocumented() == set()
    codes = {answer.code for answer in rush.answers}
    assert codes >= {None, "SESSION_FULL", "EXAM_CLOSED"}, "the rush has met an open, a full and a closed exam"
    capacity, taken, _, opened = await rush.world.seats()
    assert (capacity, opened) == (100, True)
    assert 25 <= taken <= 100
    assert rush.world.hubspot.exams[EXAM]["capacity"] == "100"


async def lower_while_students_book(world: StaffWorld) -> None:
    """Ten are booked; staff lowers 50 to 12, and before HubSpot has answered twenty more try."""
    await world.exam(50)
    await world.book_all(range(10))
    with world.hubspot.hold("exam_update"):
        lowering = world.later(world.update(capacity=12))
        await asyncio.sleep(0.1)
        await world.book_all(range(100, 120))
    await lowering
    await world.settled()


async def test_what_is_lowered_is_not_sold_while_hubspot_is_asked(rush, schema_database_url):
    await lower_while_students_book(rush.world)
    assert await rush.world.seats() == (12, 12, 0, True)
    assert broken(await rush.evidence(schema_database_url)) == {}


async def test_tightening_only_after_hubspots_answer_would_oversell(rush, schema_database_url):
    """The negative control: nothing binds while a change is under way."""
    await rush.world.execute(
        "create or replace function hubspot_sync.bind_exams(exam_ids text[]) returns text[] "
        "language sql as $$ select '{}'::text[] $$"
    )
    await lower_while_students_book(rush.world)
    assert (await rush.world.gate()).taken == 30
    found = broken(await rush.evidence(schema_database_url))
    assert list(found) == ["I1"]
    assert "oversold by 18" in found["I1"][0]
    assert "given when none was left" in found["I1"][0]


async def test_a_capacity_lowered_in_hubspot_itself_is_not_our_fault(rush, schema_database_url):
    await rush.world.exam(50)
    await rush.world.book_all(range(20))
    await rush.world.exam(12)  # somebody edits the record there, and it is mirrored
    await rush.world.settled()
    assert broken(await rush.evidence(schema_database_url)) == {}
    assert await rush.world.book_all([999]) == ["SESSION_FULL"]
