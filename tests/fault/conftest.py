"""One ledger and one hand-driven relay per test."""

import shutil
from urllib.parse import urlsplit

import asyncpg
import pytest
import redis

from lastseat.embedded.valkey import EmbeddedValkey
from tests.embedded_stack import make_open_folder
from tests.fault.kit import Hand, Rows, database_at, exam, ledger_on
from tests.fault.memory_hubspot import MemoryHubSpot
from tests.fault.world import World


@pytest.fixture
async def database(schema_database_url):
    database = database_at(schema_database_url)
    yield database
    await database.close()


@pytest.fixture
async def rows(schema_database_url):
    connection = await asyncpg.connect(schema_database_url)
    yield Rows(connection)
    await connection.close()


@pytest.fixture
async def ledger(database):
    ledger = ledger_on(database)
    await ledger.mirror(exams=[exam()])
    return ledger


@pytest.fixture
async def hand(ledger):
    hand = Hand(ledger, MemoryHubSpot())
    await hand.take()
    return hand


@pytest.fixture
async def world(schema_database_url):
    world = World(schema_database_url)
    await world.exams()
    yield world
    await world.close()


@pytest.fixture(scope="session")
def older_redis_url(stack):
    """A second Valkey with the first one's password, to which Redis may fail over."""
    folder = make_open_folder()
    valkey = EmbeddedValkey(folder)
    valkey.start()
    word = urlsplit(stack.redis_url).password
    with redis.Redis.from_url(valkey.url) as client:
        client.config_set("requirepass", word)
    yield f"redis://:{word}@127.0.0.1:{urlsplit(valkey.url).port}/0"
    valkey.stop()
    shutil.rmtree(folder)
