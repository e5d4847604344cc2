"""Booking over HTTP: what a wish carries, what each outcome answers, and that bad input changes nothing."""

import msgspec
import pytest

from lastseat.errors import Code, LastseatError, Refused, Unavailable, Uncertain
from lastseat.web import contract
from lastseat.web.documents import CancelledBooking, OneBooking, PendingBooking
from tests.web.caller import Caller
from tests.web.fakes import EXAM, FULL_EXAM, STUDENT, World, student

CREATE = "/api/bookings/create"


async def test_a_confirmed_booking_is_201_with_the_booking(caller: Caller):
    reply = await caller.post(CREATE, {"examId": EXAM}, token=student())
    assert reply.status == 201
    booking = msgspec.json.decode(reply.body, type=OneBooking).booking
    assert (booking.mock_exam_id, booking.contact_id, booking.is_active) == (EXAM, STUDENT, "Active")
    assert reply.headers["location"] == f"/api/bookings/{booking.booking_id}"
    assert reply.headers["cache-control"] == "no-store"


async def test_a_held_seat_is_202_with_a_status_address(caller: Caller, world: World):
    world.booker.state = "open"
    reply = await caller.post(CREATE, {"examId": EXAM}, token=student())
    assert reply.status == 202
    answer = msgspec.json.decode(reply.body, type=PendingBooking)
    assert answer.message == "Seat secured, confirming"
    assert answer.statusUrl == reply.headers["location"] == f"/api/bookings/{answer.booking.booking_id}"


async def test_a_repeated_key_may_find_its_booking_cancelled(caller: Caller, world: World):
    world.booker.state = "cancelled"
    reply = await caller.post(CREATE, {"examId": EXAM}, token=student(), headers={"idempotency-key": "k"})
    assert reply.status == 200
    assert msgspec.json.decode(reply.body, type=CancelledBooking).status == "cancelled"


async def test_a_refused_claim_tells_hubspots_words(caller: Caller, world: World):
    world.booker.state, world.booker.reason = "refused", "dominant_hand is read only"
    reply = await caller.post(CREATE, {"examId": EXAM}, token=student())
    assert (reply.status, reply.code) == (409, "REFUSED_BY_HUBSPOT")
    assert "dominant_hand is read only" in reply.json["error"]


async def test_a_full_session_answers_as_the_prd_says(caller: Caller):
    reply = await caller.post(CREATE, {"examId": FULL_EXAM}, token=student())
    assert reply.status == 409
    assert reply.json == {
        "success": False,
        "error": "Session is full",
        "code": "SESSION_FULL",
        "details": {"remaining": 0},
    }


REFUSALS: list[tuple[LastseatError, int, Code]] = [
    (Refused("held", code="ALREADY_BOOKED"), 409, "ALREADY_BOOKED"),
    (Refused("over", code="EXAM_CLOSED"), 409, "EXAM_CLOSED"),
    (Refused("unknown", code="EXAM_NOT_FOUND"), 404, "EXAM_NOT_FOUND"),
    (Refused("other body", code="KEY_REUSED"), 422, "KEY_REUSED"),
    (Unavailable("postgres at 10.0.0.7:5432 is away", retry_after_s=2.2), 503, "UNAVAILABLE"),
    (Uncertain("the reply of 10.0.0.7 was lost"), 503, "UNCERTAIN"),
]


@pytest.mark.parametrize(("error", "status", "code"), REFUSALS, ids=[code for _, _, code in REFUSALS])
async def test_each_refusal_has_its_status(
    caller: Caller, world: World, error: LastseatError, status: int, code: str
):
    world.broken(error)
    reply = await caller.post(CREATE, {"examId": EXAM}, token=student())
    assert (reply.status, reply.code) == (status, code)
    assert b"10.0.0.7" not in reply.body


async def test_unavailable_says_when_to_come_back_and_uncertain_says_how(caller: Caller, world: World):
    world.broken(Unavailable("away", retry_after_s=2.2))
    assert (await caller.post(CREATE, {"examId": EXAM}, token=student())).headers["retry-after"] == "3"
    world.broken(Uncertain("lost"))
    reply = await caller.post(CREATE, {"examId": EXAM}, token=student())
    assert "same request again with the same key" in reply.json["error"]
    assert reply.headers["retry-after"] == "1"


async def test_both_spellings_of_every_field_are_taken_and_normalised(caller: Caller, world: World):
    camel = {
        "examId": int(EXAM),
        "contactId": int(STUDENT),
        "dominantHand": " LEFT ",
        "attendingLocation": " Calgary ",
        "studentId": "TRAINEE0142",
        "name": "Zoë O’Brien",
        "email": "zoe@school.test",
    }
    snake = {
        "exam_id": EXAM,
        "contact_id": STUDENT,
        "dominant_hand": "left",
        "attending_location": "Calgary",
        "student_id": "TRAINEE0142",
        "student_name": "Zoë O’Brien",
        "student_email": "zoe@school.test",
    }
    for body in (camel, snake):
        assert (await caller.post(CREATE, body, token=student())).status == 201
    first, second = world.booker.asked
    expected = {name: value for name, value in snake.items() if name not in ("exam_id", "contact_id")}
    assert first.properties == second.properties == expected
    assert first.exam_id == second.exam_id == EXAM
    assert first.fingerprint == second.fingerprint


async def test_what_the_prds_clients_send_along_is_read_over(caller: Caller, world: World):
    extra = dict.fromkeys(contract.READ_OVER, "whatever \x00")
    assert (await caller.post(CREATE, {"examId": EXAM, **extra}, token=student())).status == 201
    assert world.booker.asked[0].properties == {}


async def test_empty_and_null_fields_count_as_not_sent(caller: Caller, world: World):
    body = {"examId": EXAM, "dominant_hand": "", "attending_location": None, "student_name": "  ", "contactId": ""}
    assert (await caller.post(CREATE, body, token=student())).status == 201
    assert world.booker.asked[0].properties == {}


async def test_another_content_has_another_fingerprint(caller: Caller, world: World):
    for hand in ("left", "right"):
        await caller.post(CREATE, {"examId": EXAM, "dominant_hand": hand}, token=student())
    first, second = world.booker.asked
    assert first.fingerprint != second.fingerprint
    assert first.booking_id != second.booking_id


async def test_the_key_and_the_request_id_reach_the_ledger(caller: Caller, world: World):
    headers = {"idempotency-key": "~a b!", "x-request-id": "page-17"}
    reply = await caller.post(CREATE, {"examId": EXAM}, token=student(), headers=headers)
    assert reply.headers["x-request-id"] == "page-17"
    assert (world.booker.asked[0].key, world.booker.asked[0].request_id) == ("~a b!", "page-17")


BAD: dict[str, tuple[object, str]] = {
    "a control character": ({"student_name": "a\x00b"}, "student_name"),
    "a line break": ({"student_name": "a\nb"}, "student_name"),
    "a C1 control character": ({"attending_location": "a\x85"}, "attending_location"),
    "a lone surrogate": ({"name": "a\ud800"}, "name"),
    "a lone surrogate in the hand": ({"dominantHand": "\udfff"}, "dominantHand"),
    "too long a text": ({"attendingLocation": "x" * 201}, "attendingLocation"),
    "a number for a name": ({"student_name": 5}, "student_name"),
    "an object for a name": ({"student_name": {"a": 1}}, "student_name"),
    "neither hand": ({"dominant_hand": "both"}, "dominant_hand"),
    "true for a hand": ({"dominant_hand": True}, "dominant_hand"),
    "no address": ({"student_email": "zoe"}, "student_email"),
    "an exam that is no id": ({"examId": "9001a"}, "examId"),
    "an exam of 21 digits": ({"examId": "1" * 21}, "examId"),
    "a huge number": ({"examId": 10**25}, "examId"),
    "a negative number": ({"examId": -1}, "examId"),
    "zero": ({"examId": 0}, "examId"),
    "a fraction": ({"examId": 1.5}, "examId"),
    "true": ({"examId": True}, "examId"),
    "a list": ({"examId": [EXAM]}, "examId"),
    "an empty exam": ({"examId": ""}, "examId"),
    "null": ({"examId": None}, "examId"),
    "digits of another script": ({"examId": "१२३"}, "examId"),
    "a contact that is no id": ({"contactId": "me"}, "contactId"),
    "an unknown field": ({"priority": 1}, "priority"),
    "an unknown field with a bad name": ({"a\ud800": 1}, "body"),
    "both spellings": ({"student_name": "A", "name": "B"}, "name"),
}


@pytest.mark.parametrize(("change", "field"), BAD.values(), ids=BAD.keys())
async def test_bad_fields_are_422_naming_the_field_and_nothing_is_booked(
    caller: Caller, world: World, change: dict, field: str
):
    reply = await caller.post(CREATE, {"examId": EXAM, **change}, token=student())
    assert (reply.status, reply.code, reply.json["field"]) == (422, "INVALID", field)
    assert field in reply.json["error"]
    assert world.booker.asked == []


async def test_a_missing_exam_is_named(caller: Caller):
    reply = await caller.post(CREATE, {}, token=student())
    assert (reply.status, reply.json["field"]) == (422, "examId")


BODIES = {
    "nothing": b"",
    "broken": b'{"examId": ',
    "not UTF-8": b'{"examId": "\xff"}',
    "UTF-16": '{"examId": "9001"}'.encode("utf-16"),
    "NaN": b'{"examId": NaN}',
    "too deep": b"[" * 30_000,
    "an endless number": b'{"examId": ' + b"9" * 5_000 + b"}",
    "a list": b"[]",
    "a text": b'"9001"',
    "null": b"null",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
async def test_a_body_that_is_no_object_is_422_and_nothing_is_booked(caller: Caller, world: World, body: bytes):
    reply = await caller.post(CREATE, body, token=student())
    assert (reply.status, reply.code, reply.json["field"]) == (422, "INVALID", "body")
    assert world.booker.asked == []


@pytest.mark.parametrize("key", ["", "x" * 256, "clé", "a\tb"])
async def test_a_bad_key_is_422(caller: Caller, world: World, key: str):
    reply = await caller.post(CREATE, {"examId": EXAM}, token=student(), headers={"idempotency-key": key})
    assert (reply.status, reply.json["field"]) == (422, "Idempotency-Key")
    assert world.booker.asked == []


@pytest.mark.parametrize("path", [CREATE, "/api/bookings/batch-cancel"])
async def test_a_body_over_64_kib_is_413_however_it_arrives(caller: Caller, world: World, path: str):
    reply = await caller.post(path, b"x" * (64 * 1024 + 1), token=student())
    assert (reply.status, reply.code) == (413, "TOO_LARGE")
    reply = await caller.post(path, chunks=[b"x" * 1024] * 65, token=student(), headers={"content-length": "10"})
    assert (reply.status, reply.code) == (413, "TOO_LARGE")
    assert world.booker.asked == []


async def test_a_body_of_just_64_kib_is_read(caller: Caller):
    body = b'{"examId": "9001"' + b" " * (64 * 1024 - 18) + b"}"
    assert len(body) == 64 * 1024
    assert (await caller.post(CREATE, body, token=student())).status == 201
