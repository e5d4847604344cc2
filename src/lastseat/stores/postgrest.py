"""Calls the SQL functions through Supabase's REST interface (PostgREST); never retries and never logs a key."""

import aiohttp
import msgspec

from lastseat.errors import LastseatError, Unavailable, Uncertain
from lastseat.stores.sqlstates import meaning_of

_SCHEMA = "lastseat_api"


class _Problem(msgspec.Struct):
    """PostgREST's error body: a SQLSTATE or a code of its own, and Postgres's words."""

    code: str | None = None
    message: str | None = None


class PostgrestDatabase:
    """Port Database over `POST …/rpc/<function>`: one function call is one transaction there too.

    `apikey` is always sent, `Authorization` only when the key is a JWT: Supabase's newer `sb_secret_…` keys are not
    and would be refused there (Supabase documentation, "API keys", 2026).
    """

    def __init__(self, url: str, key: str, *, rest_path: str, connections: int, timeout_s: float) -> None:
        self._url = f"{url.rstrip('/')}{rest_path.rstrip('/')}/rpc/"
        self._place = url
        self._headers = {"apikey": key, "Content-Type": "application/json", "Content-Profile": _SCHEMA}
        if key.count(".") == 2:
            self._headers["Authorization"] = f"Bearer {key}"
        self._connections = connections
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None

    @property
    def name(self) -> str:
        """What is used and where, without the key."""
        return f"PostgREST at {self._place}"

    async def call(self, function: str, args: bytes) -> bytes:
        """Run `lastseat_api.<function>(args)` as one request, thus one transaction."""
        where = f"{self.name}, {function}"
        try:
            async with self._opened().post(self._url + function, data=b'{"args":' + args + b"}") as reply:
                body = await reply.read()
                if reply.status < 300:
                    return body
                raise _mapped(reply.status, body, where)
        except aiohttp.ClientConnectorError as error:
            raise Unavailable(f"{where}: cannot be reached ({error.strerror or 'no answer'})") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Uncertain(f"{where}: the reply was lost ({type(error).__name__})") from error

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                headers=self._headers,
                connector=aiohttp.TCPConnector(limit=self._connections),
                timeout=aiohttp.ClientTimeout(total=self._timeout_s),
            )
        return self._session


def _mapped(status: int, body: bytes, where: str) -> LastseatError:
    try:
        problem = msgspec.json.decode(body, type=_Problem)
    except msgspec.MsgspecError:
        problem = _Problem()
    code, message = problem.code or "", problem.message or ""
    if status >= 500:
        return Uncertain(f"{where}: answered {status} {code}")
    if status in {401, 403} and not code.startswith("LS"):
        return Unavailable(f"{where}: SUPABASE_SERVICE_KEY was refused ({status} {code})")
    return meaning_of(code or str(status), message, where)
