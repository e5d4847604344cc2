"""What tortures found in the service, each as the smallest test that shows it."""

import asyncpg
import pytest

from lastseat.errors import Uncertain
from lastseat.stores.postgres import PostgresDatabase


class DyingConnection:
    """Postgres has said on it that it ends; the end itself has not been heard yet. asyncpg calls that internal."""

    def __init__(self) -> None:
        self.cut = False

    async def fetchval(self, *_: object, **__: object) -> None:
        raise asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress")

    def terminate(self) -> None:
        self.cut = True


class PoolOfOne:
    def __init__(self, connection: DyingConnection) -> None:
        self._connection = connection

    async def acquire(self, **_: object) -> DyingConnection:
        return self._connection

    async def release(self, connection: DyingConnection, **_: object) -> None:
        assert connection.cut, "the next caller would get it too"


async def test_whoever_is_given_a_dying_connection_hears_that_the_reply_was_lost():
    database = PostgresDatabase("postgresql://127.0.0.1:1/x", connections=1, timeout_s=1)
    database._pool = PoolOfOne(DyingConnection())
    with pytest.raises(Uncertain):
        await database.call("claim", b"{}")
