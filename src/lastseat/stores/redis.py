"""Talks to Redis through redis-py, over one connection a process; never waits longer than it was told, never retries.

Commands of neighbours share one pipeline, so a crowd costs little more than one caller. Replies are as Redis sends
them: bytes, integers, lists or None.

Crash: after a time-out or a lost connection a command may still have run, or run later. So every command of ours
is safe to run twice, late, or never.
"""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import cache
from importlib import resources
from typing import Any, Final, cast
from urllib.parse import urlsplit

from redis.asyncio.client import Pipeline, PubSub
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.exceptions import NoScriptError, ReadOnlyError, RedisError, ResponseError

from lastseat.errors import SetupError, Unavailable
from lastseat.group_commit import GroupCommit

BEAT_S: Final = 1.0  # Limit: how long a failed-over Redis behind a proxy may go unnoticed
SILENCE_S: Final = 3.0  # Limit: a subscription that hears nothing this long, not even its own pings, is dead
CONNECT_LEAST_S: Final = 1.0  # Limit: a name look-up, a TLS handshake and signing in take several trips
SECOND_LOOK_S: Final = 0.005
REST_FIRST_S: Final = 0.05
REST_MOST_S: Final = 1.0  # Limit: how long callers are told "unreachable" without trying again
NEIGHBOURS: Final = 2_000  # Limit: commands of one pipeline

_log = logging.getLogger(__name__)

ERA: Final = object()
"""Stands for the era in the arguments of a script; replaced when it is sent."""

Part = str | bytes | int | float
Command = tuple[Any, ...]
Reply = Any
"""What Redis says depends on the command: bytes, an integer, a list, None."""
Greeting = Callable[[AbstractConnection], Awaitable[None]]

_pool: Callable[..., ConnectionPool] = ConnectionPool.from_url  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]  # its options have no types


def _gone() -> Unavailable:
    return Unavailable("Redis is unreachable or too slow")


def _said(problem: BaseException) -> Unavailable:
    word = getattr(problem, "status_code", None)
    return Unavailable(f"Redis answered {word}") if word else _gone()


@cache
def _script(name: str) -> tuple[str, str]:
    source = resources.files("lastseat.stores").joinpath("lua", f"{name}.lua").read_text()
    return hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest(), source


def connect_s_of(timeout_s: float) -> float:
    """How long connecting may take in all."""
    return max(timeout_s, CONNECT_LEAST_S)


def pool_of(url: str, greet: Greeting | None = None) -> ConnectionPool:
    """redis-py's pool of one connection for `redis://`, `rediss://` or `unix://`; raise SetupError.

    `greet` runs for every new connection in place of signing in, which it must do itself.
    """
    try:
        # redis-py reads over a database that is not a number.
        int(urlsplit(url).path.strip("/") or "0") if not url.startswith("unix:") else 0
        pool = _pool(
            url, max_connections=1, protocol=2, driver_info=None, socket_timeout=None, redis_connect_func=greet
        )
        pool.make_connection()  # says now which words of the query it does not know
    except (ValueError, TypeError):
        raise SetupError(
            "REDIS_URL cannot be understood.",
            way_out="Set it to redis://[user:password@]host[:port][/db], rediss://… for TLS, or unix://path.",
        ) from None
    return pool


class RedisTrips:
    """Everybody's way to Redis. Raises Unavailable when it is unreachable, too slow, or answers with an error."""

    def __init__(self, url: str, *, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._pool = pool_of(url, self._greet)
        self._trips: GroupCommit[Command, Reply] = GroupCommit(self._travel, window_s=0, limit=NEIGHBOURS)
        self._opening: asyncio.Task[AbstractConnection] | None = None
        self._beating: asyncio.Task[None] | None = None
        self._rest_until = 0.0
        self._rest_s = REST_FIRST_S
        self._closed = False
        self.era = ""

    async def execute(self, *command: Part) -> Reply:
        """Run one command and return its reply."""
        return _meant(await self._trips.submit(command))

    async def script(self, name: str, keys: Sequence[Part], args: Sequence[Part | object]) -> Reply:
        """Run stores/lua/`name`.lua; `ERA` among the arguments stands for the present era."""
        sha, source = _script(name)
        rest = (len(keys), *keys, *args)
        reply = await self._trips.submit(("EVALSHA", sha, *rest))
        if isinstance(reply, NoScriptError):
            reply = await self._trips.submit(("EVAL", source, *rest))
        return _meant(reply)

    async def close(self) -> None:
        """Close for good."""
        self._closed = True
        for task in (self._opening, self._beating):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
        await self._pool.disconnect()

    async def _travel(self, commands: Sequence[Command]) -> list[Reply]:
        """One pipeline; an error reply is returned in its place, so that it fails nobody else."""
        pipeline: Any = Pipeline(self._pool, {}, transaction=False, shard_hint=None)
        # Connected before the commands are written down: connecting tells the era that goes into them.
        pipeline.connection = await self._connected()
        for command in commands:
            pipeline.execute_command(*(self.era if part is ERA else part for part in command))
        try:
            replies = await self._in_time(pipeline.execute(raise_on_error=False))
        except (RedisError, OSError) as problem:
            raise _said(problem) from None
        if any(isinstance(reply, ReadOnlyError) for reply in replies):
            # A primary that became a replica keeps its connections: connect anew, the name may lead elsewhere now.
            await self._pool.disconnect()
        return replies

    async def _in_time(self, work: Coroutine[Any, Any, list[Reply]]) -> list[Reply]:
        """Whoever gives up ends the connection with it, so that a late reply is nobody else's."""
        task = asyncio.create_task(work)
        done, _ = await asyncio.wait([task], timeout=self._timeout_s)
        if not done:
            # Race: when this process was busy, the reply may lie unread in the socket. Look once, then judge.
            done, _ = await asyncio.wait([task], timeout=SECOND_LOOK_S)
        if not done:
            task.cancel()
            await asyncio.wait([task])
            raise _gone()
        return task.result()

    async def _connected(self) -> AbstractConnection:
        """The connection; one that takes longer than a trip may is there for a later trip."""
        loop = asyncio.get_running_loop()
        if self._closed or loop.time() < self._rest_until:
            raise _gone()
        opening = self._opening = self._opening or asyncio.create_task(self._open())
        await asyncio.wait([opening], timeout=self._timeout_s)
        try:
            if not opening.done() or opening.cancelled():
                raise _gone()
            self._opening = None
            connection = opening.result()
        except (Unavailable, RedisError, OSError) as problem:
            self._rest_until = loop.time() + self._rest_s
            self._rest_s = min(self._rest_s * 2, REST_MOST_S)
            raise _said(problem) from None
        self._rest_s = REST_FIRST_S
        self._beating = self._beating or asyncio.create_task(self._beat())
        return connection

    async def _open(self) -> AbstractConnection:
        async with asyncio.timeout(connect_s_of(self._timeout_s)):
            return await self._pool.get_connection()

    async def _greet(self, connection: AbstractConnection) -> None:
        """Called by redis-py for every new connection."""
        await connection.on_connect()
        facts: list[Reply] = []
        for command in _ERA_QUESTIONS:
            await connection.send_command(*command)
            try:
                facts.append(await connection.read_response())
            except ResponseError:
                continue  # where INFO is forbidden, all is one era, and the time to live is the limit
        self.era = era_of(facts)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            try:
                self.era = era_of(await asyncio.gather(*map(self._trips.submit, _ERA_QUESTIONS)))
            except Unavailable:
                continue  # the next connection tells
            except Exception:  # noqa: BLE001  # without a beat a failover would go unseen
                _log.exception("the era could not be asked for")


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
        self._pool = pool_of(url)
        self._connect_s = connect_s_of(timeout_s)
        self._channels = channels
        self._on_message = on_message
        self._on_open = on_open
        self._task: asyncio.Task[None] | None = None
        self._pause_s = REST_FIRST_S
        self.connected = False

    def start(self) -> None:
        """Connect in the background."""
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop listening."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def _run(self) -> None:
        while True:
            try:
                await self._hear_until_lost()
            except (RedisError, OSError, TimeoutError):
                self._pause_s = min(self._pause_s * 2, REST_MOST_S)
            except Exception:  # noqa: BLE001  # ended, this process would never hear news again
                self._pause_s = min(self._pause_s * 2, REST_MOST_S)
                _log.exception("listening to Redis failed, it begins anew")
            await asyncio.sleep(self._pause_s)

    async def _hear_until_lost(self) -> None:
        pubsub = PubSub(self._pool)
        try:
            async with asyncio.timeout(self._connect_s):
                await pubsub.subscribe(*self._channels)
            self._pause_s = REST_FIRST_S
            await self._listen(pubsub)
        finally:
            self.connected = False
            await pubsub.aclose()

    async def _listen(self, pubsub: PubSub) -> None:
        """Return when nothing was heard for too long."""
        loop = asyncio.get_running_loop()
        missing, heard_at, pinged_at = len(self._channels), loop.time(), loop.time()
        while (now := loop.time()) - heard_at < SILENCE_S:
            if now - pinged_at >= BEAT_S:
                pinged_at = now
                await pubsub.execute_command("PING")
            said = cast("dict[str, Any] | None", await pubsub.get_message(timeout=BEAT_S))
            heard_at = heard_at if said is None else loop.time()
            match said:
                case {"type": "message", "channel": bytes(channel), "data": bytes(payload)}:
                    self._on_message(channel, payload)
                case {"type": "subscribe"}:
                    missing -= 1
                    if missing == 0:
                        self.connected = True
                        self._on_open()
                case _:
                    continue  # silence, or the answer to a ping


_ERA_QUESTIONS: Final = ("INFO", "server"), ("INFO", "replication")


def era_of(facts: Sequence[Reply]) -> str:
    """A name for this very copy of the data, 16 characters: another one after a restart or a failover.

    What was written in another era may be older than what was deleted since, so it counts as absent.
    """
    rows = [
        row
        for fact in facts
        if isinstance(fact, bytes)
        for row in fact.split(b"\r\n")
        if row.startswith((b"run_id:", b"master_replid:"))
    ]
    return hashlib.blake2b(b"".join(rows), digest_size=8).hexdigest()


def _meant(reply: Reply) -> Reply:
    if isinstance(reply, RedisError):
        word = getattr(reply, "status_code", None) or str(reply).split(" ", 1)[0]
        raise Unavailable(f"Redis answered {word}")
    return reply
