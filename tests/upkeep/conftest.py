"""A portal with a ledger of its own for every test of this folder."""

import pytest_asyncio

from tests.hubspot_client.doubles import running_portal
from tests.upkeep.world import world_of


@pytest_asyncio.fixture
async def world(schema_database_url):
    async with running_portal(calls=100_000) as portal, world_of(portal, schema_database_url) as found:
        yield found
