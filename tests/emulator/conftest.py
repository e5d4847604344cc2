"""A fresh emulator for every test."""

import pytest_asyncio

from tests.emulator.crm import running


@pytest_asyncio.fixture
async def crm():
    async with running() as found:
        yield found
