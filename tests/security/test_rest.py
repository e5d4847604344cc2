"""The door to the world, PostgREST behind a gateway: tried with every token; collected in the lane only."""

import time
from collections.abc import AsyncIterator

import aiohttp
import asyncpg
import jwt
import pytest

from tests.contract.servers import Servers

TABLES = ("hubspot_bookings", "hubspot_mock_exams", "hubspot_contacts", "claims", "outbox", "audit_log", "cursors")
CALLS = ("exams", "gates", "claim", "bookings", "mirror", "health")


@pytest.fixture(params=["straight", "gateway"])
async def door(request: pytest.FixtureRequest, servers: Servers) -> AsyncIterator["Door"]:
    async with aiohttp.ClientSession() as session:
        yield Door(session, servers, through_gateway=request.param == "gateway")


class Door:
    """PostgREST, straight or through the gateway. `token` None: nobody."""

    def __init__(self, session: aiohttp.ClientSession, servers: Servers, *, through_gateway: bool) -> None:
        self._session = session
        self.rest = servers.postgrest()
        gateway = servers.gateway()
        self._url = f"{gateway.url}/rest/v1" if through_gateway else self.rest.url
        self._headers = {"apikey": gateway.anon_key} if through_gateway else {}

    async def ask(self, method: str, path: str, token: str | None, **headers: str) -> tuple[int, str]:
        sent = {**self._headers, "Content-Profile": "lastseat_api", **headers}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        body = {"json": {"args": {}}} if method in {"POST", "PATCH"} else {}
        async with self._session.request(method, self._url + path, headers=sent, **body) as reply:
            return reply.status, await reply.text()

    def forged(self, **claims: object) -> str:
        return jwt.encode({"role": "service_role", "exp": time.time() + 60, **claims}, "x" * 32, algorithm="HS256")


def tokens(door: Door) -> dict[str, str | None]:
    return {
        "nobody": None,
        "anon": door.rest.key("anon"),
        "authenticated": door.rest.key("authenticated", sub="1", aud="authenticated"),
    }


async def test_no_token_of_the_public_calls_a_function(door):
    for name, token in tokens(door).items():
        for function in CALLS:
            status, body = await door.ask("POST", f"/rpc/{function}", token)
            assert (name, function, status in {401, 403}) == (name, function, True), body
            status, _ = await door.ask(
                "GET", f"/rpc/{function}?args=%7B%7D", token, **{"Accept-Profile": "lastseat_api"}
            )
            assert status in {401, 403}


async def test_the_service_token_calls_functions_and_sees_no_table(door):
    token = door.rest.key("service_role")
    assert (await door.ask("POST", "/rpc/exams", token))[0] == 200
    for table in TABLES:
        for profile in ("lastseat_api", "hubspot_sync", "public"):
            profiles = {"Accept-Profile": profile, "Content-Profile": profile}
            for method in ("GET", "POST", "PATCH", "DELETE"):
                status, body = await door.ask(method, f"/{table}?id=eq.1", token, **profiles)
                assert status in {404, 406}, (method, table, profile, body)


async def test_a_token_that_was_not_signed_here_is_nobodys(door):
    expired = jwt.encode({"role": "service_role", "exp": 1}, door.rest.secret, algorithm="HS256")
    unsigned = jwt.encode({"role": "service_role"}, None, algorithm="none")
    for token in (door.forged(), expired, unsigned, "nonsense", door.rest.key("service_role")[:-2]):
        assert (await door.ask("POST", "/rpc/exams", token))[0] == 401


async def test_a_token_for_a_role_of_the_server_itself_is_refused(door):
    for role in ("postgres", "authenticator", "pg_read_all_data", "nobody_of_that_name"):
        status, body = await door.ask("POST", "/rpc/exams", door.rest.key(role))
        assert status in {400, 401, 403}, body


async def test_the_description_of_the_api_names_nothing_to_the_public(door):
    for token in tokens(door).values():
        status, body = await door.ask("GET", "/", token, **{"Accept-Profile": "lastseat_api"})
        assert "claim" not in body
        assert status in {200, 401, 403}


async def test_an_opened_function_would_be_seen_here(door, servers):
    """Negative control: with the grant that a guide tells one to make, the public does get in."""
    connection = await asyncpg.connect(servers.postgres(17))
    try:
        await connection.execute("grant usage on schema lastseat_api to anon")
        await connection.execute("grant execute on function lastseat_api.exams to anon")
        assert (await door.ask("POST", "/rpc/exams", door.rest.key("anon")))[0] in {200, 400}
    finally:
        await connection.execute("revoke execute on function lastseat_api.exams from anon")
        await connection.execute("revoke usage on schema lastseat_api from anon")
        await connection.close()


async def test_a_gateway_without_a_key_lets_nobody_through(servers):
    gateway = servers.gateway()
    async with aiohttp.ClientSession() as session:
        for key in ("", "sb_secret_guessed", gateway.secret_key[:-1]):
            headers = {"apikey": key, "Content-Profile": "lastseat_api"}
            async with session.post(f"{gateway.url}/rest/v1/rpc/exams", json={"args": {}}, headers=headers) as reply:
                assert reply.status == 401
