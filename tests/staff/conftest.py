"""One world per test, with its relay running."""

import pytest

from tests.staff.world import StaffWorld


@pytest.fixture
async def world(schema_database_url):
    world = StaffWorld(schema_database_url)
    world.start_relay()
    yield world
    await world.close()


@pytest.fixture
async def waiting_world(schema_database_url):
    """Requests hardly wait for HubSpot here, so that what is not confirmed is seen."""
    world = StaffWorld(schema_database_url, deadline_s=0.05)
    world.start_relay()
    yield world
    await world.close()
