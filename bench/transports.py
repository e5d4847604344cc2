"""Each read function over both transports, with 16 and 64 callers at once; never through a cache."""

import asyncio
import statistics
import time

from lastseat.errors import SetupError
from lastseat.model import ClaimRequest, ContactId, ExamId
from lastseat.rehearsal.postgrest import EmbeddedPostgrest
from lastseat.stores.postgres import PostgresDatabase
from lastseat.stores.postgrest import PostgrestDatabase
from lastseat.wire import ledger_of
from lastseat.writes.book import mint_ids

CALLERS = (16, 64)
ROUNDS = 25
CONNECTIONS = 6  # as many as a server process has


async def compare(stack, exams, students, say):
    """Milliseconds by transport, function and callers: mean and greatest."""
    results = {}
    postgrest = None
    databases = {
        "direct": PostgresDatabase(stack.embedded.postgres_url, connections=CONNECTIONS, timeout_s=30),
    }
    try:
        postgrest = EmbeddedPostgrest(stack.folder / "postgrest", stack.embedded.postgres_url, say=say)
        await postgrest.start()
        databases["rest"] = PostgrestDatabase(
            postgrest.url, postgrest.key("service_role"), rest_path="", connections=CONNECTIONS, timeout_s=30
        )
    except SetupError as problem:
        say(f"Without REST: {problem}")
    for name, database in databases.items():
        say(f"Reads from Supabase, {name} …")
        results[name] = await _functions(ledger_of(stack.settings, database), exams, students)
        await database.close()
    if postgrest is not None:
        postgrest.stop()
    return results


async def _functions(ledger, exams, students):
    exam_id, contact_id = ExamId(exams[0].exam_id), ContactId(students[0].contact_id)
    claim_id, booking_id = mint_ids()
    claim = ClaimRequest(
        claim_id=claim_id,
        booking_id=booking_id,
        exam_id=exam_id,
        contact_id=contact_id,
        caller="bench",
        request_id="bench",
        properties={},
    )
    asks = {
        "exams": ledger.exams,
        "exam": lambda: ledger.exam(exam_id),
        "gates": ledger.gates,
        "bookings": lambda: ledger.bookings(contact_id),
        "booking": lambda: ledger.booking("LS-0000000000000000"),
        "all_bookings": lambda: ledger.all_bookings(offset=0, limit=20),
        "all_exams": lambda: ledger.all_exams(offset=0, limit=20),
        "staff_exam": lambda: ledger.staff_exam(exam_id),
        "outcomes": lambda: ledger.outcomes([claim.claim_id]),
        "lookup": lambda: ledger.lookup([claim]),
    }
    found = {}
    for name, ask in asks.items():
        await ask()
        found[name] = {f"callers_{callers}": await _timed(ask, callers) for callers in CALLERS}
    return found


async def _timed(ask, callers):
    took_ms = []

    async def caller():
        for _ in range(ROUNDS):
            began = time.perf_counter()
            await ask()
            took_ms.append((time.perf_counter() - began) * 1000)

    await asyncio.gather(*(caller() for _ in range(callers)))
    return {"mean_ms": round(statistics.mean(took_ms), 2), "most_ms": round(max(took_ms), 2)}
