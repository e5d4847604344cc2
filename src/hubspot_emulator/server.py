"""HTTP around one emulator; never decides what a call means."""

import asyncio
import ipaddress
from collections.abc import Callable

from aiohttp import web

from hubspot_emulator.control import Control
from hubspot_emulator.pipeline import Emulator, Incoming, Outgoing

BODY_MAX = 32 * 1024 * 1024
# Limit: the transport takes more than HubSpot's 16 kB, so that the emulator itself can answer 414.
LINE_MAX = 1024 * 1024
PIECES = 10


class Server:
    """The listening side of one emulator."""

    def __init__(self, emulator: Emulator, host: str = "127.0.0.1", port: int = 0) -> None:
        self.emulator = emulator
        self.control = Control(emulator)
        self.host = host
        self.port = port
        web_server = web.Server(self._serve, max_line_size=LINE_MAX, max_field_size=LINE_MAX)
        self._runner = web.ServerRunner(web_server, access_log=None, keepalive_timeout=75)

    async def start(self) -> str:
        """Listens and answers its own address."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, self.port, backlog=4096)
        await site.start()
        self.port = self._runner.addresses[0][1]
        shown = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{shown}:{self.port}"

    async def stop(self) -> None:
        """Stops listening; what would have landed later is lost, as in a power cut."""
        for task in list(self.emulator.landing):
            task.cancel()
        await self.emulator.webhooks.close()
        await self._runner.cleanup()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        raw = request.rel_url.raw_path
        if raw == "/_emulator" or raw.startswith("/_emulator/"):
            return await self.control.serve(request, local=_is_local(request))
        if raw in ("/", "/favicon.ico"):  # a browser's, no call of the API
            return (
                web.Response(status=302, headers={"Location": "/_emulator"})
                if raw == "/"
                else web.Response(status=204)
            )
        incoming = Incoming(
            request.method,
            raw,
            request.rel_url.raw_query_string,
            request.headers,
            lambda: _body(request),
            len(request.path_qs.encode()),
        )
        outgoing = await self.emulator.answer(incoming)
        if outgoing.status == 0:
            return _cut(request)
        if outgoing.slow_s:
            return await self._slowly(request, outgoing)
        return web.Response(status=outgoing.status, body=outgoing.body, headers=_headers(outgoing))

    async def _slowly(self, request: web.BaseRequest, outgoing: Outgoing) -> web.StreamResponse:
        response = web.StreamResponse(status=outgoing.status, headers=_headers(outgoing))
        response.content_length = len(outgoing.body)
        await response.prepare(request)
        size = len(outgoing.body) // PIECES + 1
        for start in range(0, len(outgoing.body), size):
            await self.emulator.clock.sleep(outgoing.slow_s / PIECES)
            await response.write(outgoing.body[start : start + size])
        await response.write_eof()
        return response


def _headers(outgoing: Outgoing) -> dict[str, str]:
    if not outgoing.body:
        return outgoing.headers
    return {"Content-Type": "application/json;charset=utf-8", **outgoing.headers}


async def _body(request: web.BaseRequest) -> bytes:
    return await request.content.read()


def _cut(request: web.BaseRequest) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _is_local(request: web.BaseRequest) -> bool:
    """Whether the peer is this machine and the page that asks, if any, is too."""
    return all(_loopback(name) for name in (request.remote or "", *_claimed(request)))


def _claimed(request: web.BaseRequest) -> list[str]:
    names = [request.headers.get("Host", "").rsplit(":", 1)[0]]
    origin = request.headers.get("Origin")
    if origin is not None:
        names.append(origin.partition("://")[2].rsplit(":", 1)[0])
    return names


def _loopback(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


async def run_until(server: Server, stop: asyncio.Event, ready: Callable[[str], None]) -> None:
    """Serves until `stop` is set; `ready` is told the address."""
    ready(await server.start())
    try:
        await stop.wait()
    finally:
        await server.stop()
