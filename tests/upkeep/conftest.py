"""A portal with a ledger of its own for every test of this folder."""

import asyncio
import threading
from collections.abc import Iterator

import pytest
import pytest_asyncio

from tests.hubspot_client.doubles import Portal, running_portal
from tests.upkeep.world import world_of


@pytest_asyncio.fixture
async def world(schema_database_url):
    async with running_portal(calls=100_000) as portal, world_of(portal, schema_database_url) as found:
        yield found


@pytest.fixture
def portal_beside() -> Iterator[Portal]:
    """A portal in a thread of its own, for commands that bring their own event loop."""
    loop, running, stop = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    found: list[Portal] = []

    async def serve() -> None:
        async with running_portal(calls=100_000) as portal:
            found.append(portal)
            running.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert running.wait(10)
    yield found[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.close()
