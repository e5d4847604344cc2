"""The seat ledger on a real Postgres: who wins, who is told what, and what a lost reply may not change."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from lastseat.model import CancelRequest, ClaimRequest, Record
from lastseat.stores.hubspot_codec import Codec
from lastseat.stores.ledger import Ledger
from lastseat.stores.postgres import PostgresDatabase

EXAM = "501"


def exam_record(exam_id=EXAM, *, capacity=2, is_active="active", days=30, at=None):
    day = (datetime.now(UTC) + timedelta(days=days)).date().isoformat()
    return Record(
        hubspot_id=exam_id,
        properties={
            "mock_exam_name": "Mock",
            "mock_type": "Mini-mock",
            "exam_date": day,
            "start_time": "09:00",
            "capacity": str(capacity),
            "is_active": is_active,
        },
        updated_at=at or datetime.now(UTC),
    )


def wish(contact="1", exam=EXAM, **fields):
    claim_id = str(uuid.uuid4())
    values = {
        "claim_id": claim_id,
        "booking_id": f"LS-{claim_id[:8]}",
        "exam_id": exam,
        "contact_id": contact,
        "caller": f"student:{contact}",
        "request_id": "r1",
        "properties": {"dominant_hand": "left"},
    }
    return ClaimRequest(**{**values, **fields})


@pytest.fixture
async def ledger(schema_database_url):
    database = PostgresDatabase(schema_database_url, connections=8, timeout_s=5)
    ledger = Ledger(database, Codec("America/Toronto"), timezone="America/Toronto", verify_after_s=60)
    await ledger.mirror(exams=[exam_record()])
    yield ledger
    await database.close()


async def outcomes(ledger, *wishes):
    return [answer.outcome for answer in await ledger.claim(wishes)]


async def test_seats_go_to_the_first_and_the_rest_hear_full(ledger):
    answers = await ledger.claim([wish("1"), wish("2"), wish("3")])
    assert [a.outcome for a in answers] == ["won", "won", "full"]
    assert answers[0].claim.state == "open"
    assert answers[0].claim.booking.is_active == "Pending"
    assert answers[2].gate.remaining == 0
    assert answers[2].gate.taken == 2


async def test_a_resent_call_finds_its_stored_result(ledger):
    mine = [wish("1"), wish("2")]
    assert await outcomes(ledger, *mine) == ["won", "won"]
    assert await outcomes(ledger, *mine) == ["won", "won"]
    assert (await ledger.gates([EXAM]))[0].taken == 2


async def test_a_double_click_in_one_call_gets_one_seat(ledger):
    assert await outcomes(ledger, wish("1"), wish("1"), wish("2")) == ["won", "already_booked", "won"]


async def test_the_same_key_is_one_booking_and_another_body_is_refused(ledger):
    first = wish("1", key="k", fingerprint="a")
    again = wish("1", key="k", fingerprint="a")
    other = wish("1", key="k", fingerprint="b")
    answers = await ledger.claim([first, again, other])
    assert [a.outcome for a in answers] == ["won", "replay", "key_reused"]
    assert answers[1].claim.booking_id == first.booking_id
    assert await outcomes(ledger, wish("1", key="k", fingerprint="a")) == ["replay"]
    assert await outcomes(ledger, wish("1", key="k", fingerprint="b")) == ["key_reused"]


async def test_keys_of_different_callers_do_not_meet(ledger):
    assert await outcomes(ledger, wish("1", key="k"), wish("2", key="k")) == ["won", "won"]


async def test_a_follower_of_a_loser_hears_full_and_not_already_booked(ledger):
    await outcomes(ledger, wish("1"), wish("2"))
    assert await outcomes(ledger, wish("3", key="k"), wish("3", key="k"), wish("3")) == ["full"] * 3


async def test_a_reused_key_does_not_cost_another_wish_its_seat(ledger):
    await ledger.mirror(exams=[exam_record("502")])
    assert await outcomes(
        ledger, wish("1", key="k", fingerprint="a"), wish("1", "502", key="k", fingerprint="b"), wish("1", "502")
    ) == ["won", "key_reused", "won"]


async def test_unknown_inactive_past_and_unopened_exams_are_told_apart(ledger):
    later = exam_record("505", is_active="scheduled")
    await ledger.mirror(exams=[exam_record("503", is_active="inactive"), exam_record("504", days=-3), later])
    answers = await ledger.claim([wish("1", "999"), wish("1", "503"), wish("1", "504"), wish("1", "505")])
    assert [(a.outcome, a.detail) for a in answers] == [
        ("unknown_exam", None),
        ("closed", "inactive"),
        ("closed", "past"),
        ("closed", "not_open_yet"),
    ]


def without_start(exam_id: str, date: str, start: str | None) -> Record:
    record = exam_record(exam_id)
    record.properties.update(exam_date=date, start_time=start)
    return record


@pytest.mark.parametrize("start", ["", None, "noonish"])
async def test_without_a_readable_start_an_exam_can_be_booked_until_its_day_is_over_at_the_school(ledger, start):
    today = datetime.now(ZoneInfo("America/Toronto")).date()
    over = (today - timedelta(days=1)).isoformat()
    await ledger.mirror(exams=[without_start("507", today.isoformat(), start), without_start("508", over, start)])
    answers = await ledger.claim([wish("1", "507"), wish("1", "508")])
    assert [(a.outcome, a.detail) for a in answers] == [("won", None), ("closed", "past")]
    assert {gate.exam_id: gate.open for gate in await ledger.gates(["507", "508"])} == {"507": True, "508": False}


async def test_at_half_past_eleven_at_night_an_exam_of_today_is_open_and_after_midnight_it_is_not(
    ledger, schema_database_url
):
    now = datetime.now(UTC)
    yesterday_in_utc = (now.date() - timedelta(days=1)).isoformat()
    await ledger.mirror(exams=[without_start("507", yesterday_in_utc, "")])
    connection = await asyncpg.connect(schema_database_url)
    said = []
    for ends, student in ((now + timedelta(minutes=30), "1"), (now, "2")):
        await connection.execute("update hubspot_sync.hubspot_mock_exams set day_ends_at = $1", ends)
        said += [(a.outcome, a.detail) for a in await ledger.claim([wish(student, "507")])]
    await connection.close()
    assert said == [("won", None), ("closed", "past")]


NEEDS = {"mini-mock": ["attending_location", "dominant_hand"], "clinical skills": ["dominant_hand"]}


async def test_a_wish_without_what_its_type_of_session_needs_takes_no_seat(ledger):
    bare = wish("1", needs=NEEDS, properties={})
    place = wish("2", needs=NEEDS, properties={"attending_location": "Calgary"})
    answers = await ledger.claim([bare, place, wish("3", needs={"other": ["dominant_hand"]}, properties={})])
    said = [(a.outcome, a.detail) for a in answers]
    assert said == [("lacks", "attending_location"), ("lacks", "dominant_hand"), ("won", None)]
    assert [a.outcome for a in await ledger.lookup([bare])] == ["lacks"]
    assert (await ledger.gates([EXAM]))[0].taken == 1


async def test_a_repeated_key_finds_its_booking_also_when_more_is_needed_since(ledger):
    await ledger.claim([wish("1", key="k", properties={})])
    assert await outcomes(ledger, wish("1", key="k", properties={}, needs=NEEDS)) == ["replay"]


async def test_concurrent_calls_never_oversell_nor_book_one_student_twice(ledger):
    await ledger.mirror(exams=[exam_record("506", capacity=20)])
    groups = [[wish(str(n % 40), "506") for n in range(k, k + 10)] for k in range(0, 80, 10)]
    answers = await asyncio.gather(*(ledger.claim(group) for group in groups))
    won = [
        w.contact_id
        for g, a in zip(groups, answers, strict=True)
        for w, x in zip(g, a, strict=True)
        if x.outcome == "won"
    ]
    assert len(won) == len(set(won)) == 20


async def test_without_the_lock_before_the_checks_the_last_seat_is_sold_twice(ledger, schema_database_url):
    """Negative control: the same function with its lock taken out."""
    connection = await asyncpg.connect(schema_database_url)
    source = await connection.fetchval("select pg_get_functiondef('lastseat_api.claim(jsonb)'::regprocedure)")
    lock = "perform 1 from hubspot_mock_exams where hubspot_id = any (exam_ids) order by hubspot_id for update;"
    assert lock in source
    # The pause stands where the wait for the lock was: both read the same snapshot.
    await connection.execute(source.replace(lock, "").replace("), first_of_key", ", pg_sleep(0.5)), first_of_key"))
    await connection.close()
    await ledger.mirror(exams=[exam_record("507", capacity=1)])
    await asyncio.gather(*(ledger.gates([EXAM]) for _ in range(6)))  # so that all six have their connection
    answers = await asyncio.gather(*(ledger.claim([wish(str(n), "507")]) for n in range(6)))
    assert sum(a[0].outcome == "won" for a in answers) > 1


async def test_a_gate_version_grows_with_every_seat(ledger):
    before = (await ledger.gates([EXAM]))[0]
    await ledger.claim([wish("1")])
    assert (await ledger.gates([EXAM]))[0].version > before.version


async def test_lookup_answers_as_claim_would_and_gives_nothing(ledger):
    first = wish("1", key="k")
    await ledger.claim([first])
    answers = await ledger.lookup([wish("1", key="k"), wish("1"), wish("2"), wish("2", "999")])
    assert [a.outcome for a in answers] == ["replay", "already_booked", "free", "unknown_exam"]
    await ledger.claim([wish("2")])
    assert [a.outcome for a in await ledger.lookup([wish("3")])] == ["full"]
    assert (await ledger.gates([EXAM]))[0].taken == 2


async def test_an_unsent_claim_is_folded_and_its_seat_is_free_at_once(ledger):
    mine = wish("1")
    await ledger.claim([mine, wish("2")])
    cancel = CancelRequest(reference=mine.booking_id, caller="student:1", request_id="r", owner="1")
    answers, news = await ledger.cancel([cancel, cancel])
    assert [a.outcome for a in answers] == ["cancelled", "already_cancelled"]
    assert news.gates[0].remaining == 1
    assert answers[0].booking.is_active == "Cancelled"
    assert await outcomes(ledger, wish("3")) == ["won"]


async def test_anothers_booking_is_not_found(ledger):
    mine = wish("1")
    await ledger.claim([mine])
    stranger = CancelRequest(reference=mine.booking_id, caller="student:2", request_id="r", owner="2")
    assert [a.outcome for a in (await ledger.cancel([stranger]))[0]] == ["not_found"]


async def test_seat_counts_follow_records_that_come_from_hubspot(ledger):
    at = datetime.now(UTC)
    booking = {"mock_exam_id": EXAM, "contact_id": "9", "is_active": "Active", "booking_id": "old text"}
    record = Record(hubspot_id="7001", properties=booking, updated_at=at)
    news = await ledger.mirror(bookings=[record])
    assert news.gates[0].taken == 1
    assert await outcomes(ledger, wish("9")) == ["already_booked"]
    older = Record(hubspot_id="7001", properties={"is_active": "Cancelled"}, updated_at=at - timedelta(hours=1))
    assert (await ledger.mirror(bookings=[older])).gates[0].taken == 1
    newer = Record(hubspot_id="7001", properties={"is_active": "Cancelled"}, updated_at=at + timedelta(hours=1))
    assert (await ledger.mirror(bookings=[newer])).gates[0].taken == 0
    shown = await ledger.booking("7001")
    assert (shown.is_active, shown.contact_id) == ("Cancelled", "9")  # what was not read is kept


async def test_records_mirrored_before_their_exam_are_counted_when_it_comes(ledger):
    booking = {"mock_exam_id": "508", "contact_id": "9", "is_active": "Active"}
    await ledger.mirror(bookings=[Record(hubspot_id="7002", properties=booking, updated_at=datetime.now(UTC))])
    await ledger.mirror(exams=[exam_record("508")])
    assert (await ledger.gates(["508"]))[0].taken == 1


async def test_hostile_text_is_refused_alone(ledger):
    from lastseat.errors import Refused

    with pytest.raises(Refused):
        await ledger.claim([wish("1", properties={"dominant_hand": "\u0000"})])
    assert await outcomes(ledger, wish("1")) == ["won"]
