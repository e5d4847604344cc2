"""The outermost layer: a request's id, size limit, headers, its line in log and metrics; decides nothing else."""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lastseat.errors import LastseatError
from lastseat.web import access
from lastseat.web.access import AccessLog, What
from lastseat.web.fields import BODY_MOST
from lastseat.web.metrics import METHODS
from lastseat.web.problems import CLIENT_GONE, INTERNAL_TEXT, of_error, of_framework, of_vanished, problem

SECURITY_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        b"form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    # "no-referrer" would also hide the Origin that tells our own pages from others' in some requests.
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)

log = logging.getLogger("lastseat.web")


Endpoint = Callable[[Request], Awaitable[Response]]


class Edge:
    """ASGI middleware. `paths`: each endpoint's route, for log and metrics; ids never get there."""

    def __init__(self, app: ASGIApp, *, access: AccessLog, paths: Mapping[object, str]) -> None:
        self._app = app
        self._paths = paths
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began_at = time.monotonic()
        sent_id = access.request_id(dict(scope["headers"]).get(b"x-request-id"))
        request_id = scope.setdefault("state", {})["request_id"] = sent_id.decode()
        outgoing = _Outgoing(send, sent_id)
        try:
            await self._answer(scope, receive, outgoing, request_id)
        finally:
            self._access.note(sent_id, self._what(scope, outgoing.status or CLIENT_GONE), began_at)

    async def _answer(self, scope: Scope, receive: Receive, outgoing: "_Outgoing", request_id: str) -> None:
        incoming = receive if scope["method"] in ("GET", "HEAD") else _Incoming(receive)
        try:
            await self._app(scope, incoming, outgoing)
        except Exception:
            log.exception("unexpected error (request %s)", request_id)
            if outgoing.status:
                raise  # half an answer is out: only a broken connection can tell the client
            details = {"request_id": request_id}
            await problem("INTERNAL", INTERNAL_TEXT, details=details)(scope, receive, outgoing)

    def _what(self, scope: Scope, status: int) -> What:
        route = self._paths.get(scope.get("endpoint"), "unmatched")
        return route, scope["method"] if scope["method"] in METHODS else "OTHER", status


class Direct:
    """The endpoints that a crowd calls at once, by method and path, as an ASGI application inside an edge of its own.

    The framework's routing and its layers cost as much as all the rest of a booking (measured in a rush of 2,000).
    """

    def __init__(self, site: ASGIApp, endpoints: Mapping[tuple[str, str], Endpoint]) -> None:
        """`site` is what these endpoints find as their request's `app`."""
        self._site = site
        self._endpoints = endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self._endpoints[scope["method"], scope["path"]]
        scope["app"], scope["endpoint"] = self._site, endpoint
        request = Request(scope, receive)
        try:
            response = await endpoint(request)
        except LastseatError as error:
            response = of_error(error, request.state.request_id)
        except HTTPException as error:
            response = of_framework(error)
        except ClientDisconnect:
            response = of_vanished()
        await response(scope, receive, send)


class _Incoming:
    """Counts a body's bytes as they come in: a length that was promised is not a length that was kept."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._seen = 0

    async def __call__(self) -> Message:
        message = await self._receive()
        self._seen += len(message.get("body", b""))
        if self._seen > BODY_MOST:
            raise HTTPException(413)
        return message


class _Outgoing:
    """Adds our headers to the answer and remembers its status."""

    def __init__(self, send: Send, request_id: bytes) -> None:
        self._send = send
        self._request_id = request_id
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message["headers"], *SECURITY_HEADERS, (b"x-request-id", self._request_id)]
            message = {**message, "headers": headers}
        await self._send(message)
