"""The PRD's own code, as the Node server in PRD_NODE_DIR, meets the limits of our emulator."""

import asyncio
import json
import os
import socket
import sys
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import asyncpg
import redis.asyncio

STUDENTS = 250
SEATS = 100
CALLS = 10
EXAM = "23456789001"
BOOKINGS = "2-50158943"


@asynccontextmanager
async def _running(*command: str, cwd: Path | None = None, **environment: str) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(*command, cwd=cwd, env={**os.environ, **environment})
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def _emulator(folder: Path) -> AsyncIterator[str]:
    ready = folder / "ready"
    options = ["--port", "0", "--limit", str(CALLS), "--latency-ms", "200", "--token", "pat-peer"]
    async with _running(sys.executable, "-m", "hubspot_emulator", *options, "--ready-file", str(ready)):
        while not ready.exists():  # noqa: ASYNC110  another process makes the file
            await asyncio.sleep(0.05)
        yield ready.read_text().strip()


@asynccontextmanager
async def _peer(database_url: str, redis_url: str, emulator_url: str) -> AsyncIterator[str]:
    folder = Path(os.environ["PRD_NODE_DIR"])
    connection = await asyncpg.connect(database_url)
    await connection.execute((folder / "schema.sql").read_text())
    await connection.close()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    places = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "CRM_URL": emulator_url}
    account = {"CRM_TOKEN": "pat-peer", "CRM_TYPE": BOOKINGS, "PORT": port, "QUIET": "1"}
    async with _running("node", "server.js", cwd=folder, **places, **account):
        yield f"http://127.0.0.1:{port}"


async def _warm(session: aiohttp.ClientSession, url: str) -> None:
    while True:
        try:
            async with session.get(f"{url}/api/mock-exams/available") as answer:
                assert answer.status == 200
                await answer.read()
                return
        except aiohttp.ClientConnectorError:
            await asyncio.sleep(0.05)


async def _book(session: aiohttp.ClientSession, url: str, number: int) -> int:
    wish = {
        "examId": EXAM,
        "contactId": str(1000 + number),
        "studentId": f"S{number:05d}",
        "name": f"Student {number}",
        "email": f"s{number}@example.com",
        "attendingLocation": "Calgary",
        "examDate": "2026-12-05",
        "dominantHand": "right",
    }
    async with session.post(f"{url}/api/bookings/create", json=wish) as answer:
        await answer.read()
        return answer.status


def _asked(url: str) -> dict:
    with urllib.request.urlopen(url) as answer:
        return json.load(answer)


async def test_the_prds_own_code_books_10_of_100_seats_and_fails_90_students(database_url, redis_url, tmp_path):
    async with AsyncExitStack() as parts:
        emulator_url = await parts.enter_async_context(_emulator(tmp_path))
        url = await parts.enter_async_context(_peer(database_url, redis_url, emulator_url))
        counter = await parts.enter_async_context(redis.asyncio.Redis.from_url(redis_url))
        await counter.set(f"capacity:{EXAM}", SEATS)
        connector = aiohttp.TCPConnector(limit=0)
        session = await parts.enter_async_context(aiohttp.ClientSession(connector=connector))
        await _warm(session, url)
        await asyncio.gather(*(_warm(session, url) for _ in range(STUDENTS)))

        answers = Counter(await asyncio.gather(*(_book(session, url, number) for number in range(STUDENTS))))

        calls = _asked(f"{emulator_url}/_emulator/requests")["requests"]
        statuses = Counter(call["status"] for call in calls)
        left = int(await counter.get(f"capacity:{EXAM}"))
    print(f"answers {dict(answers)}; HubSpot calls {dict(statuses)}; seats left empty {left}")  # noqa: T201  the lane's result
    assert answers[201] == statuses[201] == CALLS
    # On a slow machine a late student may take a seat that a failed one gave back, and fail in turn.
    assert answers[500] == statuses[429] >= SEATS - CALLS
    assert answers[409] == STUDENTS - CALLS - answers[500]
    assert left == SEATS - CALLS
