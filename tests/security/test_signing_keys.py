"""The project's signing keys: what they sign is good, what only looks so is not, and an outage changes nothing."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lastseat.errors import Refused
from lastseat.settings import Settings
from lastseat.stores.jwks import PATH, SigningKeys, usable
from lastseat.web.auth import Tokens, tokens_for
from tests.writes.world import until

SECRET = "a secret of this test that is long enough for HS256"
EC, RSA = ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)


def number(value: int, size: int) -> str:
    return base64.urlsafe_b64encode(value.to_bytes(size, "big")).rstrip(b"=").decode()


def published(key: Any, kid: str, **more: Any) -> dict[str, Any]:
    """A public key as a project publishes it."""
    numbers = key.public_key().public_numbers()
    if isinstance(numbers, rsa.RSAPublicNumbers):
        size = key.key_size // 8
        fields = {"kty": "RSA", "alg": "RS256", "n": number(numbers.n, size), "e": number(numbers.e, 3)}
    else:
        size = (key.key_size + 7) // 8
        fields = {
            "kty": "EC",
            "alg": "ES256",
            "crv": "P-256",
            "x": number(numbers.x, size),
            "y": number(numbers.y, size),
        }
    return {"kid": kid, "use": "sig", **fields, **more}


def token(key: Any, algorithm: str, kid: str | None = None, **claims: Any) -> str:
    payload = {"sub": "u1", "aud": "authenticated", "exp": int(time.time()) + 600, "contact_id": "501", **claims}
    return jwt.encode(payload, key, algorithm=algorithm, headers={"kid": kid} if kid else None)


class Project:
    """Supabase Auth's address for keys: `status` and `keys` are what it answers."""

    def __init__(self) -> None:
        self.status = 200
        self.keys = [published(EC, "ec"), published(RSA, "rsa")]
        self.asked = 0

    async def answer(self, _: web.Request) -> web.Response:
        self.asked += 1
        return web.json_response({"keys": self.keys}, status=self.status)


@pytest.fixture
async def project() -> AsyncIterator[tuple[Project, str]]:
    project = Project()
    site = web.Application()
    site.router.add_get(PATH, project.answer)
    server = TestServer(site, host="127.0.0.1")
    await server.start_server()
    yield project, str(server.make_url("/"))
    await server.close()


@pytest.fixture
async def tokens(project: tuple[Project, str]) -> Tokens:
    keys = SigningKeys(project[1])
    await keys.fetch()
    return Tokens(SECRET, keys=keys.find)


def refused(tokens: Tokens, what: str) -> bool:
    try:
        tokens.verify(what)
    except Refused as refusal:
        return refusal.code == "UNAUTHENTICATED"
    return False


def test_both_algorithms_and_the_secret_are_good_side_by_side(tokens: Tokens):
    for good in (token(EC, "ES256", "ec"), token(RSA, "RS256", "rsa"), token(SECRET, "HS256", "old")):
        assert tokens.verify(good).identity.contact_id == "501"
    assert tokens.verify(token(SECRET, "HS256")).identity.contact_id == "501"


def hmac_by(key: Any, kid: str | None, encoded: tuple[Encoding, PublicFormat]) -> str:
    """Signed HS256 with a public key as the secret, made by hand: PyJWT itself refuses to."""
    signer = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    whole = token(SECRET, "HS256", kid).rpartition(".")[0]
    signature = signer.sign(whole.encode(), key.public_key().public_bytes(*encoded))
    return f"{whole}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


PEM, DER = (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
FORGED = {
    "HS256 with the public key as PEM": hmac_by(RSA, "rsa", PEM),
    "HS256 with the public key as DER": hmac_by(EC, "ec", DER),
    "HS256 with the public key, no kid": hmac_by(RSA, None, PEM),
    "HS256 with the secret under a key's id": token(SECRET, "HS256", "ec"),
    "none under a key's id": token(None, "none", "ec"),
    "none": token(None, "none"),
    "another key under a known id": token(ec.generate_private_key(ec.SECP256R1()), "ES256", "ec"),
    "another algorithm of a known key": token(RSA, "RS512", "rsa"),
    "an unknown id": token(EC, "ES256", "ghost"),
    "no id": token(EC, "ES256"),
    "ended": token(EC, "ES256", "ec", exp=int(time.time()) - 60),
    "another audience": token(EC, "ES256", "ec", aud="anon"),
}


@pytest.mark.parametrize("what", FORGED.values(), ids=FORGED.keys())
def test_what_no_key_of_ours_signed_for_us_is_refused(tokens: Tokens, what: str):
    assert refused(tokens, what)


async def test_without_a_secret_only_the_keys_count(project: tuple[Project, str]):
    keys = SigningKeys(project[1])
    await keys.fetch()
    tokens = tokens_for(Settings(supabase_url=project[1]), keys.find)
    assert tokens.verify(token(EC, "ES256", "ec")).identity.contact_id == "501"
    for secret in ("", SECRET):
        assert refused(tokens, token(secret or "x" * 32, "HS256"))
    assert refused(tokens_for(Settings(supabase_url=project[1])), token(EC, "ES256", "ec"))


async def test_a_new_key_is_found_when_a_token_names_it_and_the_old_one_is_forgotten(project: tuple[Project, str]):
    there, url = project
    now = [100.0]
    keys = SigningKeys(url, clock=lambda: now[0])
    await keys.fetch()
    tokens = Tokens(None, keys=keys.find)
    new = ec.generate_private_key(ec.SECP256R1())
    there.keys = [published(new, "new")]
    running = asyncio.create_task(keys.run())
    assert refused(tokens, token(new, "ES256", "new"))
    assert there.asked == 1  # within 30 s nobody's unknown id makes us ask again
    now[0] += 31

    async def good() -> bool:
        return not refused(tokens, token(new, "ES256", "new"))

    await until(good)
    assert there.asked == 2
    for _ in range(50):
        assert refused(tokens, token(EC, "ES256", "ec"))
    running.cancel()


@pytest.mark.parametrize("status", [500, 404, 302])
async def test_an_outage_keeps_the_last_good_set(project: tuple[Project, str], status: int):
    there, url = project
    keys = SigningKeys(url)
    await keys.fetch()
    there.status = status
    await keys.fetch()
    assert there.asked == 2
    assert keys.find("ec") is not None


async def test_an_endpoint_that_is_away_from_the_start_refuses_keys_and_not_the_secret(
    caplog: pytest.LogCaptureFixture,
):
    keys = SigningKeys("http://127.0.0.1:9")
    for _ in range(3):
        await keys.fetch()
    tokens = Tokens(SECRET, keys=keys.find)
    assert refused(tokens, token(EC, "ES256", "ec"))
    assert tokens.verify(token(SECRET, "HS256")).identity.contact_id == "501"
    assert caplog.text.count("SUPABASE_URL") == 1


WEAK = rsa.generate_private_key(65537, 1024)
UNUSABLE = {
    "a short RSA key": published(WEAK, "k"),
    "for encryption": published(EC, "k", use="enc"),
    "for another algorithm": published(RSA, "k", alg="RS512"),
    "another curve": published(ec.generate_private_key(ec.SECP384R1()), "k", crv="P-384", alg="ES384"),
    "a curve that its numbers are not on": published(EC, "k", x=number(1, 32)),
    "a secret": {"kty": "oct", "kid": "k", "k": "c2VjcmV0", "alg": "HS256"},
    "a private key": published(EC, "k", d=number(5, 32)),
    "without an id": {name: value for name, value in published(EC, "k").items() if name != "kid"},
    "an id that is no text": published(EC, "k") | {"kid": 7},
    "nothing": {},
}


@pytest.mark.parametrize("one", UNUSABLE.values(), ids=UNUSABLE.keys())
def test_a_key_of_another_kind_may_not_sign(one: dict[str, Any]):
    assert usable(one) is None


def test_keys_of_both_kinds_may_sign():
    names = [key.algorithm_name for one in (published(EC, "a"), published(RSA, "b")) if (key := usable(one))]
    assert names == ["ES256", "RS256"]
