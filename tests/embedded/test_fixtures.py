"""The shared fixtures give each test stores of its own."""

import asyncpg
import pytest
import redis.asyncio


@pytest.mark.parametrize("turn", [1, 2])
async def test_each_test_gets_an_empty_database(database_url: str, turn: int) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute("CREATE TABLE seen (turn int)")
    await connection.execute("INSERT INTO seen VALUES ($1)", turn)
    assert await connection.fetchval("SELECT count(*) FROM seen") == 1
    await connection.close()


@pytest.mark.parametrize("turn", [1, 2])
async def test_each_test_gets_an_empty_valkey(redis_url: str, turn: int) -> None:
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        assert await client.set("seen", turn, nx=True)


async def test_a_template_is_prepared_once_and_copied(databases) -> None:
    calls = []

    async def prepare(url: str) -> None:
        calls.append(url)
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE TABLE prepared AS SELECT 7 AS seven")
        await connection.close()

    for _ in range(2):
        url = databases.fresh(prepare)
        connection = await asyncpg.connect(url)
        assert await connection.fetchval("SELECT seven FROM prepared") == 7
        await connection.close()
        databases.drop(url)
    assert len(calls) == 1
