"""The requirements' "Testing Checklist", line by line."""

import asyncio
import json
import os
import sys
from datetime import UTC, datetime

from lastseat.model import Record
from lastseat.stores.cursors import UpkeepStore
from tests.beside.school import BOOKINGS, CONTACTS, EXAMS, SECRET, open_school, student, until
from tests.contract.words import booking, exam


def bookings_of(contact_id: str) -> str:
    return f"user:bookings:{contact_id}"


# Setup


async def test_supabase_tables_created_with_indexes(school):
    tables = {
        row["tablename"] for row in await school.rows("select * from pg_tables where schemaname = 'hubspot_sync'")
    }
    assert {"hubspot_bookings", "hubspot_mock_exams", "audit_log"} <= tables
    columns = await school.rows(
        "select table_name, column_name from information_schema.columns where table_schema = 'hubspot_sync'"
    )
    named = {(row["table_name"], row["column_name"]) for row in columns}
    prd = (
        "id hubspot_id booking_id mock_exam_id contact_id student_id student_name student_email booking_status"
        " is_active attendance attending_location exam_date dominant_hand created_at updated_at synced_at"
    )
    assert {("hubspot_bookings", name) for name in prd.split()} <= named
    prd = (
        "id hubspot_id mock_exam_name mock_type exam_date start_time end_time location capacity total_bookings"
        " is_active created_at updated_at synced_at"
    )
    assert {("hubspot_mock_exams", name) for name in prd.split()} <= named
    indexes = await school.rows("select tablename, indexdef from pg_indexes where schemaname = 'hubspot_sync'")
    served = {(row["tablename"], row["indexdef"].partition("(")[2].partition(",")[0].rstrip(")")) for row in indexes}
    assert {
        ("hubspot_bookings", "hubspot_id"),
        ("hubspot_bookings", "mock_exam_id"),
        ("hubspot_bookings", "contact_id"),
        ("hubspot_mock_exams", "hubspot_id"),
    } <= served


async def test_supabase_data_js_helper_created(school):
    """Each function of the PRD's helper has its counterpart, which does what its name says."""
    ledger: UpkeepStore = school.store
    await ledger.mirror(exams=[exam("501")], bookings=[booking("7001", exam_id="501", contact="9")])
    assert (await ledger.exam_records("501"))[0] == ["7001"]  # getBookingsFromSupabase
    assert [found.hubspot_id for found in await ledger.exams()] == ["501"]  # getExamsFromSupabase
    assert (await ledger.exam("501")).capacity == 2  # getExamByIdFromSupabase
    assert await ledger.exam("999") is None
    assert [b.hubspot_id for b in await ledger.bookings("9")] == ["7001"]  # getBookingsByContactFromSupabase
    assert (await ledger.booking("7001")).contact_id == "9"  # getBookingByIdFromSupabase
    gone = Record(hubspot_id="7001", properties={}, updated_at=datetime.now(UTC), archived=True)
    await ledger.mirror(bookings=[gone])  # deleteBookingFromSupabase, kept for the audit
    assert await ledger.booking("7001") is None


async def test_initial_migration_script_run_successfully(schema_database_url, redis_url):
    async with open_school(schema_database_url, redis_url) as school:
        exam_id = await school.portal.make(EXAMS, mock_exam_name="Old", exam_date="2031-03-05", capacity="5")
        contact_id = await school.portal.make(CONTACTS, email="a@students.example", firstname="Zoë")
        await school.portal.make(
            BOOKINGS, booking_id="OLD-1", mock_exam_id=exam_id, contact_id=contact_id, is_active="Active"
        )
        environment = {
            **{name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "PYTHONPATH"}},
            "SUPABASE_DB_URL": schema_database_url,
            "REDIS_URL": redis_url,
            "HUBSPOT_BASE_URL": school.portal.url,
            "HUBSPOT_ACCESS_TOKEN": "pat-demo",
            "SUPABASE_JWT_SECRET": SECRET,
        }
        script = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "lastseat", "backfill", "--json"),
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await script.communicate()
        assert script.returncode == 0, err.decode()
        assert json.loads(out)["read"]["bookings"]["live"] == 1
        assert [b["booking_id"] for b in await school.mine(contact_id)] == ["OLD-1"]
        assert await school.remaining(exam_id) == 4


# Read Flow


async def test_read_endpoint_returns_data_from_supabase(school):
    exam_id = await school.exam(8)
    (shown,) = (await school.listed()).values()
    (row,) = await school.rows("select * from hubspot_sync.hubspot_mock_exams")
    for name in ("hubspot_id", "mock_exam_name", "mock_type", "location", "capacity", "start_time"):
        assert shown[name] == row[name]
    booked = (await school.book("501", exam_id)).json["booking"]
    (mine,) = await school.mine("501")
    one = (await school.caller().get(f"/api/bookings/{booked['hubspot_id']}", token=student("501"))).json["booking"]
    (row,) = await school.rows("select * from hubspot_sync.hubspot_bookings")
    for name in ("hubspot_id", "booking_id", "mock_exam_id", "contact_id", "is_active"):
        assert mine[name] == one[name] == row[name]


async def test_redis_cache_hit_returns_cached_data(school):
    await school.exam()
    first = await school.listed()
    await school.mine("501")
    await asyncio.sleep(0.15)  # longer than a process keeps anything for itself
    school.asked.clear()
    assert await school.listed() == first
    assert await school.mine("501") == []
    assert {"exams", "bookings"}.isdisjoint(school.asked)
    assert await school.redis.ttl("user:exams:available") <= 60
    assert await school.redis.ttl(bookings_of("501")) <= 300


async def test_redis_cache_miss_fetches_from_supabase(school):
    await school.exam()
    await school.listed()
    await school.mine("501")
    await school.redis.flushall()
    await asyncio.sleep(0.15)
    school.asked.clear()
    assert len(await school.listed()) == 1
    assert await school.mine("501") == []
    assert (school.asked.count("exams"), school.asked.count("bookings")) == (1, 1)


async def test_no_hubspot_api_calls_on_reads(school):
    exam_id = await school.exam()
    reference = (await school.book("501", exam_id)).json["booking"]["booking_id"]
    await school.drained()
    before = len(school.calls)
    for _ in range(3):
        await school.redis.flushall()
        await school.listed()
        await school.remaining(exam_id)
        await school.mine("501")
        await school.caller().get(f"/api/bookings/{reference}", token=student("501"))
        await school.caller().get("/api/mock-exams/available?location=Calgary")
        await school.staff("GET", "/api/bookings/list")
    await asyncio.sleep(0.1)
    assert [call.path for call in school.calls[before:]] == []


# Write Flow


async def test_write_goes_to_hubspot_first(schema_database_url, redis_url):
    async with open_school(schema_database_url, redis_url, portal={"latency_ms": 300}) as school:
        exam_id = await school.exam()
        booking = asyncio.create_task(school.book("501", exam_id))

        async def under_way() -> bool:
            return bool(await school.rows("select from hubspot_sync.outbox where kind = 'create' and state = 'sent'"))

        await until(under_way)
        assert await school.rows("select from hubspot_sync.hubspot_bookings") == []
        assert not booking.done()
        assert (await booking).status == 201
        assert set(school.portal.bookings()) == {(await booking).json["booking"]["booking_id"]}


async def test_supabase_synced_after_hubspot_success(school):
    exam_id = await school.exam()
    booked = (await school.book("501", exam_id)).json["booking"]
    (record,) = school.portal.bookings().values()
    (row,) = await school.rows("select * from hubspot_sync.hubspot_bookings")
    assert (row["booking_id"], row["contact_id"], row["mock_exam_id"]) == (
        record["booking_id"],
        record["contact_id"],
        record["mock_exam_id"],
    )
    assert row["hubspot_id"] == booked["hubspot_id"]


async def test_redis_cache_invalidated_by_deleting_the_key(school):
    exam_id = await school.exam()
    await school.mine("501")
    old = await school.redis.get(bookings_of("501"))
    assert old is not None
    booked = await school.book("501", exam_id)
    assert await school.redis.get(bookings_of("501")) != old
    await school.mine("501")
    old = await school.redis.get(bookings_of("501"))
    await school.cancel("501", booked.json["booking"]["booking_id"])
    assert await school.redis.get(bookings_of("501")) != old


async def test_next_read_fetches_fresh_data_from_supabase(school):
    exam_id = await school.exam(5)
    await school.listed()
    await school.mine("501")
    reference = (await school.book("501", exam_id)).json["booking"]["booking_id"]
    assert [b["is_active"] for b in await school.mine("501")] == ["Active"]
    assert (await school.listed())[exam_id]["remaining"] == 4
    await school.cancel("501", reference)
    assert [b["is_active"] for b in await school.mine("501")] == ["Cancelled"]
    assert (await school.listed())[exam_id]["remaining"] == 5


# Edge Cases


async def test_force_sync_endpoint_works(school):
    exam_id = await school.exam(5)
    booked = (await school.book("501", exam_id)).json["booking"]
    await school.drained()
    address = "/api/admin/sync/force-supabase"
    for method in ("GET", "POST"):
        exams = await school.staff(method, f"{address}?type=exams")
        assert (exams.status, exams.json["message"]) == (200, "Synced 1 exams")
        bookings = await school.staff(method, f"{address}?type=bookings&examId={exam_id}")
        assert (bookings.status, bookings.json["message"]) == (200, "Synced 1 bookings")
    assert [b["hubspot_id"] for b in await school.mine("501")] == [booked["hubspot_id"]]
    for wrong in ("", "?type=students", "?type=bookings"):
        answer = await school.staff("POST", address + wrong)
        assert answer.status == 400
        assert answer.json["error"] == "Invalid sync type. Use type=exams or type=bookings&examId=xxx"
    assert (await school.caller().post(f"{address}?type=exams", token=student("501"))).status == 403


async def test_handle_supabase_connection_errors_gracefully(school):
    exam_id = await school.exam(5)
    before = await school.listed()
    await school.mine("501")
    await school.redis.delete("user:exams:available", bookings_of("501"))
    await asyncio.sleep(0.15)
    school.database.away = True
    listed = await school.caller().get("/api/mock-exams/available")
    assert (listed.status, listed.json["stale"]) == (200, True)
    assert {found["id"] for found in listed.json["exams"]} == set(before)
    mine = await school.caller().get("/api/bookings/list", token=student("501"))
    assert (mine.status, mine.json["stale"]) == (200, True)
    refused = await school.book("501", exam_id)
    assert (refused.status, refused.code) == (503, "UNAVAILABLE")
    assert int(refused.headers["retry-after"]) >= 1
    assert school.portal.bookings() == {}

    school.database.away = False

    async def booked() -> bool:
        return (await school.book("501", exam_id)).status == 201

    await until(booked)
    assert await school.remaining(exam_id) == 4


async def test_concurrent_write_operations(school):
    exams = [await school.exam(12), await school.exam(7)]

    async def restless(number: int) -> None:
        contact_id = str(500 + number % 25)
        for exam_id in exams:
            answer = await school.book(contact_id, exam_id)
            assert answer.status in {201, 202, 409}, answer.body
            if answer.status < 300 and number % 3 == 0:
                await school.cancel(contact_id, answer.json["booking"]["booking_id"])

    await asyncio.gather(*(restless(number) for number in range(40)))
    await school.drained()
    counted = await school.rows(
        "select e.seats_taken, e.capacity, (select count(*) from hubspot_sync.hubspot_bookings b"
        " where b.mock_exam_id = e.hubspot_id and b.holds) as held,"
        " (select count(distinct contact_id) from hubspot_sync.hubspot_bookings b"
        " where b.mock_exam_id = e.hubspot_id and b.holds) as students from hubspot_sync.hubspot_mock_exams e"
    )
    assert [row["held"] for row in counted] == [row["seats_taken"] for row in counted]
    assert all(row["held"] == row["students"] <= row["capacity"] for row in counted)
    active = [r for r in school.portal.bookings().values() if r["is_active"] == "Active"]
    assert len(active) == sum(row["held"] for row in counted)
