"""Counts of all processes add up in Redis, name nobody there, and are nothing while it is away."""

from lastseat.stores.keys import tally_of
from lastseat.stores.redis import RedisTrips
from lastseat.stores.tally import RedisTally


async def test_two_processes_add_up(trips: RedisTrips):
    one, two = RedisTally(trips), RedisTally(trips)
    assert await one.add(7, {"w:student:501": 3, "w:student:502": 1}, ttl_s=20) == {
        "w:student:501": 3,
        "w:student:502": 1,
    }
    assert await two.add(7, {"w:student:501": 4}, ttl_s=20) == {"w:student:501": 7}
    assert await two.add(8, {"w:student:501": 1}, ttl_s=20) == {"w:student:501": 1}


async def test_a_window_ends_by_itself_and_names_nobody(trips: RedisTrips):
    await RedisTally(trips).add(7, {"w:student:501": 3, "10.11.12.13": 1}, ttl_s=20)
    assert 0 < await trips.execute("PTTL", tally_of(7)) <= 20_000
    held = await trips.execute("HGETALL", tally_of(7))
    assert not any(b"501" in part or b"10.11" in part for part in held)


async def test_a_redis_that_is_away_adds_nothing():
    trips = RedisTrips("redis://127.0.0.1:1", timeout_s=0.2)
    assert await RedisTally(trips).add(7, {"w:student:501": 3}, ttl_s=20) == {}
    await trips.close()
