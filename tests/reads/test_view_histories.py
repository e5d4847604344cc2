"""No view goes back in time, however readers, writers, deletes and delays interleave; without leases it does."""

import random
from collections.abc import Callable

import hypothesis
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from lastseat.settings import Settings
from lastseat.stores.keys import last_of
from lastseat.stores.redis import RedisTrips
from lastseat.stores.views import ViewStore
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


def a_plan(dice: random.Random) -> list[Act]:
    kinds = ["read"] * 24 + ["write"] * 3 + ["foreign del"] * 2 + ["flush"]
    return [Act(kind, dice.randrange(2), dice.uniform(0, 16), 0, dice.choice([0, 7])) for kind in kinds]


class Leaseless(ViewStore):
    """Stores whatever was read, as a plain SET does."""

    async def _keep(self, ask, token, view) -> bool:
        header = f"LS1{self._trips.era}{'0' * 16}{round(view.filled_at * 1000):013d}".encode()
        for key in (ask.key, last_of(ask.key)):
            await self._trips.execute("SET", key, header + view.body)
        del token
        return True


@hypothesis.settings(
    max_examples=40, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(acts=st.lists(ACTS, min_size=4, max_size=24), ttl_s=st.sampled_from([300, 0.004]))
async def test_no_view_goes_back_in_time(acts: list[Act], ttl_s: float, redis_url: str):
    settings = Settings(redis_timeout_s=2, bookings_ttl_s=ttl_s)
    processes = [Process(redis_url, settings) for _ in range(2)]
    foreign = RedisTrips(redis_url, timeout_s=1)
    try:
        history = await Play(processes, foreign).run(acts)
    finally:
        for process in processes:
            await process.close()
        await foreign.close()
    assert not history.steps_back()
    assert not history.missed_writes()


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
    for _ in range(60):
        history = await Play(both, trips).run(a_plan(dice))
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
