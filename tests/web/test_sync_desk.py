"""The sync for staff's own pages: how it stands for all staff, the forced sync by the cookie, from this site only."""

import msgspec
import pytest

from lastseat.errors import Unavailable
from lastseat.web import auth
from lastseat.web.app import create_app
from lastseat.web.auth import COOKIE
from lastseat.web.documents import SyncDone, SyncState
from tests.web.caller import ORIGIN, Caller
from tests.web.fakes import EXAM, World, staff
from tests.web.test_documents import holds

STATUS, RUN = "/api/admin/sync/status", "/api/admin/sync/run"
EDITOR, VIEWER = staff("exams.edit"), staff("bookings.view")
EXAMS = {"type": "exams"}
FROM_HERE = {"origin": ORIGIN}


async def test_the_status_is_what_the_contract_documents(caller: Caller):
    reply = await caller.get(STATUS, token=VIEWER)
    holds(reply.body, SyncState)
    assert (reply.status, reply.headers["cache-control"], "stale" in reply.json) == (200, "no-store", False)
    assert reply.json["parts"] == (await caller.get("/api/ready")).json["parts"]
    assert reply.json["outbox"][0] == {
        "kind": "create",
        "waiting": 3,
        "sent": 1,
        "oldest_at": "2031-01-02T03:04:05Z",
        "attempts_most": 2,
        "last_error": "no",
    }


async def test_while_supabase_is_away_the_parts_are_told_and_the_rest_is_null(caller: Caller, world: World):
    world.sync_status.error = Unavailable("Supabase is away")
    world.parts["supabase"] = {"ok": False, "detail": "away"}
    reply = await caller.get(STATUS, token=VIEWER)
    holds(reply.body, SyncState)
    assert (reply.status, reply.json["stale"], reply.json["parts"]["supabase"]["ok"]) == (200, True, False)
    asked = ("at", "records", "backfill", "outbox", "aside", "relay")
    assert [reply.json[name] for name in asked] == [None] * len(asked)


async def test_a_process_without_a_ledger_says_so(world: World):
    world.sync_status = None
    assert (await Caller(create_app(world.services())).get(STATUS, token=VIEWER)).status == 503


async def test_a_page_of_ours_syncs_by_the_cookie_and_a_program_by_its_token(caller: Caller, world: World):
    program = await caller.post(RUN, EXAMS, token=EDITOR)
    caller.cookies[COOKIE] = EDITOR
    page = await caller.post(RUN, {"type": "bookings", "examId": int(EXAM)}, headers=FROM_HERE)
    assert (program.status, program.json["message"]) == (200, "Synced 3 exams")
    assert (page.status, page.json["message"], page.json["archived"]) == (200, "Synced 2 bookings", 1)
    assert msgspec.json.decode(page.body, type=SyncDone).synced == 2
    assert world.syncer.asked == [("exams", "staff:clerk"), (f"bookings {EXAM}", "staff:clerk")]


BODIES = [
    ({}, "type"),
    ({"type": "students"}, "type"),
    ({"type": ["exams"]}, "type"),
    ({"type": "bookings"}, "examId"),
    ({"type": "bookings", "examId": " "}, "examId"),
    ({"type": "bookings", "examId": "1;drop"}, "examId"),
    ({"type": "exams", "examId": EXAM}, "examId"),
    ({"type": "exams", "force": True}, "force"),
]


@pytest.mark.parametrize(("body", "field"), BODIES, ids=str)
async def test_a_wrong_wish_is_422_naming_its_field(caller: Caller, world: World, body: dict, field: str):
    reply = await caller.post(RUN, body, token=EDITOR)
    assert (reply.status, reply.code, reply.json["field"]) == (422, "INVALID", field)
    assert world.syncer.asked == []


async def test_an_unknown_exam_is_404_and_a_hubspot_that_is_away_503(caller: Caller, world: World):
    unknown = await caller.post(RUN, {"type": "bookings", "examId": "777"}, token=EDITOR)
    assert (unknown.status, unknown.code) == (404, "EXAM_NOT_FOUND")
    world.syncer.error = Unavailable("HubSpot did not answer", retry_after_s=7)
    away = await caller.post(RUN, EXAMS, token=EDITOR)
    assert (away.status, away.code, away.headers["retry-after"]) == (503, "UNAVAILABLE", "7")


async def test_nobody_syncs_by_a_get(caller: Caller):
    caller.cookies[COOKIE] = EDITOR
    assert (await caller.get(RUN, headers=FROM_HERE)).status == 405


async def test_without_the_origin_check_another_sites_page_would_sync(
    caller: Caller, world: World, monkeypatch: pytest.MonkeyPatch
):
    caller.cookies[COOKIE] = EDITOR
    elsewhere = {"origin": "https://elsewhere.example"}
    assert (await caller.post(RUN, EXAMS, headers=elsewhere)).status == 403
    assert world.syncer.asked == []
    monkeypatch.setattr(auth, "need_same_origin", lambda request: None)
    assert (await caller.post(RUN, EXAMS, headers=elsewhere)).status == 200
