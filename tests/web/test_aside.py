"""What HubSpot refused, over HTTP: staff sees the rows with its words, and tries one again."""

import pytest

from lastseat.errors import Refused
from tests.web.caller import Caller
from tests.web.fakes import World, staff

ADDRESS = "/api/admin/set-aside"
CLERK = staff("bookings.create")


async def test_staff_sees_the_rows_with_hubspots_words(caller: Caller):
    reply = await caller.get(f"{ADDRESS}?page=1&limit=5", token=staff("bookings.view"))
    assert reply.status == 200
    assert [(row["outbox_id"], row["reason"]) for row in reply.json["rows"]] == [
        (7, "Property values were not valid")
    ]
    assert reply.json["pagination"] == {"page": 1, "limit": 5, "total": 1, "pages": 1}


async def test_a_row_that_is_queued_again_is_accepted(caller: Caller, world: World):
    reply = await caller.post(f"{ADDRESS}/retry", {"outboxId": 7}, token=CLERK)
    assert (reply.status, reply.json["status"], reply.json["row"]["outbox_id"]) == (202, "queued", 7)
    assert world.second_try.asked == [(7, "staff:clerk")]


async def test_a_row_that_has_nothing_left_to_do_is_told_as_such(caller: Caller, world: World):
    world.second_try.outcome = "not_needed"
    reply = await caller.post(f"{ADDRESS}/retry", {"outboxId": 7}, token=CLERK)
    assert (reply.status, reply.json["status"]) == (200, "not_needed")


@pytest.mark.parametrize("code", ["SESSION_FULL", "ALREADY_BOOKED", "EXAM_CLOSED", "NOT_RETRYABLE"])
async def test_a_seat_that_is_gone_is_a_conflict(caller: Caller, world: World, code):
    world.second_try.error = Refused("gone", code=code)
    reply = await caller.post(f"{ADDRESS}/retry", {"outboxId": 7}, token=CLERK)
    assert (reply.status, reply.code) == (409, code)


@pytest.mark.parametrize("body", [{}, {"outboxId": "7"}, {"outboxId": 0}, {"outboxId": 2**63}, {"outboxId": True}])
async def test_a_row_is_named_by_its_number(caller: Caller, world: World, body):
    reply = await caller.post(f"{ADDRESS}/retry", body, token=CLERK)
    assert (reply.status, reply.code) == (422, "INVALID")
    assert world.second_try.asked == []


async def test_an_unknown_row_is_not_found(caller: Caller):
    reply = await caller.post(f"{ADDRESS}/retry", {"outboxId": 8}, token=CLERK)
    assert (reply.status, reply.code) == (404, "NOT_FOUND")
