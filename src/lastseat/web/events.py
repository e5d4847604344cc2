"""`GET /api/events`: opens a stream of live seats, and of own outcomes with a session; never waits for a store."""

import asyncio
import contextlib
import math
from collections import Counter

from fastapi import FastAPI, Request, Response
from starlette.types import Message, Receive, Scope, Send

from lastseat.errors import Refused, Unavailable
from lastseat.settings import Settings
from lastseat.web.auth import session_of
from lastseat.web.fanout import Fanout, Stream, opening
from lastseat.web.student import services_of

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    # A proxy that collects answers before it passes them on would keep the seats to itself.
    (b"x-accel-buffering", b"no"),
]
RETRY_S = 5.0


def install(app: FastAPI, fanout: Fanout) -> None:
    """One address."""
    open_by = Counter[str]()

    async def events(request: Request) -> Response:
        session = session_of(request)
        identity = session.identity if session is not None else None
        settings = services_of(request).settings
        address = request.client.host if request.client is not None else ""
        _need_room(fanout, settings, open_by, identity.caller if identity else "", address)
        stream = Stream(
            identity.contact_id if identity is not None else None,
            session.expires_at if session is not None else math.inf,
            asyncio.current_task(),
        )
        held = [name for name in (identity.caller if identity else "", f"at {address}") if name]
        return Events(fanout, stream, request.headers.get("last-event-id", ""), open_by, held)

    app.add_route("/api/events", events, methods=["GET"])


def _need_room(fanout: Fanout, settings: Settings, open_by: Counter[str], account: str, address: str) -> None:
    if len(fanout) >= settings.events_most:
        raise Unavailable("No more event streams fit into this process", retry_after_s=RETRY_S)
    limits = ((account, settings.events_account_most), (f"at {address}", settings.events_address_most))
    for name, most in limits:
        if name and most and open_by[name] >= most:
            raise Refused(
                f"At most {most} event streams may be open at once.",
                code="TOO_MANY_REQUESTS",
                details={"retry_after_s": RETRY_S},
            )


class Events(Response):
    """An answer that goes on until the reader leaves, is too slow, or the session ends."""

    def __init__(
        self, fanout: Fanout, stream: Stream, last_event_id: str, open_by: Counter[str], held: list[str]
    ) -> None:
        super().__init__()
        self._fanout = fanout
        self._stream = stream
        self._last_event_id = last_event_id
        self._open_by = open_by
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Called by the framework."""
        del scope
        stream, fanout = self._stream, self._fanout
        self._open_by.update(self._held)
        leaving = asyncio.create_task(_watch(stream, receive))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
            await send(_part(opening()))
            fanout.open(stream, self._last_event_id)
            await self._send_all(send)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except asyncio.CancelledError:
            if not stream.over:
                raise
        finally:
            fanout.close(stream)
            leaving.cancel()
            self._open_by.subtract(self._held)
            for name in self._held:
                if self._open_by[name] <= 0:
                    del self._open_by[name]

    async def _send_all(self, send: Send) -> None:
        stream, fanout = self._stream, self._fanout
        clock = asyncio.get_running_loop().time
        while not stream.over:
            frame = fanout.due(stream)
            if not frame:
                await stream.wait()
                continue
            stream.sending_since = clock()
            await send(_part(frame))
            stream.sending_since = None


async def _watch(stream: Stream, receive: Receive) -> None:
    """A GET brings nothing after its head but the news that the reader left."""
    with contextlib.suppress(asyncio.CancelledError):
        while (await receive())["type"] != "http.disconnect":
            continue
        stream.end()


def _part(body: bytes) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": True}
