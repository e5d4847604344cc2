"""Fixtures over one real Postgres and one real Valkey per test process; no test sees another one's rows or keys.

stack                the running EmbeddedStack; do not stop or kill it (start one of your own for that)
database_url         a new, empty database
schema_database_url  a new database with all migrations applied
redis_url            the Valkey, emptied
databases            makes more: `databases.fresh(prepare)`, where `async def prepare(url)` fills a template once
open_folder          a new folder that the servers can reach also when the tests run as root
"""

import asyncio
import contextlib
import itertools
import shutil
import tempfile
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
import redis

from lastseat.embedded import postgres
from lastseat.embedded.stack import EmbeddedStack

Prepare = Callable[[str], Awaitable[None]]


def make_open_folder() -> Path:
    """A new folder others may pass: pytest's own are 0700, and Postgres does not run as root."""
    folder = Path(tempfile.mkdtemp(prefix="lastseat-test-"))
    folder.chmod(0o755)
    return folder


class Databases:
    """Makes and drops databases over one connection that lives in a thread of its own.

    Copying a prepared template takes some 30 ms, so the migrations are paid for once per test process.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._numbers = itertools.count(1)
        self._templates: dict[Prepare, str] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._connection: asyncpg.Connection = self._run(asyncpg.connect(url))

    def fresh(self, prepare: Prepare | None = None) -> str:
        """The URL of a new database, as `prepare` left its template."""
        template = "template1" if prepare is None else self._template(prepare)
        return self._create(f"test_{next(self._numbers)}", template)

    def drop(self, url: str) -> None:
        """Drop it and cut whoever is still connected."""
        self._execute(f'DROP DATABASE "{urlsplit(url).path[1:]}" WITH (FORCE)')

    def close(self) -> None:
        self._run(self._connection.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _template(self, prepare: Prepare) -> str:
        if prepare not in self._templates:
            name = f"prepared_{len(self._templates) + 1}"
            url = self._create(name, "template1")
            self._run(_awaited(prepare, url))
            self._templates[prepare] = name
        return self._templates[prepare]

    def _create(self, name: str, template: str) -> str:
        self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy')
        return urlunsplit(urlsplit(self._url)._replace(path=f"/{name}"))

    def _execute(self, statement: str) -> None:
        self._run(self._connection.execute(statement))

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)


async def _awaited(prepare: Prepare, url: str) -> None:
    await prepare(url)


async def _apply_schema(url: str) -> None:
    from lastseat.upkeep import schema

    await schema.apply_to(url)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    folder = make_open_folder()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def stack() -> Iterator[EmbeddedStack]:
    """Nobody kills this one, so its disk need not be waited for; whoever tests durability starts another."""
    folder, running = make_open_folder(), contextlib.ExitStack()
    with mock.patch.dict(postgres.SETTINGS, fsync="off", full_page_writes="off", synchronous_commit="off"):
        stack = running.enter_context(EmbeddedStack(folder))
    with running:
        yield stack
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def databases(stack: EmbeddedStack) -> Iterator[Databases]:
    maker = Databases(stack.postgres_url)
    yield maker
    maker.close()


@pytest.fixture
def database_url(databases: Databases) -> Iterator[str]:
    url = databases.fresh()
    yield url
    databases.drop(url)


@pytest.fixture
def schema_database_url(databases: Databases) -> Iterator[str]:
    url = databases.fresh(_apply_schema)
    yield url
    databases.drop(url)


@pytest.fixture
def redis_url(stack: EmbeddedStack) -> str:
    with redis.Redis.from_url(stack.redis_url) as client:
        client.flushall()
    return stack.redis_url
