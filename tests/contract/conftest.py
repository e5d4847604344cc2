"""One ledger over each way to Postgres; the ways that need more than Python are there in the lane only."""

from collections.abc import AsyncIterator, Iterator

import pytest

from lastseat.stores.cursors import UpkeepStore
from lastseat.stores.hubspot_codec import Codec
from lastseat.upkeep import schema
from tests.contract.servers import IN_LANE, Servers
from tests.contract.ways import DIRECT, NAMES, Transport, Way, way_to
from tests.embedded_stack import Databases

collect_ignore = [] if IN_LANE else ["test_pooler.py", "test_rest_start.py"]


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    servers = Servers()
    yield servers
    servers.close()


@pytest.fixture(scope="session")
def postgres_18(databases: Databases) -> str:
    async def prepare(url: str) -> None:
        await schema.apply_to(url)

    return databases.fresh(prepare)


@pytest.fixture(params=NAMES)
async def way(request: pytest.FixtureRequest, servers: Servers, postgres_18: str) -> Way:
    way = way_to(request.param, servers, lambda: postgres_18)
    await way.empty()
    return way


@pytest.fixture(params=DIRECT)
async def direct_way(request: pytest.FixtureRequest, servers: Servers, postgres_18: str) -> Way:
    """The ways over Postgres's own protocol."""
    return way_to(request.param, servers, lambda: postgres_18)


@pytest.fixture
async def database(way: Way) -> AsyncIterator[Transport]:
    database = way.open()
    yield database
    await database.close()


def ledger_over(database: Transport) -> UpkeepStore:
    return UpkeepStore(database, Codec("America/Toronto"), timezone="America/Toronto", verify_after_s=0.05)


@pytest.fixture
def ledger(database: Transport) -> UpkeepStore:
    return ledger_over(database)


@pytest.fixture
def store(ledger: UpkeepStore) -> UpkeepStore:
    """The same, by the name of what an operator starts."""
    return ledger
