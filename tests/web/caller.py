"""Calls an ASGI application in this process, as a browser or a program would; opens no socket."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

ORIGIN = "http://school.test"


class Reply(msgspec.Struct, frozen=True):
    """An answer as the wire would show it."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        return self.json.get("code")


class Caller:
    """Keeps cookies like a browser; `token` is sent as a bearer token."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.cookies: dict[str, str] = {}

    async def get(self, path: str, **how: Any) -> Reply:
        return await self.ask("GET", path, **how)

    async def post(self, path: str, body: object = None, **how: Any) -> Reply:
        return await self.ask("POST", path, body=body, **how)

    async def ask(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        chunks: Sequence[bytes] | None = None,
        hangs_up: bool = False,
        scheme: str = "http",
    ) -> Reply:
        parts = chunks if chunks is not None else [_encoded(body)]
        scope = _scope(method, path, scheme, self._headers(token, headers or {}))
        incoming = [
            {"type": "http.request", "body": part, "more_body": hangs_up or number < len(parts) - 1}
            for number, part in enumerate(parts)
        ]
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return incoming.pop(0) if incoming else {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        reply = _reply(sent)
        self._keep_cookies(reply)
        return reply

    def _headers(self, token: str | None, given: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
        headers = {"host": urlsplit(ORIGIN).netloc, **{name.lower(): value for name, value in given.items()}}
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        if self.cookies:
            headers["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        return [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]

    def _keep_cookies(self, reply: Reply) -> None:
        for name, morsel in SimpleCookie(reply.headers.get("set-cookie", "")).items():
            if morsel["max-age"] == "0":
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = morsel.value


@asynccontextmanager
async def running(app: Any) -> AsyncIterator[None]:
    """Start and stop the application as a server does."""
    async with app.router.lifespan_context(app):
        yield


def _encoded(body: object) -> bytes:
    return body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()


def _scope(method: str, path: str, scheme: str, headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    address, _, query = path.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": scheme,
        "path": unquote(address, errors="surrogateescape"),
        "raw_path": address.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }


def _reply(sent: list[dict[str, Any]]) -> Reply:
    start = sent[0]
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return Reply(start["status"], {name.decode(): value.decode("latin-1") for name, value in start["headers"]}, body)
