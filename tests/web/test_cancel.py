"""Cancelling over HTTP: each booking its own result, doubles once, and that bad input changes nothing."""

import msgspec
import pytest

from lastseat.errors import Uncertain
from lastseat.web.documents import CancelResults
from tests.web.caller import Caller
from tests.web.fakes import BOOKING, OTHERS_BOOKING, World, staff, student

CANCEL = "/api/bookings/batch-cancel"


async def test_each_booking_has_its_own_result_in_the_order_asked(caller: Caller):
    body = {"bookingIds": [OTHERS_BOOKING, BOOKING, "12345"]}
    reply = await caller.post(CANCEL, body, token=student())
    answer = msgspec.json.decode(reply.body, type=CancelResults)
    assert [(result.bookingId, result.status) for result in answer.results] == [
        (OTHERS_BOOKING, "not_found"),
        (BOOKING, "cancelled"),
        ("12345", "not_found"),
    ]
    assert (answer.summary.total, answer.summary.cancelled, answer.summary.not_found) == (3, 1, 2)
    assert answer.results[0].code == "BOOKING_NOT_FOUND"


async def test_the_prds_single_booking_is_taken_with_all_it_sends(caller: Caller, world: World):
    body = {"bookingId": 12345, "examId": "9001", "contactId": "501"}
    reply = await caller.post(CANCEL, body, token=student())
    assert reply.status == 200
    assert [request.reference for request in world.canceller.asked] == ["12345"]


async def test_a_booking_named_twice_is_cancelled_once(caller: Caller, world: World):
    reply = await caller.post(CANCEL, {"bookingIds": [BOOKING, BOOKING]}, token=student())
    assert len(world.canceller.asked) == 1
    assert len(reply.json["results"]) == 1


@pytest.mark.parametrize(
    ("outcome", "success"),
    [("cancelled", True), ("pending", True), ("already_cancelled", True), ("closed", False)],
)
async def test_each_outcome_is_told(caller: Caller, world: World, outcome: str, success: bool):
    world.canceller.outcome = outcome
    reply = await caller.post(CANCEL, {"bookingId": BOOKING}, token=student())
    result = msgspec.json.decode(reply.body, type=CancelResults).results[0]
    assert (result.success, result.status) == (success, outcome)
    assert reply.json["summary"][outcome] == 1


BAD = {
    "nothing": ({}, "bookingIds"),
    "both": ({"bookingId": BOOKING, "bookingIds": [BOOKING]}, "bookingIds"),
    "an empty list": ({"bookingIds": []}, "bookingIds"),
    "101 bookings": ({"bookingIds": [f"LS-{number}" for number in range(101)]}, "bookingIds"),
    "no list": ({"bookingIds": BOOKING}, "bookingIds"),
    "a control character": ({"bookingIds": [BOOKING, "LS-\x00"]}, "bookingIds.1"),
    "a lone surrogate": ({"bookingIds": ["\ud800"]}, "bookingIds.0"),
    "null": ({"bookingIds": [None]}, "bookingIds.0"),
    "a path": ({"bookingId": "../1"}, "bookingId"),
    "too long": ({"bookingId": "x" * 65}, "bookingId"),
    "an unknown field": ({"bookingId": BOOKING, "force": True}, "force"),
}


@pytest.mark.parametrize(("body", "field"), BAD.values(), ids=BAD.keys())
async def test_bad_wishes_are_422_naming_the_field_and_nothing_is_cancelled(
    caller: Caller, world: World, body: dict, field: str
):
    reply = await caller.post(CANCEL, body, token=student())
    assert (reply.status, reply.code, reply.json["field"]) == (422, "INVALID", field)
    assert world.canceller.asked == []


async def test_100_bookings_are_taken(caller: Caller, world: World):
    body = {"bookingIds": [f"LS-{number}" for number in range(100)]}
    assert (await caller.post(CANCEL, body, token=student())).status == 200
    assert len(world.canceller.asked) == 100


async def test_a_lost_reply_is_uncertain_here_too(caller: Caller, world: World):
    world.broken(Uncertain("lost"))
    reply = await caller.post(CANCEL, {"bookingId": BOOKING}, token=student())
    assert (reply.status, reply.code) == (503, "UNCERTAIN")


async def test_staff_may_limit_a_cancel_to_one_student(caller: Caller, world: World):
    body = {"bookingId": OTHERS_BOOKING, "contactId": "501"}
    reply = await caller.post(CANCEL, body, token=staff("bookings.cancel"))
    assert reply.json["results"][0]["status"] == "not_found"
