"""The forced sync over HTTP: the PRD's words, for staff with a bearer token only."""

import pytest

from lastseat.errors import Unavailable
from lastseat.web import sync
from lastseat.web.auth import COOKIE, identity_of
from tests.web.caller import ORIGIN, Caller
from tests.web.fakes import EXAM, World, staff

ADDRESS = "/api/admin/sync/force-supabase"
EDITOR = staff("exams.edit")


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_answer_is_the_prds(caller: Caller, world: World, method: str):
    exams = await caller.ask(method, f"{ADDRESS}?type=exams", token=EDITOR)
    bookings = await caller.ask(method, f"{ADDRESS}?type=bookings&examId={EXAM}", token=EDITOR)
    assert (exams.status, exams.json["success"], exams.json["message"]) == (200, True, "Synced 3 exams")
    assert (bookings.json["message"], bookings.json["archived"]) == ("Synced 2 bookings", 1)
    assert world.syncer.asked == [("exams", "staff:clerk"), (f"bookings {EXAM}", "staff:clerk")]


@pytest.mark.parametrize("query", ["", "?type=", "?type=students", "?type=bookings", "?type=bookings&examId=%20"])
async def test_a_wrong_type_is_400_in_the_prds_words(caller: Caller, world: World, query: str):
    reply = await caller.post(f"{ADDRESS}{query}", token=EDITOR)
    assert (reply.status, reply.code) == (400, "INVALID_SYNC_TYPE")
    assert reply.json["error"] == "Invalid sync type. Use type=exams or type=bookings&examId=xxx"
    assert world.syncer.asked == []


@pytest.mark.parametrize("exam_id", ["777", "abc", "1;drop"])
async def test_an_unknown_exam_is_404(caller: Caller, exam_id: str):
    reply = await caller.post(f"{ADDRESS}?type=bookings&examId={exam_id}", token=EDITOR)
    assert (reply.status, reply.code) == (404, "EXAM_NOT_FOUND")


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_cookie_is_not_enough(caller: Caller, world: World, method: str):
    caller.cookies[COOKIE] = EDITOR
    reply = await caller.ask(method, f"{ADDRESS}?type=exams", headers={"origin": ORIGIN})
    assert (reply.status, reply.code) == (401, "UNAUTHENTICATED")
    assert world.syncer.asked == []


async def test_without_that_rule_another_sites_link_would_start_a_sync(
    caller: Caller, world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sync, "bearer_of", identity_of)
    caller.cookies[COOKIE] = EDITOR
    reply = await caller.get(f"{ADDRESS}?type=exams", headers={"referer": "https://elsewhere.example/"})
    assert reply.status == 200
    assert world.syncer.asked == [("exams", "staff:clerk")]


async def test_a_hubspot_that_is_away_is_503_with_a_time(caller: Caller, world: World):
    world.syncer.error = Unavailable("HubSpot did not answer", retry_after_s=7)
    reply = await caller.post(f"{ADDRESS}?type=exams", token=EDITOR)
    assert (reply.status, reply.code, reply.headers["retry-after"]) == (503, "UNAVAILABLE", "7")


async def test_a_process_without_a_way_to_hubspot_says_so(world: World):
    from lastseat.web.app import create_app

    world.syncer = None
    reply = await Caller(create_app(world.services())).post(f"{ADDRESS}?type=exams", token=EDITOR)
    assert reply.status == 503
