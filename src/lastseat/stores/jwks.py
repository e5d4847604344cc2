"""Keeps the project's public signing keys (Supabase's JWKS) at hand; never decides whether a token is good."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any, Final

import aiohttp
import jwt
import msgspec

PATH: Final = "/auth/v1/.well-known/jwks.json"
EVERY_S: Final = 600.0
AGAIN_S: Final = 30.0  # Limit: an unknown key id costs one fetch in this time, however many tokens name it.
TIMEOUT_S: Final = 3.0
BODY_MOST: Final = 256 * 1024
RSA_LEAST: Final = 2048  # Limit: RS256 needs as many bits (RFC 7518, 3.3).

log = logging.getLogger("lastseat.jwks")


class _Published(msgspec.Struct):
    keys: list[dict[str, Any]]


class SigningKeys:
    """One per process. `find` is at hand and waits for nothing; an outage keeps the last good set."""

    def __init__(
        self,
        supabase_url: str,
        *,
        every_s: float = EVERY_S,
        again_s: float = AGAIN_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = supabase_url.rstrip("/") + PATH
        self._every_s = every_s
        self._again_s = again_s
        self._clock = clock
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at = float("-inf")
        self._wanted = asyncio.Event()
        self._said: str | None = None

    def find(self, kid: str) -> jwt.PyJWK | None:
        """The key of this id. An unknown one is looked for soon: the project may have changed its keys."""
        key = self._keys.get(kid)
        if key is None and self._clock() - self._fetched_at >= self._again_s:
            self._wanted.set()
        return key

    async def fetch(self) -> None:
        """Take in the published set; raises nothing."""
        self._fetched_at = self._clock()
        self._wanted.clear()
        try:
            timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
            async with (
                aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as session,
                # A redirect is not followed: whoever answers there would decide who may sign.
                session.get(self._url, allow_redirects=False) as reply,
            ):
                body = await reply.content.read(BODY_MOST)
            if reply.status != 200:
                self._say(f"it answered {reply.status}")
                return
            published = msgspec.json.decode(body, type=_Published).keys
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            self._say(type(error).__name__)
            return
        self._keys = {str(one["kid"]): key for one in published if (key := usable(one)) is not None}
        self._say(None if self._keys else "it offers no key that may sign (EC P-256, or RSA of 2048 bits and more)")

    async def run(self) -> None:
        """Fetch every `every_s`, and when an unknown id was asked for."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._every_s):
                    await self._wanted.wait()
            await self.fetch()

    def _say(self, fault: str | None) -> None:
        """Once for each change."""
        if fault is not None and fault != self._said:
            log.warning("Signing keys of SUPABASE_URL (%s): %s; %d known.", PATH, fault, len(self._keys))
        self._said = fault


def usable(published: dict[str, Any]) -> jwt.PyJWK | None:
    """A public key that may sign sessions, with the one algorithm that its type allows; None for any other."""
    kind = published.get("kty")
    algorithm = "RS256" if kind == "RSA" else "ES256" if (kind, published.get("crv")) == ("EC", "P-256") else None
    if (
        algorithm is None
        or published.get("alg", algorithm) != algorithm
        or published.get("use", "sig") != "sig"
        or not isinstance(published.get("kid"), str)
        or "d" in published  # a private key that is public signs for everybody
    ):
        return None
    try:
        key = jwt.PyJWK(published, algorithm)
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    return None if algorithm == "RS256" and key.key.key_size < RSA_LEAST else key
