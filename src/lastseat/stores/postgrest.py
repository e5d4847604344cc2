"""Calls the SQL functions through Supabase's REST interface (PostgREST); never retries and never logs a key."""

import base64
import binascii
from urllib.parse import urlsplit

import aiohttp
import msgspec

from lastseat.errors import LastseatError, SetupError, Unavailable, Uncertain
from lastseat.stores.sqlstates import Shut, meaning_of, proves_abort

_SCHEMA = "lastseat_api"
_SHOWN = 6  # Limit: more of a key is never written anywhere
_KEY_ADVICE = "Set it to the project's secret key (sb_secret_…) or its service_role key."


class _Problem(msgspec.Struct):
    """PostgREST's error body: a SQLSTATE or a code of its own, and Postgres's words."""

    code: str | None = None
    message: str | None = None


class _Payload(msgspec.Struct):
    role: str | None = None


class PostgrestDatabase:
    """Port Database over `POST …/rpc/<function>`: one function call is one transaction there too.

    `apikey` is always sent, `Authorization` only when the key is a JWT: Supabase's newer `sb_secret_…` keys are not
    and would be refused there (Supabase documentation, "API keys", 2026).
    """

    def __init__(self, url: str, key: str, *, rest_path: str, connections: int, timeout_s: float) -> None:
        """Raise SetupError for a key that cannot be the service key, whatever the server would say."""
        self._place = _place(url)
        key = _service_key(key)
        self._url = f"{url.rstrip('/')}{rest_path.rstrip('/')}/rpc/"
        self._headers = {"apikey": key, "Content-Type": "application/json", "Content-Profile": _SCHEMA}
        if _is_jwt(key):
            self._headers["Authorization"] = f"Bearer {key}"
        self._connections = connections
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None

    @property
    def name(self) -> str:
        """What is used and where, without the key."""
        return f"PostgREST at {self._place}"

    @property
    def described(self) -> str:
        """The same in words for an operator: which transport this is, and enough of the key to know which it is."""
        return f"REST, {self.name} with the key {self._headers['apikey'][:_SHOWN]}…"

    @property
    def setting(self) -> str:
        """The setting that leads here, for advice."""
        return "SUPABASE_URL"

    async def call(self, function: str, args: bytes) -> bytes:
        """Run `lastseat_api.<function>(args)` as one request, thus one transaction."""
        where = f"{self.name}, {function}"
        try:
            # A redirect is not followed: it would carry the key to another host.
            request = self._opened().post(self._url + function, data=b'{"args":' + args + b"}", allow_redirects=False)
            async with request as reply:
                body = await reply.read()
        except aiohttp.ClientConnectorError as error:
            raise Unavailable(f"{where}: cannot be reached ({error.strerror or 'no answer'})", unsent=True) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Uncertain(f"{where}: the reply was lost ({type(error).__name__})") from error
        if reply.status >= 300:
            raise _mapped(reply.status, body, where)
        if reply.content_type != "application/json":
            raise Uncertain(f"{where}: answered {reply.content_type}, which PostgREST does not")
        return body

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                headers=self._headers,
                connector=aiohttp.TCPConnector(limit=self._connections),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=self._timeout_s),
            )
        return self._session


def _mapped(status: int, body: bytes, where: str) -> LastseatError:
    try:
        problem = msgspec.json.decode(body, type=_Problem)
    except msgspec.MsgspecError:
        problem = _Problem()
    code, message = problem.code or "", problem.message or ""
    # PostgREST says 500 also where Postgres refused a value; else it is unknown what happened behind it.
    if status >= 500 and not proves_abort(code):
        return Uncertain(f"{where}: answered {status} {code}".rstrip())
    if status in {401, 403} and not code.startswith("LS"):
        line = message.splitlines()[0] if message else "no reason given"
        return Shut(f"{where}: SUPABASE_SERVICE_KEY was refused ({status}: {line})", way_out=_KEY_ADVICE)
    if not code:
        # The gateway before PostgREST turned it away (404, 429) or on (302). 408: it did not wait for the answer.
        kind = Uncertain if status == 408 else Unavailable
        return kind(f"{where}: {message.splitlines()[0] if message else 'no message'} ({status})")
    return meaning_of(code, message, where)


def _place(url: str) -> str:
    try:
        place = urlsplit(url)
        known = place.scheme in {"http", "https"} and bool(place.hostname)
        shown = f"{place.hostname}:{place.port}" if place.port else str(place.hostname)
    except ValueError:
        known, shown = False, ""
    if not known:
        raise SetupError("SUPABASE_URL cannot be understood.", way_out="Set it to https://PROJECT.supabase.co.")
    return shown


def _service_key(given: str) -> str:
    key = given.strip()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise SetupError("SUPABASE_SERVICE_KEY is not a key.", way_out=_KEY_ADVICE)
    if key.startswith("sb_publishable_") or (_is_jwt(key) and _role_of(key) in {"anon", "authenticated"}):
        raise SetupError("SUPABASE_SERVICE_KEY is the public key, which may do nothing here.", way_out=_KEY_ADVICE)
    return key


def _is_jwt(key: str) -> bool:
    return key.count(".") == 2


def _role_of(token: str) -> str | None:
    """The role that a JWT claims. It is not verified: the server does that, this only finds a mix-up early."""
    payload = token.split(".")[1]
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)), type=_Payload).role
    except (msgspec.MsgspecError, binascii.Error, ValueError):
        return None
