"""Tokens under attack: only what the secret's owner signed for us counts, and only while it lasts."""

import base64
import json
import time

import jwt
import pytest

from lastseat.errors import Refused, SetupError
from lastseat.settings import Settings
from lastseat.web import auth
from lastseat.web.app import create_app
from lastseat.web.auth import Tokens
from lastseat.web.roles import PERMISSIONS
from tests.web.caller import ORIGIN, Caller
from tests.web.fakes import EXAM, SECRET, STUDENT, World, staff, student

NOW = int(time.time())
GOOD = {"sub": "u1", "aud": "authenticated", "exp": NOW + 86_400, "contact_id": STUDENT}


def signed(claims: dict, secret: str = SECRET, algorithm: str = "HS256") -> str:
    return jwt.encode(claims, secret, algorithm=algorithm)


def unsigned(claims: dict, algorithm: str) -> str:
    parts = [json.dumps(part).encode() for part in ({"alg": algorithm, "typ": "JWT"}, claims)]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts) + "."


def without(name: str) -> dict:
    return {key: value for key, value in GOOD.items() if key != name}


BAD = {
    "another secret": signed(GOOD, "b" * 40),
    "no signature": unsigned(GOOD, "none"),
    "another algorithm of the same key": signed(GOOD, algorithm="HS512"),
    "ended": signed({**GOOD, "exp": NOW - 60}),
    "without end": signed(without("exp")),
    "not yet begun": signed({**GOOD, "nbf": NOW + 86_400}),
    "another audience": signed({**GOOD, "aud": "anon"}),
    "without audience": signed(without("aud")),
    "without subject": signed(without("sub")),
    "a contact that is no id": signed({**GOOD, "contact_id": "1; drop table"}),
    "a contact that is a list": signed({**GOOD, "contact_id": ["501"]}),
    "no token": "rubbish",
    "empty parts": "..",
    "endless": "x" * 10_000,
    "not ASCII": "tökén",
}


@pytest.mark.parametrize("token", BAD.values(), ids=BAD.keys())
async def test_a_bad_token_is_401_and_never_taken_for_nobody(caller: Caller, token: str):
    reply = await caller.get("/api/bookings/list", token=token)
    assert (reply.status, reply.code) == (401, "UNAUTHENTICATED")
    assert token not in reply.body.decode()


@pytest.mark.parametrize("header", ["Basic dTpw", "Bearer", "Bearer ", "bearer", "a.bare.token", ""])
async def test_a_malformed_authorization_is_401_even_beside_a_good_cookie(caller: Caller, header: str):
    caller.cookies["lastseat_session"] = student()
    assert (await caller.get("/api/bookings/list", headers={"authorization": header})).status == 401


def test_the_contact_is_read_from_the_top_or_from_app_metadata_never_from_user_metadata():
    tokens = Tokens(SECRET)
    bare = without("contact_id")
    assert tokens.verify(signed(GOOD)).identity.contact_id == STUDENT
    assert tokens.verify(signed({**bare, "app_metadata": {"contact_id": 501}})).identity.contact_id == STUDENT
    forged = {"contact_id": "501", "permissions": ["bookings.cancel"]}
    identity = tokens.verify(signed({**bare, "user_metadata": forged})).identity
    assert identity.contact_id is None
    assert not identity.is_staff


def test_permissions_that_we_do_not_know_make_nobody_staff():
    identity = Tokens(SECRET).verify(staff("newsletter.read", "bookings.view")).identity
    assert identity.permissions == {"bookings.view"}
    assert not Tokens(SECRET).verify(signed({**GOOD, "permissions": "bookings.view"})).identity.is_staff


def test_a_verified_token_is_remembered_but_not_past_its_end():
    now = int(time.time())
    clock = [float(now)]
    tokens = Tokens(SECRET, now=lambda: clock[0])
    token = signed({**GOOD, "exp": now + 30})
    first = tokens.verify(token)
    assert tokens.verify(token) is first
    clock[0] = now + 30.0
    assert tokens.verify(token) is not first  # asked again, and PyJWT's own clock still says good


def test_a_bad_token_is_not_remembered_as_good_and_a_changed_one_is_another():
    tokens = Tokens(SECRET)
    token = signed(GOOD)
    tokens.verify(token)
    with pytest.raises(Refused):
        tokens.verify(token[:-2] + ("AA" if token[-2:] != "AA" else "BB"))


def test_the_memory_for_tokens_is_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(auth, "_KNOWN_MOST", 3)
    tokens = Tokens(SECRET)
    for number in range(1, 9):
        tokens.verify(student(str(number)))
    assert len(tokens._known) == 3


async def test_a_cookie_signs_in_like_a_token(caller: Caller, world: World):
    reply = await caller.post("/api/session", {"token": student()}, headers={"origin": ORIGIN})
    assert reply.json["session"]["contact_id"] == STUDENT
    cookie = reply.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "secure" not in cookie
    assert (await caller.get("/api/bookings/list")).status == 200
    booked = await caller.post("/api/bookings/create", {"examId": EXAM}, headers={"origin": ORIGIN})
    assert booked.status == 201


@pytest.mark.parametrize(("scheme", "proxy"), [("https", {}), ("http", {"x-forwarded-proto": "https"})])
async def test_over_https_the_cookie_is_secure(caller: Caller, scheme: str, proxy: dict):
    reply = await caller.post(
        "/api/session", {"token": student()}, headers={"origin": ORIGIN, **proxy}, scheme=scheme
    )
    assert "secure" in reply.headers["set-cookie"].lower()


FOREIGN = [
    {},
    {"origin": "http://evil.test"},
    {"origin": "null"},
    {"origin": "http://school.test.evil.test"},
    {"origin": "http://school.test:81"},
    {"origin": "file://school.test"},
    {"origin": "http://[school.test"},
    {"sec-fetch-site": "cross-site"},
    {"origin": "http://evil.test", "sec-fetch-site": "same-origin"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/bookings/create", {"examId": EXAM}),
        ("POST", "/api/bookings/batch-cancel", {"bookingId": "LS-1"}),
        ("POST", "/api/session", {"token": "any"}),
        ("POST", "/api/demo/session", {"contact_id": STUDENT}),
        ("POST", "/api/demo/session", {"staff": True}),
        ("POST", "/api/admin/sync/run", {"type": "exams"}),
        ("DELETE", "/api/session", None),
    ],
)
async def test_another_sites_page_cannot_use_the_cookie(
    demo: Caller, world: World, method: str, path: str, body: object, headers: dict
):
    demo.cookies["lastseat_session"] = student()
    reply = await demo.ask(method, path, body=body, headers=headers)
    assert (reply.status, reply.code, reply.json["field"]) == (403, "FORBIDDEN", "Origin")
    assert "set-cookie" not in reply.headers
    assert world.booker.asked == []
    assert world.canceller.asked == world.syncer.asked == []


async def test_without_the_origin_check_another_sites_page_would_book(
    caller: Caller, world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(auth, "need_same_origin", lambda request: None)
    caller.cookies["lastseat_session"] = student()
    await caller.post("/api/bookings/create", {"examId": EXAM}, headers={"origin": "http://evil.test"})
    assert len(world.booker.asked) == 1


async def test_a_bearer_token_needs_no_origin(caller: Caller):
    headers = {"origin": "http://evil.test"}
    reply = await caller.post("/api/bookings/create", {"examId": EXAM}, token=student(), headers=headers)
    assert reply.status == 201


async def test_signing_out_takes_the_cookie_away(caller: Caller):
    await caller.post("/api/session", {"token": student()}, headers={"origin": ORIGIN})
    await caller.ask("DELETE", "/api/session", headers={"origin": ORIGIN})
    assert caller.cookies == {}
    assert (await caller.get("/api/session")).json["session"] is None


async def test_the_session_tells_the_page_what_to_ask_and_which_zone_the_school_is_in(world: World):
    settings = {"booking_fields": {"Clinical Skills": ("dominant_hand",)}, "timezone": "America/Vancouver"}
    said = (await Caller(create_app(world.services(**settings))).get("/api/session")).json
    assert said["asks"] == {"Clinical Skills": ["dominant_hand"]}
    assert said["timezone"] == "America/Vancouver"


async def test_a_bad_token_does_not_become_a_cookie(caller: Caller):
    reply = await caller.post("/api/session", {"token": BAD["ended"]}, headers={"origin": ORIGIN})
    assert reply.status == 401
    assert caller.cookies == {}


async def test_an_ended_cookie_shows_nobody_and_is_401_where_somebody_is_needed(caller: Caller):
    caller.cookies["lastseat_session"] = BAD["ended"]
    assert (await caller.get("/api/session")).json["session"] is None
    assert (await caller.get("/api/bookings/list")).status == 401


async def test_the_demo_signs_in_sample_students_only(demo: Caller):
    [sample] = (await demo.get("/api/demo/students")).json["students"]
    origin = {"origin": ORIGIN}
    assert (await demo.post("/api/demo/session", {"contact_id": "999"}, headers=origin)).status == 422
    assert (await demo.post("/api/demo/session", {"contact_id": sample["contact_id"]}, headers=origin)).status == 200
    assert (await demo.get("/api/bookings/list")).status == 200


async def test_the_demo_signs_in_staff_that_may_do_everything(demo: Caller):
    reply = await demo.post("/api/demo/session", {"staff": True}, headers={"origin": ORIGIN})
    assert (reply.status, reply.json["session"]["permissions"]) == (200, sorted(PERMISSIONS))
    assert reply.json["session"]["contact_id"] is None
    assert (await demo.get("/api/admin/mock-exams")).status == 200
    subject = jwt.decode(demo.cookies["lastseat_session"], options={"verify_signature": False})["sub"]
    assert subject == "demo-staff"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "contact_id"),
        ({"contact_id": STUDENT, "staff": True}, "contact_id"),
        ({"staff": False}, "contact_id"),
        ({"staff": "true"}, "staff"),
        ({"staff": 1}, "staff"),
        ({"staff": None}, "staff"),
        ({"staff": True, "permissions": ["exams.edit"]}, "permissions"),
    ],
)
async def test_the_demo_is_told_whom_to_sign_in_in_one_way(demo: Caller, body: dict, field: str):
    reply = await demo.post("/api/demo/session", body, headers={"origin": ORIGIN})
    assert (reply.status, reply.code, reply.json["field"]) == (422, "INVALID", field)
    if field == "contact_id":
        assert reply.json["error"] == "contact_id or staff must be given, one of the two."
    assert demo.cookies == {}


def test_without_a_secret_nothing_starts():
    with pytest.raises(SetupError, match="SUPABASE_JWT_SECRET is not set"):
        create_app(World().services(supabase_jwt_secret=None))
    with pytest.raises(SetupError, match="SUPABASE_JWT_SECRET is not set"):
        create_app(World().services(supabase_jwt_secret=None, demo=True, processes=2))
    with pytest.raises(SetupError, match="too short"):
        create_app(World().services(supabase_jwt_secret="secret"))
    published = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----"
    with pytest.raises(SetupError, match="public key"):
        create_app(World().services(supabase_jwt_secret=published))


def test_a_demo_of_one_process_makes_up_a_secret_of_its_own():
    first, second = (auth.tokens_for(Settings(demo=True)) for _ in range(2))
    token = first.sign(subject="x", ttl_s=60, contact_id="501")
    assert first.verify(token).identity.contact_id == STUDENT
    with pytest.raises(Refused):
        second.verify(token)
