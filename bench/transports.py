"""Each read function over both transports, with 16 and 64 callers at once; never through a cache.

The school has a past: 5,000 bookings of 200 exams, so that a read has something to find and something to pass.
"""

import asyncio
import statistics
import time
from datetime import UTC, datetime, timedelta

from lastseat.errors import SetupError
from lastseat.model import ClaimRequest, ContactId, ExamId, Record
from lastseat.rehearsal.postgrest import EmbeddedPostgrest
from lastseat.stores.postgres import PostgresDatabase
from lastseat.stores.postgrest import PostgrestDatabase
from lastseat.wire import ledger_of
from lastseat.writes.book import mint_ids

CALLERS = (16, 64)
ROUNDS = 25
CONNECTIONS = 6  # as many as a server process has
PAST_EXAMS, PAST_BOOKINGS = 200, 5_000
AT_ONCE = 500


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
    await _remember(ledger_of(stack.settings, databases["direct"]), students)
    for name, database in databases.items():
        say(f"Reads from Supabase, {name} …")
        results[name] = await _functions(ledger_of(stack.settings, database), exams, students)
        await database.close()
    if postgrest is not None:
        postgrest.stop()
    slowest = {
        f"slowest_read_mean_ms_{name}": max(found["callers_16"]["mean_ms"] for found in functions.values())
        for name, functions in results.items()
    }
    return slowest | {"transports": results}


async def _remember(ledger, students):
    """What was booked in the past; nobody reads it in the rush."""
    today = datetime.now(UTC).date()
    exams = [(f"5{n:06d}", (today - timedelta(days=n + 1)).isoformat()) for n in range(PAST_EXAMS)]
    await ledger.mirror(
        exams=[
            _record(
                exam_id,
                mock_exam_name=f"Mock {day}",
                mock_type="Mini-mock",
                exam_date=day,
                start_time="09:00",
                end_time="11:00",
                location="Calgary",
                capacity="40",
                total_bookings="25",
                is_active="active",
            )
            for exam_id, day in exams
        ]
    )
    bookings = [
        _booked(number, students[number % len(students)], *exams[number // (PAST_BOOKINGS // PAST_EXAMS)])
        for number in range(PAST_BOOKINGS)
    ]
    for first in range(0, PAST_BOOKINGS, AT_ONCE):
        await ledger.mirror(bookings=bookings[first : first + AT_ONCE])


def _booked(number, student, exam_id, day):
    return _record(
        f"6{number:06d}",
        booking_id=_reference(number),
        mock_exam_id=exam_id,
        contact_id=student.contact_id,
        student_id=student.properties["student_id"],
        student_name=student.name,
        student_email=student.properties["email"],
        booking_status="confirmed",
        is_active="Active",
        attending_location="Calgary",
        exam_date=day,
    )


def _reference(number):
    return f"LS-{number:016d}"


def _record(hubspot_id, **properties):
    return Record(hubspot_id=hubspot_id, properties=properties)


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
        "booking": lambda: ledger.booking(_reference(0)),
        "all_bookings": lambda: ledger.all_bookings(offset=0, limit=20),
        "all_bookings_deep": lambda: ledger.all_bookings(offset=PAST_BOOKINGS - 100, limit=20),
        "exam_bookings": lambda: ledger.exam_bookings(exam_id, offset=0, limit=20),
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
