"""Says who asks, from a verified token and nothing else; holds no password and trusts no request body."""

import base64
import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

import jwt
from jwt.algorithms import HMACAlgorithm
from starlette.requests import Request

from lastseat.errors import Refused, SetupError
from lastseat.model import ContactId, Identity
from lastseat.settings import Settings
from lastseat.web.fields import is_record_id
from lastseat.web.limits import Limits
from lastseat.web.roles import PERMISSIONS
from lastseat.web.services import KeyLookup

COOKIE = "lastseat_session"
ALGORITHM = "HS256"
AUDIENCE = "authenticated"
LEEWAY_S = 5.0
# Limit: HS256 needs a key of 32 bytes (RFC 7518, 3.2).
SECRET_LEAST = 32
# Limit: 4,096 callers remembered for a minute, about 2 MB; a token cannot be revoked earlier than its `exp` anyway.
_KNOWN_MOST = 4096
_KNOWN_S = 60.0
_TOKEN_MOST = 8192
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Session(NamedTuple):
    """A verified token: who it names and when it ends (seconds since 1970)."""

    identity: Identity
    expires_at: float


class _OneSecret(HMACAlgorithm):
    """HS256 with a key that is looked at once. PyJWT does it for each token, a third of its work (30 of 90 µs)."""

    def __init__(self, secret: str) -> None:
        super().__init__(HMACAlgorithm.SHA256)
        self._ready = super().prepare_key(secret)

    def prepare_key(self, key: str | bytes) -> bytes:
        return self._ready


class Tokens:
    """Verifies tokens of one secret, of the project's signing keys, or of both; `keys` finds one by its id.

    Good ones are remembered briefly, never past their `exp`.
    """

    def __init__(
        self, secret: str | None, *, keys: KeyLookup | None = None, now: Callable[[], float] = time.time
    ) -> None:
        self._secret = secret
        self._secret_key = None if secret is None else _key_of_secret(secret)
        self._keys = keys
        self._now = now
        self._known: OrderedDict[bytes, tuple[float, Session]] = OrderedDict()

    def verify(self, token: str) -> Session:
        """Raise Refused UNAUTHENTICATED, saying what is wrong with it."""
        raw = token.encode(errors="replace")
        if len(raw) > _TOKEN_MOST:
            raise _bad_token("The token is too long.")
        digest = hashlib.sha256(raw).digest()
        known = self._known.get(digest)
        now = self._now()
        if known is not None and now < known[0]:
            return known[1]
        session = _session(self._claims(token))
        self._remember(digest, session, now)
        return session

    def sign(
        self, *, subject: str, ttl_s: float, contact_id: str | None = None, permissions: Iterable[str] = ()
    ) -> str:
        """A token that this object verifies; for the demo."""
        assert self._secret is not None, "the demo has a secret"
        return sign(self._secret, subject=subject, ttl_s=ttl_s, contact_id=contact_id, permissions=permissions)

    def _claims(self, token: str) -> dict[str, Any]:
        try:
            key, algorithm = self._key_of(token)
            return jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=AUDIENCE,
                leeway=LEEWAY_S,
                options={"require": ["exp", "aud", "sub"]},
            )
        except jwt.ExpiredSignatureError as error:
            raise _bad_token("The session has ended; sign in again.") from error
        except jwt.PyJWTError as error:
            raise _bad_token("The token is not valid here.") from error

    def _key_of(self, token: str) -> tuple[jwt.PyJWK, str]:
        """The key and its own algorithm. The header's `kid` only chooses among ours; its `alg` chooses nothing.

        Were it to choose, a token signed HS256 with a public key for its secret would be good.
        """
        kid = jwt.get_unverified_header(token).get("kid") if self._keys is not None else None
        key = self._keys(kid) if self._keys is not None and isinstance(kid, str) else None
        if key is not None:
            return key, key.algorithm_name
        if self._secret_key is None:
            raise _bad_token("The token is not valid here.")
        return self._secret_key, ALGORITHM

    def _remember(self, digest: bytes, session: Session, now: float) -> None:
        self._known[digest] = (min(session.expires_at, now + _KNOWN_S), session)
        self._known.move_to_end(digest)
        if len(self._known) > _KNOWN_MOST:
            self._known.popitem(last=False)


def tokens_for(settings: Settings, keys: KeyLookup | None = None) -> Tokens:
    """By the secret, the project's signing keys or both; only a demo of one process makes up a secret of its own."""
    secret = settings.supabase_jwt_secret
    if secret is None and settings.demo and settings.processes == 1:
        return Tokens(secrets.token_hex(SECRET_LEAST))
    if secret is None and settings.supabase_url and not settings.demo:
        return Tokens(None, keys=keys)
    if secret is None:
        raise SetupError(
            "SUPABASE_JWT_SECRET is not set.",
            way_out="Copy it from Supabase (Settings, JWT keys), or set SUPABASE_URL: its signing keys will do.",
        )
    if len(secret.get_secret_value().encode()) < SECRET_LEAST:
        raise SetupError(
            "SUPABASE_JWT_SECRET is too short.", way_out=f"Use the project's own, at least {SECRET_LEAST} characters."
        )
    return Tokens(secret.get_secret_value(), keys=keys)


def sign(
    secret: str,
    *,
    subject: str,
    ttl_s: float,
    contact_id: str | None = None,
    permissions: Iterable[str] = (),
) -> str:
    """A token as Supabase Auth would give it, for the demo and for tests."""
    now = int(time.time())
    metadata: dict[str, object] = {"permissions": sorted(permissions)}
    if contact_id is not None:
        metadata["contact_id"] = contact_id
    claims = {"sub": subject, "aud": AUDIENCE, "role": AUDIENCE, "iat": now, "exp": now + int(ttl_s)}
    return jwt.encode({**claims, "app_metadata": metadata}, secret, algorithm=ALGORITHM)


def session_of(request: Request) -> Session | None:
    """The caller's session, None without credentials; bad credentials are refused, never taken for none."""
    tokens: Tokens = request.app.state.tokens
    authorization = request.headers.get("authorization")
    if authorization is not None:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise _bad_token("Authorization must be: Bearer, a space, the token.")
        return tokens.verify(token.strip())
    cookie = request.cookies.get(COOKIE)
    if not cookie:
        return None
    if request.method not in _SAFE_METHODS:
        need_same_origin(request)
    return tokens.verify(cookie)


def identity_of(request: Request) -> Identity:
    """Who asks; 401 for nobody, 429 for who asks too much."""
    session = session_of(request)
    if session is None:
        raise Refused("Sign in first: send a bearer token or the session cookie.", code="UNAUTHENTICATED")
    limits: Limits = request.app.state.limits
    limits.admit(session.identity.caller, writing=request.method not in _SAFE_METHODS)
    return session.identity


def need_same_origin(request: Request) -> None:
    """A browser sends cookies along with other sites' requests too, but says in Origin whose page asked."""
    origin = request.headers.get("origin")
    if origin is None and request.headers.get("sec-fetch-site") == "same-origin":
        return
    if origin is None or not _same_host(origin, request.headers.get("host", "")):
        raise Refused("This must come from this site's own pages (Origin).", code="FORBIDDEN", field="Origin")


def _same_host(origin: str, host: str) -> bool:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(host) and parts.netloc.lower() == host.lower()


def _session(claims: dict[str, Any]) -> Session:
    """Read `contact_id` and `permissions`, top level first, then app_metadata; users can edit user_metadata."""
    metadata = claims.get("app_metadata")
    trusted = {**cast("dict[str, Any]", metadata if isinstance(metadata, dict) else {}), **claims}
    identity = Identity(
        subject=str(claims["sub"])[:200],
        contact_id=_contact_id(trusted.get("contact_id")),
        permissions=_permissions(trusted.get("permissions")),
    )
    return Session(identity, float(claims["exp"]))


def _contact_id(value: object) -> ContactId | None:
    if value is None or value == "":
        return None
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not is_record_id(text):
        raise _bad_token("The token's contact_id is not a HubSpot record id.")
    return ContactId(text)


def _permissions(value: object) -> frozenset[str]:
    if not isinstance(value, list):
        return frozenset()
    return frozenset(word for word in cast("list[object]", value) if isinstance(word, str)) & PERMISSIONS


def _key_of_secret(secret: str) -> jwt.PyJWK:
    encoded = base64.urlsafe_b64encode(secret.encode()).rstrip(b"=").decode()
    key = jwt.PyJWK({"kty": "oct", "k": encoded}, ALGORITHM)
    try:
        key.Algorithm = _OneSecret(secret)
    except jwt.InvalidKeyError:
        raise SetupError(
            "SUPABASE_JWT_SECRET is a public key or a certificate, which anybody may know.",
            way_out="Copy the secret itself (Settings, JWT keys), or set SUPABASE_URL: its signing keys will do.",
        ) from None
    return key


def _bad_token(message: str) -> Refused:
    return Refused(message, code="UNAUTHENTICATED", field="token")
