"""What cannot work is refused at start in one line that says the way out, and no line holds a key or a password."""

import asyncio
import base64
import json
import secrets
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from lastseat.errors import Refused, SetupError, Unavailable, Uncertain
from lastseat.stores.health import health_of
from lastseat.stores.postgres import PostgresDatabase
from lastseat.stores.postgrest import PostgrestDatabase
from lastseat.upkeep import schema

SECRET_KEY = "sb_secret_" + secrets.token_hex(12)


def jwt_of(role: str) -> str:
    parts = ({"alg": "HS256", "typ": "JWT"}, {"role": role, "iss": "supabase"})
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, secrets.token_urlsafe(32)])


class Rest:
    """A server that answers as it is told and notes what it was asked; `/elsewhere` is where a redirect leads."""

    def __init__(self) -> None:
        self.asked: list[web.Request] = []
        self.answer = web.json_response
        self.url = ""
        self._body: object = {}
        self._status = 200
        self._headers: dict[str, str] = {}

    def says(self, status: int, body: object = None, **headers: str) -> None:
        self._status, self._body, self._headers = status, body, headers

    async def serve(self, request: web.Request) -> web.Response:
        self.asked.append(request)
        if isinstance(self._body, str):
            return web.Response(status=self._status, text=self._body, content_type="text/html", headers=self._headers)
        return web.json_response(self._body, status=self._status, headers=self._headers)

    def database(self, key: str = SECRET_KEY, timeout_s: float = 2) -> PostgrestDatabase:
        return PostgrestDatabase(self.url, key, rest_path="/rest/v1", connections=2, timeout_s=timeout_s)


@pytest.fixture
async def rest() -> AsyncIterator[Rest]:
    rest = Rest()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", rest.serve)
    async with TestServer(app) as server:
        rest.url = f"http://127.0.0.1:{server.port}"
        yield rest


async def refused_at_start(database) -> str:
    try:
        with pytest.raises(SetupError) as caught:
            await health_of(database)
    finally:
        await database.close()
    assert "\n" not in caught.value.message
    return caught.value.message


async def test_a_good_database_says_what_was_applied_to_it(database):
    health = await health_of(database)
    assert schema.compare(schema.load(), health.applied).current
    assert (health.unprotected_tables, health.exposed) == ([], [])
    assert health.server.partition(".")[0] in {"16", "17", "18"}


async def test_the_name_of_a_transport_says_where_it_leads_and_no_secret(way, database):
    await health_of(database)
    kind = "PostgREST" if way.is_rest else "Postgres"
    assert database.name.startswith(f"{kind} at 127.0.0.1:")
    assert database.name.endswith("through a pooler") == (way.name == "pgbouncer")
    assert "@" not in database.name


async def test_each_key_goes_where_the_gateway_reads_it(rest):
    rest.says(200, {})
    for key in (SECRET_KEY, jwt_of("service_role")):
        database = rest.database(f" {key}\n")  # copied with what stood around it
        await database.call("health", b"{}")
        await database.close()
    new, legacy = (request.headers for request in rest.asked)
    assert (new["apikey"], "Authorization" in new) == (SECRET_KEY, False)
    assert legacy["Authorization"] == f"Bearer {legacy['apikey']}"
    assert {request.path for request in rest.asked} == {"/rest/v1/rpc/health"}
    assert {request.headers["Content-Profile"] for request in rest.asked} == {"lastseat_api"}


@pytest.mark.parametrize("key", ["sb_publishable_abc", jwt_of("anon"), jwt_of("authenticated"), "", "a b", "ключ"])
def test_a_key_that_cannot_be_the_service_key_is_refused_before_any_call(key):
    with pytest.raises(SetupError, match="service_role key") as caught:
        PostgrestDatabase("https://x.supabase.co", key, rest_path="/rest/v1", connections=1, timeout_s=1)
    assert not key or key not in caught.value.message


@pytest.mark.parametrize("url", ["x.supabase.co", "ftp://x", "https://", "http://[::1", "https://x:port"])
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(SetupError, match="SUPABASE_URL cannot be understood"):
        PostgrestDatabase(url, SECRET_KEY, rest_path="/rest/v1", connections=1, timeout_s=1)


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (
            401,
            {"message": "Invalid API key", "hint": "Double check"},
            ["SUPABASE_SERVICE_KEY was refused", "sb_secret_…"],
        ),
        (401, {"code": "PGRST301", "message": "JWT expired"}, ["JWT expired", "sb_secret_…"]),
        (403, {"code": "42501", "message": "permission denied for schema"}, ["SUPABASE_SERVICE_KEY was refused"]),
        (404, {"code": "PGRST202", "message": "no function"}, ["lastseat schema apply"]),
        (406, {"code": "PGRST106", "message": "The schema must be one of"}, ["exposed schemas"]),
        (503, {"code": "PGRST002", "message": "no connection"}, ["503", "Check SUPABASE_URL"]),
        (200, "<html>hello</html>", ["text/html", "Check SUPABASE_URL"]),
        (404, "<html>nothing</html>", ["404", "Check SUPABASE_URL"]),
    ],
)
async def test_what_a_server_answers_becomes_one_line_with_the_way_out(rest, status, body, words):
    rest.says(status, body)
    line = await refused_at_start(rest.database())
    assert [word for word in words if word not in line] == []
    assert SECRET_KEY not in line


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (500, {"code": "XX000", "message": "internal"}, Uncertain),
        (502, "<html>bad gateway</html>", Uncertain),
        (503, {}, Uncertain),
        (504, {"code": "PGRST003", "message": "timed out"}, Uncertain),
        (200, "<html>a page</html>", Uncertain),
        (500, {"code": "40P01", "message": "deadlock detected"}, Uncertain),
        (500, {"code": "57014", "message": "canceling statement due to statement timeout"}, Unavailable),
        (500, {"code": "55P03", "message": "canceling statement due to lock timeout"}, Unavailable),
        (400, {"code": "XX000", "message": "internal"}, Uncertain),
        (400, {"code": "ZZ123", "message": "something new"}, Uncertain),
        (408, {}, Uncertain),
        (400, {"code": "22P05", "message": "unsupported Unicode escape sequence"}, Refused),
        (500, {"code": "54000", "message": "index row size exceeds"}, Refused),
        (409, {"code": "23505", "message": "duplicate key"}, Refused),
        (429, {}, Unavailable),
        (302, {}, Unavailable),
        (401, {}, Unavailable),
    ],
)
async def test_each_answer_is_of_the_kind_that_a_caller_acts_on(rest, status, body, kind):
    rest.says(status, body)
    database = rest.database()
    with pytest.raises(kind):
        await database.call("claim", b"{}")
    await database.close()


async def test_a_redirect_is_not_followed_with_the_key(rest):
    rest.says(307, {}, Location=f"{rest.url}/elsewhere")
    database = rest.database()
    with pytest.raises(Unavailable):
        await database.call("claim", b"{}")
    await database.close()
    assert [request.path for request in rest.asked] == ["/rest/v1/rpc/claim"]


async def test_nobody_listening_is_said_in_one_line():
    closed = "127.0.0.1:9"
    rest = PostgrestDatabase(f"http://{closed}", SECRET_KEY, rest_path="", connections=1, timeout_s=1)
    assert "cannot be reached" in await refused_at_start(rest)
    direct = PostgresDatabase(f"postgresql://u:hidden@{closed}/d", connections=1, timeout_s=1)
    line = await refused_at_start(direct)
    assert "Check SUPABASE_DB_URL" in line
    assert "hidden" not in line


async def test_a_wrong_password_a_wrong_database_and_no_schema_are_told_apart(database_url):
    place = database_url.rpartition("@")[2]
    wrong = {
        f"postgresql://postgres:wrong-word@{place}": "password authentication failed",
        database_url + "_none": "does not exist",
        database_url: "lastseat schema apply",
    }
    for url, words in wrong.items():
        line = await refused_at_start(PostgresDatabase(url, connections=1, timeout_s=3))
        assert words in line
        assert "wrong-word" not in line


def test_a_database_url_that_is_none_is_refused():
    with pytest.raises(SetupError, match="SUPABASE_DB_URL cannot be understood"):
        PostgresDatabase("postgresql://u:p@host:port/d", connections=1, timeout_s=1)


async def test_a_role_without_rights_is_told_who_to_be(direct_way):
    role = f"stranger_{secrets.token_hex(4)}"
    await direct_way.rows(f"create role {role} login password 'x'")
    place = direct_way.owner_url.rpartition("@")[2]
    line = await refused_at_start(PostgresDatabase(f"postgresql://{role}:x@{place}", connections=1, timeout_s=3))
    assert "owner of the schema" in line
    await direct_way.rows(f"drop role {role}")


async def test_a_server_process_that_is_ended_in_the_middle_leaves_the_call_uncertain(direct_way):
    database = direct_way.open()
    await direct_way.rows(
        "create function lastseat_api.slow(args jsonb) returns jsonb language sql as"
        " $$ select jsonb_build_object('slept', pg_sleep(5)::text) $$"
    )
    ended = (
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where pid <> pg_backend_pid() and state = 'active' and query like 'select lastseat_api.slow(%'"
    )
    try:
        call = asyncio.create_task(database.call("slow", b"{}"))
        while not await direct_way.rows(ended):  # noqa: ASYNC110  # the database tells nobody
            await asyncio.sleep(0.02)
        with pytest.raises(Uncertain):
            await call
        assert await database.call("gates", b'{"exam_ids": []}') == b'{"gates": []}'
    finally:
        await direct_way.rows("drop function lastseat_api.slow")
        await database.close()


async def test_statements_have_names_only_where_nobody_stands_between(direct_way):
    database = direct_way.open()
    await health_of(database)
    async with database._pool.acquire() as connection:
        names_kept = connection._con._stmt_cache.get_max_size()
    assert (names_kept == 0) == (direct_way.name == "pgbouncer")
    await database.close()
