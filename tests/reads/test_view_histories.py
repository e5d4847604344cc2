"""No view goes back in time, however readers, writers, deletes and delays interleave; without leases it does."""

import random
from collections.abc import Callable
from urllib.parse import urlsplit

import hypothesis
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from lastseat.ports import View
from lastseat.settings import Settings
from lastseat.stores import views as views_module
from lastseat.stores.keys import last_of
from lastseat.stores.redis import RedisTrips
from lastseat.stores.views import ViewStore
from tests.fault.proxy import Proxy
from tests.reads.conftest import Process
from tests.reads.histories import Act, Play

KINDS = ["read", "read", "read", "read", "write", "write", "foreign del", "flush"]
MS = st.sampled_from([0, 0, 0.5, 1, 2, 4])
ACTS = st.builds(
    Act,
    kind=st.sampled_from(KINDS),
    process=st.integers(0, 1),
    starts_ms=st.sampled_from([0, 1, 2, 3, 4, 5, 6, 8, 10]),
    first_ms=MS,
    then_ms=MS,
)

# A slow reader reads before a write and stores after it: what "DEL … no race conditions" forgot.
SLOW_READER = [
    Act("read", process=0, then_ms=6),
    Act("write", process=1, starts_ms=2),
    Act("read", process=1, starts_ms=4),
    Act("read", process=1, starts_ms=9),
]


def a_plan(dice: random.Random, tells_ms: float = 0) -> list[Act]:
    kinds = ["read"] * 24 + ["write"] * 3 + ["foreign del"] * 2 + ["flush"]
    return [
        Act(kind, dice.randrange(2), dice.uniform(0, 16), tells_ms if kind == "write" else 0, dice.choice([0, 7]))
        for kind in kinds
    ]


# A slow reader holds the lease, one who is tired of waiting sees a write that is not told yet, and then the slow one
# stores.
TIRED_READER = [
    Act("read", process=0, then_ms=30),
    Act("write", process=1, starts_ms=3, first_ms=60),
    Act("read", process=1, starts_ms=6),
    Act("read", process=1, starts_ms=45),
]
# Redis is away from one process only: what it read is newer than what it finds when Redis is back.
REDIS_BACK = [
    Act("read", process=0),
    Act("cut", process=1, starts_ms=5),
    Act("write", process=0, starts_ms=10, first_ms=60),
    Act("read", process=1, starts_ms=15),
    Act("mend", process=1, starts_ms=30),
    Act("read", process=1, starts_ms=45),
]


class Careless(ViewStore):
    """Asks Supabase past a lease and leaves that good."""

    async def _passed(self, key: str, view: View) -> View | None:
        return None


class Leaseless(ViewStore):
    """Stores whatever was read, as a plain SET does."""

    async def _keep(self, ask, token, view) -> bool:
        header = f"LS1{self._trips.era}{'0' * 16}{round(view.filled_at * 1000):013d}".encode()
        for key in (ask.key, last_of(ask.key)):
            await self._trips.execute("SET", key, header + view.body)
        del token
        return True


@hypothesis.settings(
    max_examples=60, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    acts=st.lists(ACTS, min_size=4, max_size=24),
    ttl_s=st.sampled_from([300, 0.004]),
    patience_s=st.sampled_from([0.25, 0.001]),
    apart=st.sampled_from([False, False, True]),
)
async def test_no_view_goes_back_in_time(
    acts: list[Act], ttl_s: float, patience_s: float, apart: bool, redis_url: str
):
    settings = Settings(redis_timeout_s=2, bookings_ttl_s=ttl_s)
    processes = [Process(redis_url, settings), Process("redis://127.0.0.1:1" if apart else redis_url, settings)]
    foreign = RedisTrips(redis_url, timeout_s=1)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(views_module, "PATIENCE_S", patience_s)
            history = await Play(processes, foreign).run(acts)
    finally:
        for process in processes:
            await process.close()
        await foreign.close()
    # Limit: a process without Redis cannot tell the other; each sees its own writes, and its own views go forward.
    for seen in [history.of(0), history.of(1)] if apart else [history]:
        assert not seen.steps_back()
        assert not seen.missed_writes()


@pytest.mark.parametrize("views", [ViewStore, Careless], ids=["guarded", "not guarded"])
async def test_a_lease_that_somebody_read_past_is_void(
    process: Callable[..., Process], trips: RedisTrips, views: type[ViewStore], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(views_module, "PATIENCE_S", 0.001)
    history = await Play([process(views=views), process(views=views)], trips, scale=40).run(TIRED_READER)
    assert bool(history.steps_back()) is (views is Careless)


@pytest.mark.parametrize("views", [ViewStore, Careless], ids=["guarded", "not guarded"])
async def test_without_careful_leases_impatient_readers_go_back_at_random(
    process: Callable[..., Process], trips: RedisTrips, views: type[ViewStore], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(views_module, "PATIENCE_S", 0.001)
    both, dice, found = [process(views=views), process(views=views)], random.Random(7), False
    for _ in range(15 if views is ViewStore else 150):
        found = bool((await Play(both, trips, scale=5).run(a_plan(dice, tells_ms=5))).steps_back())
        if found:
            break
    assert found is (views is Careless)


@pytest.mark.parametrize("views", [ViewStore, Careless], ids=["guarded", "not guarded"])
async def test_what_redis_kept_while_it_was_away_from_us_is_not_older_than_what_we_read(
    process: Callable[..., Process], trips: RedisTrips, redis_url: str, views: type[ViewStore]
):
    port = urlsplit(redis_url).port
    async with Proxy(port) as proxy:
        far = process(redis_url.replace(f":{port}", f":{proxy.port}"), views=views)
        await far.trips.execute("PING")
        play = Play([process(), far], trips, scale=40, proxy=proxy)
        history = await play.run(REDIS_BACK)
    assert bool(history.of(1).steps_back()) is (views is Careless)


async def test_a_slow_reader_cannot_put_the_old_list_back(process: Callable[..., Process], trips: RedisTrips):
    history = await Play([process(), process()], trips, scale=15).run(SLOW_READER)
    assert not history.steps_back()
    assert not history.missed_writes()
    assert [seen.version for seen in history.reads] == [1, 1, 1]


async def test_without_leases_a_slow_reader_puts_the_old_list_back(
    process: Callable[..., Process], trips: RedisTrips
):
    both = [process(views=Leaseless), process(views=Leaseless)]
    history = await Play(both, trips, scale=15).run(SLOW_READER)
    assert history.steps_back()
    assert history.missed_writes()


async def test_without_leases_views_go_back_in_time_at_random(process: Callable[..., Process], trips: RedisTrips):
    both = [process(views=Leaseless), process(views=Leaseless)]
    dice = random.Random(7)
    for _ in range(100):
        history = await Play(both, trips, scale=4).run(a_plan(dice))
        if history.steps_back():
            return
    raise AssertionError("leases guard against nothing that these plans could show")


async def test_without_redis_no_view_goes_back_in_time_either(process: Callable[..., Process], trips: RedisTrips):
    both = [process("redis://127.0.0.1:1"), process("redis://127.0.0.1:1")]
    dice = random.Random(8)
    for _ in range(10):
        history = await Play(both, trips).run(a_plan(dice))
        assert not history.steps_back()
        assert not history.missed_writes()
