"""The shared connection: neighbours travel together, nobody waits too long, and a new Redis is noticed."""

import asyncio
import os
import signal
import time

import pytest
from redis.asyncio.client import PubSub
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection

from lastseat.embedded.valkey import EmbeddedValkey
from lastseat.errors import SetupError, Unavailable
from lastseat.stores import redis as redis_module
from lastseat.stores.redis import ERA, RedisTrips, Subscription, pool_of
from tests.reads.waiting import until


async def test_each_of_a_crowd_gets_its_own_answer(trips: RedisTrips):
    await asyncio.gather(*(trips.execute("SET", f"k{n}", n) for n in range(500)))
    answers = await asyncio.gather(*(trips.execute("GET", f"k{n}") for n in range(500)))
    assert answers == [str(n).encode() for n in range(500)]


async def test_neighbours_share_one_write(trips: RedisTrips, monkeypatch):
    await trips.execute("PING")
    writes: list[object] = []
    send = Connection.send_packed_command

    async def counted(self, command, **options) -> None:
        writes.append(command)
        await send(self, command, **options)

    monkeypatch.setattr(Connection, "send_packed_command", counted)
    await asyncio.gather(*(trips.execute("GET", f"k{n}") for n in range(100)))
    assert len(writes) == 1


async def test_a_failing_command_does_not_fail_its_neighbours(trips: RedisTrips):
    await trips.execute("SET", "text", "abc")
    wrong, right = await asyncio.gather(
        trips.execute("INCR", "text"), trips.execute("GET", "text"), return_exceptions=True
    )
    assert isinstance(wrong, Unavailable)
    assert right == b"abc"


async def test_a_script_is_loaded_when_redis_does_not_know_it(trips: RedisTrips):
    for _ in range(2):
        await trips.execute("SCRIPT", "FLUSH")
        assert await trips.script("view_look", ["v"], [ERA, "0123456789abcdef", 1000, "1"]) is None


async def test_a_caller_that_gives_up_does_not_shift_the_answers_of_others(trips: RedisTrips):
    await trips.execute("SET", "a", "1")
    await trips.execute("SET", "b", "2")
    impatient = asyncio.create_task(trips.execute("GET", "a"))
    await asyncio.sleep(0)
    impatient.cancel()
    assert await trips.execute("GET", "b") == b"2"


async def test_an_unreachable_redis_is_said_at_once_and_found_again(valkey: EmbeddedValkey):
    trips = RedisTrips(valkey.url, timeout_s=0.3)
    await trips.execute("SET", "kept", "1")
    valkey.kill()
    began = time.monotonic()
    for _ in range(200):
        with pytest.raises(Unavailable):
            await trips.execute("GET", "kept")
    assert time.monotonic() - began < 1
    valkey.restart()
    await until(lambda: trips.execute("PING"))
    await trips.close()


async def test_a_restarted_redis_is_another_era(valkey: EmbeddedValkey):
    trips = RedisTrips(valkey.url, timeout_s=0.3)
    await trips.execute("PING")
    before = trips.era
    valkey.restart()
    await until(lambda: trips.execute("PING"))
    assert len(before) == len(trips.era) == 16
    assert trips.era != before
    await trips.close()


async def test_two_processes_agree_on_the_era(redis_url: str):
    both = [RedisTrips(redis_url, timeout_s=0.3) for _ in range(2)]
    for trips in both:
        await trips.execute("PING")
    assert both[0].era == both[1].era
    for trips in both:
        await trips.close()


async def test_a_failover_behind_a_proxy_is_noticed_without_a_new_connection(trips: RedisTrips, monkeypatch):
    monkeypatch.setattr(redis_module, "BEAT_S", 0.02)
    client = await trips.execute("CLIENT", "ID")
    trips.era = "an older copy"
    await until(lambda: asyncio.sleep(0, trips.era != "an older copy"))
    assert await trips.execute("CLIENT", "ID") == client


async def test_a_redis_that_hangs_costs_no_more_than_the_time_out(trips: RedisTrips, redis_url: str):
    trips._timeout_s = 0.1
    await trips.execute("PING")
    began = time.monotonic()
    with pytest.raises(Unavailable):
        await trips.execute("BLPOP", "nothing", 0)
    assert 0.08 < time.monotonic() - began < 1
    assert await trips.execute("PING") == b"PONG"


async def test_a_busy_process_does_not_take_its_own_delay_for_a_dead_redis(trips: RedisTrips):
    trips._timeout_s = 0.05
    await trips.execute("PING")
    asked = asyncio.create_task(trips.execute("PING"))
    for _ in range(3):
        await asyncio.sleep(0)  # until it is on its way
    time.sleep(0.15)  # noqa: ASYNC251  # the whole process is stuck, as in a long computation
    assert await asked == b"PONG"


async def test_a_wrong_password_is_said_without_the_password(redis_url: str):
    trips = RedisTrips(redis_url.replace("://:", "://:wrong-"), timeout_s=0.3)
    with pytest.raises(Unavailable, match="WRONGPASS") as told:
        await trips.execute("PING")
    assert "wrong-" not in str(told.value)
    await trips.close()


@pytest.mark.parametrize(
    "url", ["http://redis", "redis://:s3cret@host:port", "redis://:s3cret@host/first", "redis://host?sockets=9"]
)
async def test_what_is_not_a_redis_url_is_refused_at_start(url: str):
    with pytest.raises(SetupError, match="REDIS_URL") as told:
        RedisTrips(url, timeout_s=1)
    assert "s3cret" not in str(told.value)


async def test_names_passwords_databases_and_files_are_understood():
    secure = pool_of("rediss://us%40er:p%3Aw@cache.example:6380/2?ssl_cert_reqs=none").make_connection()
    assert isinstance(secure, SSLConnection)
    assert (secure.host, secure.port, secure.db) == ("cache.example", 6380, 2)
    assert (secure.username, secure.password) == ("us@er", "p:w")
    file = pool_of("unix:///run/redis.sock?db=1").make_connection()
    assert isinstance(file, UnixDomainSocketConnection)
    assert (file.path, file.db) == ("/run/redis.sock", 1)


async def test_a_subscription_comes_back_after_redis_was_away(valkey: EmbeddedValkey):
    trips = RedisTrips(valkey.url, timeout_s=0.3)
    heard: list[tuple[bytes, bytes]] = []
    opened: list[None] = []
    subscription = Subscription(
        valkey.url,
        ["one", "two"],
        timeout_s=0.3,
        on_message=lambda channel, payload: heard.append((channel, payload)),
        on_open=lambda: opened.append(None),
    )
    subscription.start()
    await until(lambda: asyncio.sleep(0, subscription.connected))
    valkey.kill()
    await until(lambda: asyncio.sleep(0, not subscription.connected))
    valkey.restart()
    await until(lambda: asyncio.sleep(0, subscription.connected))
    await until(lambda: trips.execute("PUBLISH", "two", "news"))
    await until(lambda: asyncio.sleep(0, heard == [(b"two", b"news")]))
    assert len(opened) == 2
    await subscription.close()
    await trips.close()


async def test_a_subscription_that_hears_nothing_connects_anew(redis_url: str, monkeypatch):
    monkeypatch.setattr(redis_module, "BEAT_S", 0.02)
    monkeypatch.setattr(redis_module, "SILENCE_S", 0.05)
    opened: list[None] = []
    subscription = Subscription(
        redis_url, ["one"], timeout_s=0.3, on_message=lambda *_: None, on_open=lambda: opened.append(None)
    )
    subscription.start()
    await until(lambda: asyncio.sleep(0, subscription.connected))
    await asyncio.sleep(0.15)
    assert len(opened) == 1, "pings keep a quiet line alive"

    async def deaf(*_, **__) -> None:
        await asyncio.sleep(0.01)

    monkeypatch.setattr(PubSub, "get_message", deaf)
    await until(lambda: asyncio.sleep(0, not subscription.connected))
    monkeypatch.undo()
    await until(lambda: asyncio.sleep(0, len(opened) == 2 and subscription.connected))
    await subscription.close()


async def test_a_late_reply_is_nobody_elses(valkey: EmbeddedValkey):
    trips = RedisTrips(valkey.url, timeout_s=0.1)
    await asyncio.gather(trips.execute("SET", "a", "1"), trips.execute("SET", "b", "2"))
    os.kill(valkey.pid, signal.SIGSTOP)
    with pytest.raises(Unavailable):
        await trips.execute("GET", "a")
    os.kill(valkey.pid, signal.SIGCONT)
    await until(lambda: trips.execute("PING"))
    assert await trips.execute("GET", "b") == b"2"
    await trips.close()


async def test_a_redis_that_hangs_from_the_start_holds_few_up(valkey: EmbeddedValkey):
    trips = RedisTrips(valkey.url, timeout_s=0.1)
    os.kill(valkey.pid, signal.SIGSTOP)
    began = time.monotonic()
    for _ in range(200):
        with pytest.raises(Unavailable):
            await trips.execute("PING")
    assert time.monotonic() - began < 1
    os.kill(valkey.pid, signal.SIGCONT)
    await until(lambda: trips.execute("PING"))
    await trips.close()


async def test_a_connection_that_takes_longer_than_a_trip_is_there_for_a_later_one(valkey: EmbeddedValkey):
    trips = RedisTrips(valkey.url, timeout_s=0.05)
    greet = trips._greet

    async def slowly(connection) -> None:
        await asyncio.sleep(0.15)
        await greet(connection)

    trips._pool.connection_kwargs["redis_connect_func"] = slowly
    with pytest.raises(Unavailable):
        await trips.execute("PING")
    await until(lambda: trips.execute("PING"))
    await trips.close()


async def test_a_primary_that_became_a_replica_is_left(trips: RedisTrips, valkey: EmbeddedValkey):
    other = RedisTrips(valkey.url, timeout_s=0.3)
    client = await other.execute("CLIENT", "ID")
    await other.execute("REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(Unavailable, match="READONLY"):
        await other.execute("SET", "a", "1")
    assert await other.execute("CLIENT", "ID") != client
    await other.close()
