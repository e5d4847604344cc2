"""Fixtures of the read path over a real Valkey; nothing here pretends to be Redis."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import uvloop

from lastseat.embedded.valkey import EmbeddedValkey
from lastseat.settings import Settings
from lastseat.stores.bulletin import RedisBulletin
from lastseat.stores.redis import RedisTrips
from lastseat.stores.views import ViewStore
from tests.reads.clocked import Clock, Site
from tests.reads.fakes import Supabase

TIMEOUT_S = 0.5


def pytest_asyncio_loop_factories():
    """Every test on both event loops: the server runs on uvloop, whose transports are a family of their own."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


class Process:
    """What one server process holds: its own connection, views and bulletin."""

    def __init__(self, url: str, settings: Settings, views: type[ViewStore] = ViewStore) -> None:
        self.settings = settings
        self.trips = RedisTrips(url, timeout_s=settings.redis_timeout_s)
        self.views = views(self.trips, settings)
        self.bulletin = RedisBulletin(self.trips, self.views, url=url, settings=settings)

    async def close(self) -> None:
        await self.bulletin.close()
        await self.views.close()
        await self.trips.close()


@pytest.fixture
def settings() -> Settings:
    return Settings(redis_timeout_s=TIMEOUT_S)


@pytest.fixture
async def trips(redis_url: str) -> AsyncIterator[RedisTrips]:
    trips = RedisTrips(redis_url, timeout_s=TIMEOUT_S)
    yield trips
    await trips.close()


@pytest.fixture
async def process(redis_url: str, settings: Settings) -> AsyncIterator[Callable[..., Process]]:
    """Makes processes on the shared Valkey."""
    async with contextlib.AsyncExitStack() as opened:

        def make(url: str = redis_url, settings: Settings = settings, **options) -> Process:
            made = Process(url, settings, **options)
            opened.push_async_callback(made.close)
            return made

        yield make


@pytest.fixture
def valkey(open_folder: Path) -> Iterator[EmbeddedValkey]:
    """A Valkey of one's own, to kill."""
    with EmbeddedValkey(open_folder) as running:
        yield running


@pytest.fixture
def supabase() -> Supabase:
    return Supabase()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def site(process: Callable[..., Process], supabase: Supabase, clock: Clock) -> Callable[..., Site]:
    return lambda *args, **options: Site(process(*args, **options), supabase, clock)
