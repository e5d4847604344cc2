"""Why statements have no names behind a transaction pooler; collected in the lane only, since it needs pgbouncer."""

import asyncio

import asyncpg


async def test_named_statements_would_meet_the_wrong_server(servers):
    """Negative control of the detection: what asyncpg does by itself fails where ours works."""
    async with asyncpg.create_pool(servers.pgbouncer(), min_size=8, max_size=8) as pool:
        calls = [pool.fetchval("select lastseat_api.gates($1::jsonb)::text", "{}") for _ in range(200)]
        heard = await asyncio.gather(*calls, return_exceptions=True)
    assert any(isinstance(answer, asyncpg.PostgresError) for answer in heard)
