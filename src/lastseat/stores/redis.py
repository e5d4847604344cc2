"""Talks to Redis over one shared connection a process; never waits longer than it was told, never retries by itself.

Commands of neighbours travel in one write and their replies in one read, so a crowd costs little more than one
caller. Replies are bytes, integers, lists or None.

Crash: after a time-out or a lost connection a command may still have run, or run later. So every command of ours
is safe to run twice, late, or never.
"""

import asyncio
import hashlib
from collections import deque
from collections.abc import Callable, Sequence
from functools import cache
from importlib import resources
from typing import Any, Final, cast

import hiredis

from lastseat.errors import Unavailable
from lastseat.stores.redis_address import Address

BEAT_S: Final = 1.0  # Limit: how long a failed-over Redis behind a proxy may go unnoticed
SILENCE_S: Final = 3.0  # Limit: a subscription that hears nothing this long, not even its own pings, is dead
REST_FIRST_S: Final = 0.05
REST_MOST_S: Final = 1.0  # Limit: how long callers are told "unreachable" without trying again
PENDING_MOST: Final = 50_000  # Limit: commands waiting for a reply

ERA: Final = object()
"""Stands for the era in the arguments of a script; replaced when it is sent."""

Part = str | bytes | int | float
Reply = Any
"""What Redis says depends on the command: bytes, an integer, a list, None."""
_NOTHING: Final = object()
_GONE: Final = "Redis is unreachable or too slow"


def _gone() -> Unavailable:
    return Unavailable(_GONE)


def _pack(command: Sequence[Part]) -> bytes:
    packed: object = hiredis.pack_command(tuple(command))  # pyright: ignore[reportArgumentType, reportUnknownMemberType, reportUnknownVariableType]  # its stub says a tuple of one
    assert isinstance(packed, bytes)
    return packed


@cache
def _script(name: str) -> tuple[str, str]:
    source = resources.files("lastseat.stores").joinpath("lua", f"{name}.lua").read_text()
    return hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest(), source


class Line(asyncio.Protocol):
    """One open connection: replies come in the order of the commands, late ones end it."""

    def __init__(self, timeout_s: float) -> None:
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._loop = asyncio.get_running_loop()
        self._timeout_s = timeout_s
        self._reader = hiredis.Reader(notEnoughData=_NOTHING)
        self._transport: asyncio.Transport | None = None
        self._pending: deque[tuple[float, asyncio.Future[Reply]]] = deque()
        self._unsent: list[bytes] = []
        self._watch: asyncio.TimerHandle | None = None
        self._suspect: asyncio.Future[Reply] | None = None
        self._hear: Callable[[Reply], None] | None = None

    async def ask(self, *command: Part) -> Reply:
        """Send one command with whatever else is sent in this tick; an error reply is returned, not raised."""
        if self._transport is None or self.closed.done() or len(self._pending) >= PENDING_MOST:
            raise _gone()
        self.say(*command)
        answer: asyncio.Future[Reply] = self._loop.create_future()
        self._pending.append((self._loop.time(), answer))
        if self._watch is None:
            self._watch = self._loop.call_later(self._timeout_s, self._check)
        return await answer

    def say(self, *command: Part) -> None:
        """Send a command whose reply nobody waits for, on a line that only listens."""
        packed = _pack(command)
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(packed)

    def hear(self, listener: Callable[[Reply], None]) -> None:
        """From now on every reply that nobody waits for goes to `listener`."""
        self._hear = listener

    def abort(self) -> None:
        """Close at once; whoever waits hears Unavailable."""
        if self._transport is not None:
            self._transport.abort()
        self.connection_lost(None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transports are of a family of their own

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not _NOTHING:
                self._deliver(reply)
        except hiredis.ProtocolError:
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        del exc
        if self.closed.done():
            return
        self.closed.set_result(None)
        if self._watch is not None:
            self._watch.cancel()
        while self._pending:
            _, answer = self._pending.popleft()
            if not answer.done():
                answer.set_exception(_gone())

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        if self._transport is not None and not self.closed.done():
            self._transport.write(b"".join(unsent))

    def _deliver(self, reply: Reply) -> None:
        if self._pending:
            _, answer = self._pending.popleft()
            if not answer.done():
                answer.set_result(reply)
        elif self._hear is not None:
            self._hear(reply)

    def _check(self) -> None:
        self._watch = None
        if not self._pending:
            return
        sent_at, oldest = self._pending[0]
        left_s = sent_at + self._timeout_s - self._loop.time()
        if left_s > 0:
            self._watch = self._loop.call_later(left_s, self._check)
        elif self._suspect is not oldest:
            # Race: when this process was busy, the reply may lie unread in the socket. Look once, then judge.
            self._suspect = oldest
            self._watch = self._loop.call_later(0.005, self._check)
        else:
            self.abort()


class RedisTrips:
    """Everybody's way to Redis. Raises Unavailable when it is unreachable, too slow, or answers with an error."""

    def __init__(self, url: str, *, timeout_s: float) -> None:
        self._address = Address.parse(url)
        self._timeout_s = timeout_s
        self._line: Line | None = None
        self._opening: asyncio.Task[Line] | None = None
        self._beating: asyncio.Task[None] | None = None
        self._rest_until = 0.0
        self._rest_s = REST_FIRST_S
        self._closed = False
        self.era = ""

    async def execute(self, *command: Part) -> Reply:
        """Run one command and return its reply."""
        line = await self._open()
        return self._meant(line, await line.ask(*command))

    async def script(self, name: str, keys: Sequence[Part], args: Sequence[Part | object]) -> Reply:
        """Run stores/lua/`name`.lua; `ERA` among the arguments stands for the present era."""
        sha, source = _script(name)
        line = await self._open()
        rest: list[Any] = [len(keys), *keys, *(self.era if arg is ERA else arg for arg in args)]
        reply = await line.ask("EVALSHA", sha, *rest)
        if isinstance(reply, hiredis.ReplyError) and str(reply).startswith("NOSCRIPT"):
            reply = await line.ask("EVAL", source, *rest)
        return self._meant(line, reply)

    async def close(self) -> None:
        """Close for good."""
        self._closed = True
        for task in (self._opening, self._beating):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
        if self._line is not None:
            self._line.abort()

    def _meant(self, line: Line, reply: Reply) -> Reply:
        if not isinstance(reply, hiredis.ReplyError):
            return reply
        word = str(reply).split(" ", 1)[0]
        if word in {"READONLY", "LOADING", "MASTERDOWN"}:
            # A primary that became a replica keeps its connections: connect anew, the name may lead elsewhere now.
            line.abort()
        raise Unavailable(f"Redis answered {word}")

    async def _open(self) -> Line:
        line = self._line
        if line is not None and not line.closed.done():
            return line
        loop = asyncio.get_running_loop()
        if self._closed or loop.time() < self._rest_until:
            raise _gone()
        if self._opening is None:
            self._opening = loop.create_task(self._connect())
            self._opening.add_done_callback(self._opened)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await asyncio.shield(self._opening)
        except TimeoutError:
            raise _gone() from None

    async def _connect(self) -> Line:
        try:
            line = await open_line(self._address, self._timeout_s)
            self.era = await _era_of(line)
        except Unavailable:
            self._rest_until = asyncio.get_running_loop().time() + self._rest_s
            self._rest_s = min(self._rest_s * 2, REST_MOST_S)
            raise
        self._rest_s = REST_FIRST_S
        self._line = line
        if self._beating is not None:
            self._beating.cancel()
        self._beating = asyncio.create_task(self._beat(line))
        return line

    def _opened(self, task: asyncio.Task[Line]) -> None:
        self._opening = None
        if not task.cancelled():
            task.exception()  # heard by those who still wait; when none does, that is no fault

    async def _beat(self, line: Line) -> None:
        while not line.closed.done():
            await asyncio.sleep(BEAT_S)
            try:
                self.era = await _era_of(line)
            except Unavailable:
                line.abort()


class Subscription:
    """A connection of its own for messages; reconnects with back-off until closed."""

    def __init__(
        self,
        url: str,
        channels: Sequence[str],
        *,
        timeout_s: float,
        on_message: Callable[[bytes, bytes], None],
        on_open: Callable[[], None],
    ) -> None:
        """`on_message(channel, payload)`; `on_open()` at each (re)connection: what was said before is lost."""
        self._address = Address.parse(url)
        self._channels = channels
        self._timeout_s = timeout_s
        self._on_message = on_message
        self._on_open = on_open
        self._task: asyncio.Task[None] | None = None
        self._heard_at = 0.0
        self._missing = len(channels)
        self.connected = False

    def start(self) -> None:
        """Connect in the background."""
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop listening."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        pause_s = REST_FIRST_S
        while True:
            try:
                line = await open_line(self._address, self._timeout_s)
            except Unavailable:
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, REST_MOST_S)
                continue
            pause_s = REST_FIRST_S
            try:
                await self._listen(line)
            finally:
                self.connected = False
                line.abort()
            await asyncio.sleep(pause_s)

    async def _listen(self, line: Line) -> None:
        loop = asyncio.get_running_loop()
        self._missing = len(self._channels)
        self._heard_at = loop.time()
        line.hear(self._heard)
        line.say("SUBSCRIBE", *self._channels)
        while not line.closed.done() and loop.time() - self._heard_at < SILENCE_S:
            await asyncio.wait([line.closed], timeout=BEAT_S)
            line.say("PING")

    def _heard(self, reply: Reply) -> None:
        self._heard_at = asyncio.get_running_loop().time()
        match reply:
            case [b"message", bytes(channel), bytes(payload)]:
                self._on_message(channel, payload)
            case [b"subscribe", *_]:
                self._missing -= 1
                if self._missing == 0:
                    self.connected = True
                    self._on_open()
            case _:
                return  # the answer to a ping


async def open_line(address: Address, timeout_s: float) -> Line:
    """Connect, sign in and choose the database; raise Unavailable."""
    loop = asyncio.get_running_loop()
    line = Line(timeout_s)
    limit_s = max(timeout_s, 1.0)  # a name look-up and a TLS handshake take several trips
    try:
        async with asyncio.timeout(limit_s):
            if address.path is not None:
                await loop.create_unix_connection(lambda: line, address.path)
            else:
                await loop.create_connection(lambda: line, address.host, address.port, ssl=address.tls())
            for command in address.greeting():
                _accepted(await line.ask(*command))
    except (OSError, TimeoutError):
        line.abort()
        raise _gone() from None
    except BaseException:
        line.abort()
        raise
    return line


def _accepted(reply: Reply) -> None:
    if isinstance(reply, hiredis.ReplyError):
        raise Unavailable(f"Redis refused us: {str(reply).split(' ', 1)[0]}")


async def _era_of(line: Line) -> str:
    """A name for this very copy of the data, 16 characters: another one after a restart or a failover.

    What was written in another era may be older than what was deleted since, so it counts as absent.
    """
    replies = await asyncio.gather(line.ask("INFO", "server"), line.ask("INFO", "replication"))
    facts = [
        row
        for reply in replies
        if isinstance(reply, bytes)  # where INFO is forbidden, all is one era, and the TTL is the limit
        for row in reply.split(b"\r\n")
        if row.startswith((b"run_id:", b"master_replid:"))
    ]
    return hashlib.blake2b(b"".join(facts), digest_size=8).hexdigest()
