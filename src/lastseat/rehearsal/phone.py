"""One student's lines to the servers: sends a wish, hears the answer, writes both down; never decides what to ask."""

import asyncio
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import msgspec

from lastseat.rehearsal.history import Deed, Said
from lastseat.rehearsal.lines import LOOPBACK, Clock, Line, Reply, answers, request

CONNECT_S: Final = 2.0
ANSWER_S: Final = 8.0
BUFFERED: Final = 500
PATHS: Final[dict[Deed, tuple[str, str]]] = {
    "book": ("POST", "/api/bookings/create"),
    "cancel": ("POST", "/api/bookings/batch-cancel"),
    "move": ("POST", "/api/admin/bookings/move"),
    "status": ("GET", "/api/bookings/{booking_id}"),
    "list": ("GET", "/api/bookings/list?filter=upcoming&limit=100"),
}


class WallClock(Clock):
    """The machine's clock as it is, so that what students heard can be compared with what the stores wrote."""

    def now(self) -> float:
        """Epoch seconds now."""
        return time.time()


@dataclass(frozen=True, kw_only=True)
class Wish:
    """One thing that is wanted; asked again it is the same wish, with the same key."""

    deed: Deed
    key: str
    contact_id: str
    token: str
    exam_id: str | None = None
    booking_id: str | None = None
    body: bytes = b""
    staff: bool = False


class Pen:
    """Writes the history while it happens, so that a long run fits into memory."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._lines: list[bytes] = []

    def note(self, line: Said) -> None:
        """Keep one line."""
        self._lines.append(msgspec.json.encode(line))
        if len(self._lines) >= BUFFERED:
            self._flush()

    def close(self) -> None:
        """Write what waits and let go of the file."""
        self._flush()
        self._file.close()

    def _flush(self) -> None:
        if self._lines:
            self._file.write(b"\n".join(self._lines) + b"\n")
            self._lines.clear()


class Phone:
    """A line to each server, opened when it is needed and again when it was lost."""

    def __init__(self, ports: list[int], pen: Pen, clock: Clock, dice: random.Random) -> None:
        self._ports = ports
        self._pen = pen
        self._clock = clock
        self._dice = dice
        self._lines: dict[int, Line] = {}

    async def ask(self, wish: Wish, *, server: int | None = None, patience_s: float = ANSWER_S) -> Said:
        """Send it to one server, any if none is named; returns what was heard, written down already."""
        place = self._dice.randrange(len(self._ports)) if server is None else server
        said = said_of(wish, place, await self.send(wish, place, patience_s))
        self._pen.note(said)
        return said

    async def send(self, wish: Wish, server: int, patience_s: float = ANSWER_S) -> Reply:
        """Send it to this server; not written down."""
        port = self._ports[server]
        line = await self._line(server)
        if line is None:
            return Reply(sent_at=self._clock.now(), at=self._clock.now(), status=0, error="no connection")
        method, path = PATHS[wish.deed]
        path = path.format(booking_id=wish.booking_id)
        key = wish.key if wish.deed in ("book", "move") else None
        future = line.put(request(method, path, port=port, token=wish.token, key=key, body=wish.body))
        try:
            return (await answers([line], [future], patience_s))[0]
        finally:
            self._give_back(server, line)

    async def _line(self, server: int) -> Line | None:
        """The line that is kept, if it is free and alive, else a new one."""
        kept = self._lines.pop(server, None)
        if kept is not None and kept.alive:
            return kept
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_S):
                return (await loop.create_connection(lambda: Line(self._clock), LOOPBACK, self._ports[server]))[1]
        except (OSError, TimeoutError):
            return None

    def _give_back(self, server: int, line: Line) -> None:
        if line.alive and server not in self._lines:
            self._lines[server] = line
        else:
            line.close()

    def hang_up(self) -> None:
        """Close every line."""
        for line in self._lines.values():
            line.close()
        self._lines.clear()


def said_of(wish: Wish, server: int, reply: Reply) -> Said:
    """The line of history for one answer."""
    body = _decoded(reply.body)
    result = _first(body.get("results")) if wish.deed == "cancel" else {}
    booking = _object(result.get("booking") or body.get("booking"))
    return Said(
        at=round(reply.at, 6),
        sent_at=round(reply.sent_at, 6),
        contact_id=wish.contact_id,
        deed=wish.deed,
        key=wish.key,
        server=server,
        status=reply.status,
        exam_id=wish.exam_id,
        booking_id=wish.booking_id,
        told=booking.get("booking_id"),
        state=result.get("status") or _state(wish.deed, body, booking),
        code=result.get("code") or body.get("code"),
        shown=booking.get("contact_id"),
        staff=wish.staff,
        error=reply.error or body.get("error"),
    )


def _state(deed: Deed, body: dict[str, Any], booking: dict[str, Any]) -> str | None:
    """How the booking is; of a move, what became of the old one is told after a slash."""
    state = booking.get("is_active")
    if deed == "move" and "previous" in body:
        return f"{state}/{_object(body['previous']).get('status')}"
    return state


def _decoded(body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.MsgspecError:
        return {}


def _first(results: object) -> dict[str, Any]:
    return _object(cast("list[Any]", results)[0]) if isinstance(results, list) and results else {}


def _object(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
