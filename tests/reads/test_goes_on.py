"""What runs in the background outlives a fault that nobody thought of: it is told, and nothing ends for good."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import pytest

from lastseat.model import Announcement
from lastseat.stores import bulletin as bulletin_module
from lastseat.stores import redis as redis_module
from lastseat.stores import views as views_module
from lastseat.stores.redis import RedisTrips, Subscription
from lastseat.web import access
from tests.reads.conftest import Process
from tests.reads.test_bulletin import NEWS_OF_ANNA, Deaf, listening
from tests.reads.test_views import ANNA, Source
from tests.reads.waiting import until

Make = Callable[..., Process]


class Faulty:
    """Fails the first `times` calls in a way that nobody thought of, then does `work`."""

    def __init__(self, times: int, work: Callable[..., Any]) -> None:
        self.left = times
        self.calls = 0
        self._work = work

    def __call__(self, *args: Any) -> Any:
        self.calls += 1
        if self.left > 0:
            self.left -= 1
            raise ZeroDivisionError("nobody thought of this")
        return self._work(*args)


def told(caplog: pytest.LogCaptureFixture, words: str) -> int:
    """How often it was logged, with the fault itself."""
    return sum(words in line.getMessage() and line.exc_info is not None for line in caplog.records)


async def until_true(condition: Callable[[], object]) -> None:
    await until(lambda: asyncio.sleep(0, condition()))


async def test_the_access_log_is_written_after_a_fault(monkeypatch, caplog):
    monkeypatch.setattr(access, "FLUSH_S", 0.01)
    counted: list[access.What] = []
    log = access.AccessLog(Faulty(2, lambda what, _seconds: counted.append(what)))
    async with log.running():
        for number in range(3):
            log.note(b"1", ("/", "GET", number), time.monotonic())
            await until_true(lambda: not log._lines)
    assert counted == [("/", "GET", 2)]
    assert told(caplog, "access log") == 2


async def test_a_fault_in_counting_fails_no_answer(caplog):
    log = access.AccessLog(Faulty(1, lambda *_: None))
    for _ in range(access.FLUSH_LINES):
        log.note(b"1", ("/", "GET", 200), time.monotonic())
    assert told(caplog, "access log") == 1


async def test_the_era_is_asked_for_after_a_fault(trips: RedisTrips, monkeypatch, caplog):
    monkeypatch.setattr(redis_module, "BEAT_S", 0.01)
    await trips.execute("PING")
    monkeypatch.setattr(redis_module, "era_of", Faulty(2, redis_module.era_of))
    trips.era = "an older copy"
    await until_true(lambda: trips.era != "an older copy")
    assert told(caplog, "the era") == 2


async def test_a_subscription_outlives_what_its_listener_cannot_do(trips: RedisTrips, redis_url: str, caplog):
    heard: list[bytes] = []
    listener = Faulty(1, lambda _channel, payload: heard.append(payload))
    subscription = Subscription(redis_url, ["one"], timeout_s=0.3, on_message=listener, on_open=lambda: None)
    subscription.start()
    await until_true(lambda: subscription.connected)
    await trips.execute("PUBLISH", "one", "first")
    await until_true(lambda: not subscription.connected)
    await until(lambda: trips.execute("PUBLISH", "one", "second"))
    await until_true(lambda: heard == [b"second"])
    assert told(caplog, "listening") == 1
    await subscription.close()


async def test_a_wake_that_one_cannot_hear_reaches_the_others_and_fails_no_writer(process: Make, caplog):
    here, there = process(), process()
    await listening(there)
    woken: list[None] = []
    for one in (here, there):
        one.bulletin.on_wake(Faulty(1, lambda: None))
        one.bulletin.on_wake(lambda: woken.append(None))
    await here.bulletin.wake()
    await until_true(lambda: len(woken) == 2)
    assert told(caplog, "wake") == 2
    assert there.bulletin.connected


async def test_what_is_owed_is_told_after_a_fault(process: Make, monkeypatch, caplog):
    monkeypatch.setattr(bulletin_module, "PAUSE_MOST_S", 0.01)
    here, there = process(), process()
    heard = await listening(there)
    deaf = Deaf(here, monkeypatch)
    await here.bulletin.announce(NEWS_OF_ANNA)
    deaf.on = False
    monkeypatch.setattr(here.views, "trust", Faulty(1, here.views.trust))
    await until_true(lambda: not here.bulletin._owed)
    assert Announcement(exams_changed=True) in heard
    assert told(caplog, "owed") == 1


async def test_a_refresh_at_fault_is_told_and_tried_again(process: Make, monkeypatch, caplog):
    monkeypatch.setattr(views_module, "REFRESH_AT", 0.0)
    one, fill = process(), Faulty(0, Source(b"[2]"))
    await one.views.bookings(ANNA, Source(b"[1]"))
    fill.left = 2

    async def refreshed() -> bool:
        return (await one.views.bookings(ANNA, fill)).body == b"[2]"

    await until(refreshed)
    assert told(caplog, "refreshed") == 2


@pytest.mark.parametrize("fault", [None, ZeroDivisionError()], ids=["none", "just before"])
async def test_what_is_closed_ends_all_the_same(process: Make, monkeypatch, caplog, fault):
    caplog.set_level(logging.CRITICAL)
    monkeypatch.setattr(redis_module, "BEAT_S", 0.01)
    one = process()
    await listening(one)
    await one.trips.execute("PING")
    if fault is not None:
        monkeypatch.setattr(redis_module, "era_of", Faulty(1_000_000, lambda: None))
        await asyncio.sleep(0.03)
    tasks = [one.bulletin._subscription._task, one.trips._beating]
    await one.close()
    assert [task is not None and task.cancelled() for task in tasks] == [True, True]
