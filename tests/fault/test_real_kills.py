"""Kill -9 on real processes in mid-rush: a server that is the relay, Postgres, Valkey, the emulated HubSpot."""

import asyncio
import time
import uuid
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from lastseat.evidence import Answer, Evidence
from lastseat.invariants import check_all
from lastseat.rehearsal.fleet import Fleet
from lastseat.rehearsal.kept import portal_records
from lastseat.rehearsal.seed import rush_school
from lastseat.rehearsal.stack import LocalStack, Plan, in_thread
from lastseat.rehearsal.tokens import student_token
from lastseat.stores.dump import dump_ledger, ledger_view
from tests.embedded_stack import make_open_folder
from tests.fault.world import until

pytestmark = pytest.mark.embedded
SEATS, STUDENTS = 24, 36
QUICK = {
    "LASTSEAT_LEASE_S": "2",
    "LASTSEAT_LEASE_OFFER_S": "0.2",
    "HUBSPOT_TIMEOUT_S": "0.5",
    "LASTSEAT_VERIFY_AFTER_S": "1",
    "LASTSEAT_BACKOFF_MOST_S": "1",
    "LASTSEAT_STORE_TIMEOUT_S": "1",
}


class Crowd:
    """Students who try at every server until they know."""

    def __init__(self, fleet: Fleet, secret: str):
        self.fleet = fleet
        self.secret = secret
        self.answers: list[Answer] = []

    async def book(self, number: int, contact_id: str, exam_id: str) -> str:
        await asyncio.sleep(number * 0.1)
        key, token = uuid.uuid4().hex, student_token(self.secret, contact_id)
        headers = {"authorization": f"Bearer {token}", "idempotency-key": key}
        for turn in range(400):
            port = self.fleet.ports[(number + turn) % len(self.fleet.ports)]
            sent_at = time.time()
            status, said = await asked(port, {"examId": exam_id}, headers)
            self.answers.append(
                Answer(
                    contact_id=contact_id,
                    exam_id=exam_id,
                    key=key,
                    sent_at=sent_at,
                    ms=(time.time() - sent_at) * 1000,
                    status=status,
                    code=said.get("code"),
                    booking_id=(said.get("booking") or {}).get("booking_id"),
                )
            )
            if status in (201, 409):
                return said.get("code") or "booked"
            await asyncio.sleep(0.1)
        raise AssertionError(f"{contact_id} never knew")


async def asked(port: int, body: dict[str, str], headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
    """Status 0 when no answer came."""
    patience = aiohttp.ClientTimeout(total=2.0)
    url = f"http://127.0.0.1:{port}/api/bookings/create"
    try:
        async with (
            aiohttp.ClientSession(timeout=patience) as session,
            session.post(url, json=body, headers=headers) as reply,
        ):
            return reply.status, await reply.json()
    except (aiohttp.ClientError, TimeoutError, OSError):
        return 0, {}


async def test_whatever_is_killed_in_mid_rush_every_promise_holds():
    folder = make_open_folder()
    async with LocalStack(folder, Plan(environment=QUICK, hubspot_limit=200, hubspot_latency_ms=20)) as stack:
        school = rush_school(students=STUDENTS, seats=SEATS, exams=2, seed=1, timezone=stack.settings.timezone)
        exams, students = await stack.fill(school)
        fleet = Fleet(2, stack.environment(), Path(folder))
        try:
            await fleet.start()
            crowd = Crowd(fleet, stack.secret)
            rush = [
                asyncio.create_task(crowd.book(n, student.contact_id, exams[n % 2].exam_id))
                for n, student in enumerate(students)
            ]
            await asyncio.sleep(0.5)
            await kill_one_after_the_other(stack, fleet)
            words = await asyncio.gather(*rush)
            assert words.count("booked") == SEATS
            await at_rest(stack)
            assert await broken(stack, crowd.answers) == []
        finally:
            fleet.stop()


async def kill_one_after_the_other(stack: LocalStack, fleet: Fleet) -> None:
    server, _ = await fleet.relay(stack.embedded.postgres_url, 10)
    await server.kill()
    await asyncio.sleep(0.3)
    for part in (stack.embedded.postgres, stack.embedded.valkey):
        await in_thread(part.kill)
        await asyncio.sleep(0.2)
        await in_thread(part.restart)
        await asyncio.sleep(0.3)
    await server.start()
    await in_thread(stack.portal.kill)
    await asyncio.sleep(0.2)
    await stack.portal.start()


async def at_rest(stack: LocalStack) -> None:
    async def ended() -> bool:
        async with ledger_view(stack.embedded.postgres_url) as view:
            return await view.unfinished() == 0

    await until(ended, 20)
    await stack.portal.settle(5)


async def broken(stack: LocalStack, answers: list[Answer]) -> list[str]:
    state = msgspec.json.decode(await stack.portal.state())
    evidence = Evidence(
        tables=await dump_ledger(stack.embedded.postgres_url),
        portal=portal_records(state, stack.settings.hubspot_booking_type, stack.settings.hubspot_booking_key),
        answers=[answer for answer in answers if answer.status != 202],  # each of them knew in the end
    )
    return [f.sentence for verdict in check_all(evidence) for f in verdict.findings if not f.note]
