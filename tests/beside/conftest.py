"""One school per test, and somebody else's app at its Redis."""

from collections.abc import AsyncIterator

import pytest

from tests.beside.school import School, open_school


@pytest.fixture
async def school(schema_database_url: str, redis_url: str) -> AsyncIterator[School]:
    async with open_school(schema_database_url, redis_url) as school:
        yield school
