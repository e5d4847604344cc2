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
    places = Places()

    async def events(request: Request) -> Response:
        session = session_of(request)
        identity = session.identity if session is not None else None
        address = request.client.host if request.client is not None else ""
        stream = Stream(
            identity.contact_id if identity is not None else None,
            session.expires_at if session is not None else math.inf,
            asyncio.current_task(),
        )
        place = places.place(services_of(request).settings, identity.caller if identity else "", address)
        return Events(fanout, stream, request.headers.get("last-event-id", ""), place)

    app.add_route("/api/events", events, methods=["GET"])


class Places:
    """How many readers hold a connection, in all and by account and address; those that were dropped count too.

    A server keeps the connection of a reader who takes nothing, and with it a place for requests: only what is
    counted until the connection has ended leaves other requests their places.
    """

    def __init__(self) -> None:
        self.taken = 0
        self.by_name = Counter[str]()

    def place(self, settings: Settings, account: str, address: str) -> "Place":
        """One place, not taken yet."""
        limits = ((account, settings.events_account_most), (f"at {address}", settings.events_address_most))
        return Place(self, settings.events_most, [(name, most) for name, most in limits if name])


class Place:
    """A place among all, and one each for its account and its address."""

    def __init__(self, places: Places, most: int, limits: list[tuple[str, int]]) -> None:
        self._places = places
        self._most = most
        self._limits = limits

    def take(self) -> None:
        """Raise Unavailable or Refused where there is none; whoever takes it gives it back."""
        places = self._places
        if places.taken >= self._most:
            raise Unavailable("No more event streams fit into this process", retry_after_s=RETRY_S)
        for name, most in self._limits:
            if most and places.by_name[name] >= most:
                raise Refused(
                    f"At most {most} event streams may be open at once.",
                    code="TOO_MANY_REQUESTS",
                    details={"retry_after_s": RETRY_S},
                )
        places.taken += 1
        places.by_name.update(name for name, _ in self._limits)

    def give_back(self) -> None:
        """Once for each time it was taken."""
        self._places.taken -= 1
        for name, _ in self._limits:
            self._places.by_name[name] -= 1
            if self._places.by_name[name] <= 0:
                del self._places.by_name[name]


class Events(Response):
    """An answer that goes on until the reader leaves, is too slow, or the session ends."""

    def __init__(self, fanout: Fanout, stream: Stream, last_event_id: str, place: Place) -> None:
        super().__init__()
        self._fanout = fanout
        self._stream = stream
        self._last_event_id = last_event_id
        self._place = place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Called by the framework."""
        del scope
        stream, fanout = self._stream, self._fanout
        self._place.take()
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
            if stream.dropped and not leaving.done():
                _await_end(fanout, leaving, self._place)
            else:
                leaving.cancel()
                self._place.give_back()

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


def _await_end(fanout: Fanout, leaving: asyncio.Task[None], place: Place) -> None:
    """This call ends now, which has the server close the connection once the reader takes what is on its way."""

    def ended(_: asyncio.Task[None]) -> None:
        fanout.stuck.discard(leaving)
        place.give_back()

    fanout.stuck.add(leaving)
    leaving.add_done_callback(ended)


async def _watch(stream: Stream, receive: Receive) -> None:
    """A GET brings nothing after its head but the news that the reader left."""
    with contextlib.suppress(asyncio.CancelledError):
        while (await receive())["type"] != "http.disconnect":
            continue
        stream.end()


def _part(body: bytes) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": True}
