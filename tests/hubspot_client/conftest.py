"""An emulator and a client, or budgets on a Valkey, for every test of this folder."""

import pytest_asyncio

from lastseat.stores.hubspot import HubSpotClient
from tests.hubspot_client.doubles import Desk, running_portal, settings_for
from tests.hubspot_client.office import Office


@pytest_asyncio.fixture
async def portal():
    async with running_portal() as running:
        yield running


@pytest_asyncio.fixture
async def client(portal):
    found = HubSpotClient(settings_for(portal.url))
    yield found
    await found.close()


@pytest_asyncio.fixture
async def desk(portal):
    found = Desk(portal)
    yield found
    await found.client.close()


@pytest_asyncio.fixture
async def office(redis_url):
    found = Office(redis_url)
    yield found
    await found.close()
