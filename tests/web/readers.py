"""Readers of event streams over an application in this process; opens no socket and checks nothing."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from lastseat.model import ExamId, Gate
from lastseat.web.app import create_app
from tests.web.caller import Caller, running
from tests.web.fakes import EXAM, World


def gate(remaining: int, *, exam_id: str = EXAM, version: int = 1) -> Gate:
    return Gate(
        exam_id=ExamId(exam_id), version=version, capacity=20, taken=20 - remaining, remaining=remaining, open=True
    )


class Reader:
    """One open stream; it takes nothing while `take` is clear, and cannot be reached once it has a `fault`."""

    def __init__(self, app: Any, token: str | None = None, last_event_id: str | None = None, client: str = "::1"):
        headers = [(b"host", b"school.test")]
        if token:
            headers.append((b"authorization", f"Bearer {token}".encode()))
        if last_event_id:
            headers.append((b"last-event-id", last_event_id.encode()))
        self.scope = {
            "type": "http", "method": "GET", "path": "/api/events", "raw_path": b"/api/events", "root_path": "",
            "query_string": b"", "headers": headers, "client": (client, 1), "server": ("x", 80), "scheme": "http",
            "http_version": "1.1", "asgi": {"version": "3.0"},
        }  # fmt: skip
        self.got: list[bytes] = []
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.ended = False
        self.take = asyncio.Event()
        self.take.set()
        self.fault: Exception | None = None
        self._left = asyncio.Event()
        self.task = asyncio.create_task(app(self.scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        await self.take.wait()
        if self.fault is not None:
            raise self.fault
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], dict(message["headers"])
        else:
            self.got.append(message["body"])
            self.ended = not message.get("more_body", False)

    @property
    def text(self) -> str:
        return b"".join(self.got).decode()

    def events(self, name: str) -> list[dict[str, Any]]:
        found = []
        for block in self.text.split("\n\n"):
            lines = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
            if lines.get("event") == name:
                found.append(json.loads(lines["data"]))
        return found

    @property
    def last_id(self) -> str:
        return [line[4:] for line in self.text.split("\n") if line.startswith("id: ")][-1]

    async def leave(self) -> None:
        self._left.set()
        await asyncio.wait_for(self.task, 2)


async def true(condition: Callable[[], Any], within_s: float = 2.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110  many events may make it true
            await asyncio.sleep(0.002)


@asynccontextmanager
async def opened(world: World, **settings: Any) -> AsyncIterator[Any]:
    """A running application with one exam of three seats."""
    world.live.gates = [gate(3)]
    app = create_app(world.services(**{"events_tick_s": 0.02, **settings}))
    async with running(app):
        yield app


async def figure(app: Any, name: str) -> float:
    """What /metrics says of `lastseat_event_<name>`."""
    lines = (await Caller(app).get("/metrics")).body.decode().splitlines()
    return float(next(line for line in lines if line.startswith(f"lastseat_event_{name}{{")).split()[-1])
