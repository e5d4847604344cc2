"""Warm HTTP connections of many students in one process, as cheap as can be; never a general HTTP client.

A client library costs the measured machine more than the server does, so this speaks just enough HTTP/1.1:
one request at a time per connection, answers with a length or in chunks.
"""

import asyncio
import resource
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Final, cast

import msgspec

from lastseat.errors import SetupError, Unavailable

LOOPBACK: Final = "127.0.0.1"
CONNECT_AT_ONCE: Final = 100
CONNECT_S: Final = 10.0
TICK_S: Final = 0.05
FILES_MOST: Final = 65_536


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """One answer as it came; `status` 0: none came, `error` says why. Instants are epoch seconds."""

    sent_at: float
    at: float
    status: int
    body: bytes = b""
    error: str | None = None

    @property
    def ms(self) -> float:
        """Milliseconds from the last byte out to the last byte in."""
        return (self.at - self.sent_at) * 1000


class Clock:
    """Epoch seconds with the resolution of the performance counter; never steps."""

    def __init__(self) -> None:
        self._offset = time.time() - time.perf_counter()

    def now(self) -> float:
        """Epoch seconds now."""
        return self._offset + time.perf_counter()


class Line(asyncio.Protocol):
    """One connection. `put` writes a finished request and returns the future of its answer."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[Reply] | None = None
        self._sent_at = 0.0
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; asyncio sets TCP_NODELAY itself."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class does not inherit asyncio's

    @property
    def alive(self) -> bool:
        """Whether a request can be put on it, as far as this side knows."""
        return self._transport is not None and not self._transport.is_closing()

    def put(self, request: bytes) -> asyncio.Future[Reply]:
        """Send one whole request; the answer's future never raises."""
        assert self._waiting is None, "one request at a time"
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting = future
        self._buffer.clear()
        self._sent_at = self._clock.now()
        if self._transport is None or not self.alive:
            self._end(0, b"", "the connection was closed")
        else:
            self._transport.write(request)
        return future

    def data_received(self, data: bytes) -> None:
        """Collect until the answer is whole."""
        self._buffer += data
        if self._waiting is None:
            return
        found = parsed(self._buffer)
        if found is not None:
            self._end(found[0], found[1], None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever waits hears that nothing came."""
        if self._waiting is not None:
            self._end(0, b"", f"the connection was lost: {exc}" if exc else "the server closed the connection")

    def give_up(self, why: str) -> None:
        """Stop waiting for the answer under way."""
        if self._waiting is not None:
            self._end(0, b"", why)
        self.close()

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()

    def _end(self, status: int, body: bytes, error: str | None) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            at = self._clock.now()
            waiting.set_result(Reply(sent_at=self._sent_at, at=at, status=status, body=body, error=error))


def parsed(buffer: bytearray) -> tuple[int, bytes] | None:
    """Status and body, once the answer is whole."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = bytes(buffer[:end]).lower()
    status = int(head[9:12])
    if b"transfer-encoding: chunked" in head:
        body = _unchunked(bytes(buffer[end + 4 :]))
        return None if body is None else (status, body)
    place = head.find(b"\r\ncontent-length:")
    length = int(head[place + 17 :].split(b"\r\n", 1)[0]) if place >= 0 else 0
    if len(buffer) < end + 4 + length:
        return None
    return status, bytes(buffer[end + 4 : end + 4 + length])


def _unchunked(rest: bytes) -> bytes | None:
    whole = bytearray()
    while True:
        size, found, rest = rest.partition(b"\r\n")
        if not found:
            return None
        length = int(size.split(b";")[0], 16)
        if length == 0:
            return bytes(whole)
        if len(rest) < length + 2:
            return None
        whole += rest[:length]
        rest = rest[length + 2 :]


def request(
    method: str, path: str, *, port: int, token: str = "", key: str | None = None, body: bytes = b""
) -> bytes:
    """A whole request, ready to send."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {LOOPBACK}:{port}", "Accept: application/json"]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    if key is not None:
        lines.append(f"Idempotency-Key: {key}")
    if method in ("POST", "PUT"):
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def open_lines(port: int, count: int, clock: Clock) -> list[Line]:
    """So many connections to the site on this machine, or Unavailable."""
    opened: list[Line] = []
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT_S + count / 100):
            while len(opened) < count:
                some = min(CONNECT_AT_ONCE, count - len(opened))
                made = await asyncio.gather(
                    *(loop.create_connection(lambda: Line(clock), LOOPBACK, port) for _ in range(some))
                )
                opened += [line for _, line in made]
    except (OSError, TimeoutError) as problem:
        hang_up(opened)
        raise Unavailable(f"Cannot open {count} connections to port {port}: {problem or 'too slow'}.") from problem
    return opened


def hang_up(lines: Iterable[Line]) -> None:
    """Close them all."""
    for line in lines:
        line.close()


def release(lines: Sequence[Line], requests: Sequence[bytes]) -> list[asyncio.Future[Reply]]:
    """Send every request in one go, without giving way to anything in between."""
    return [line.put(request) for line, request in zip(lines, requests, strict=True)]


async def answers(
    lines: Sequence[Line],
    futures: Sequence[asyncio.Future[Reply]],
    patience_s: float,
    tick: Callable[[int], None] | None = None,
) -> list[Reply]:
    """Every answer; those that did not come in time have status 0. `tick` hears how many are there."""
    until = asyncio.get_running_loop().time() + patience_s
    waiting = set(futures)
    while waiting and (left_s := until - asyncio.get_running_loop().time()) > 0:
        _, waiting = await asyncio.wait(waiting, timeout=left_s if tick is None else min(left_s, TICK_S))
        if tick is not None:
            tick(len(futures) - len(waiting))
    for line, future in zip(lines, futures, strict=True):
        if not future.done():
            line.give_up(f"no answer within {patience_s:g} s")
    return [future.result() for future in futures]


async def ask(
    port: int, method: str, path: str, *, token: str = "", body: bytes = b"", patience_s: float = 10.0
) -> Reply:
    """One request on a connection of its own; status 0 when nobody answers."""
    clock = Clock()
    try:
        async with asyncio.timeout(patience_s):
            _, line = await asyncio.get_running_loop().create_connection(lambda: Line(clock), LOOPBACK, port)
    except (OSError, TimeoutError) as problem:
        return Reply(sent_at=clock.now(), at=clock.now(), status=0, error=str(problem) or "no connection in time")
    try:
        future = line.put(request(method, path, port=port, token=token, body=body))
        return (await answers([line], [future], patience_s))[0]
    finally:
        line.close()


@asynccontextmanager
async def in_time(patience_s: float, what: str, *, way_out: str) -> AsyncGenerator[None]:
    """Give up after so long; `what` says what did not happen, as "The site did not answer"."""
    try:
        async with asyncio.timeout(patience_s):
            yield
    except TimeoutError as problem:
        raise SetupError(f"{what} within {patience_s:g} s.", way_out=way_out) from problem


def raise_file_limit() -> int:
    """Let this process and its children open as many connections as the system allows; return how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = FILES_MOST if hard == resource.RLIM_INFINITY else min(hard, FILES_MOST)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    return most if soft == resource.RLIM_INFINITY else soft
