"""The gate on a real Valkey: newer replaces older, absent is not full, and a crowd asks the ledger once."""

import asyncio
from collections.abc import Callable, Collection

import pytest

from lastseat.errors import Unavailable
from lastseat.model import Announcement, ExamId, Gate
from lastseat.stores.gate import GateKeeper, GateStore
from lastseat.stores.keys import capacity_of, gate_of
from lastseat.stores.redis import RedisTrips
from tests.reads.waiting import until

EXAM = ExamId("9001")


def gate(version: int, remaining: int, *, exam_id: ExamId = EXAM, open: bool = True) -> Gate:  # noqa: A002  # the name of the field
    return Gate(exam_id=exam_id, version=version, capacity=20, remaining=remaining, taken=20 - remaining, open=open)


@pytest.fixture
def gates(trips: RedisTrips) -> GateStore:
    return GateStore(trips, gate_ttl_s=60)


class Ledger:
    """Knows the gates it is given, counts the calls."""

    def __init__(self, *gates: Gate) -> None:
        self.known = {gate.exam_id: gate for gate in gates}
        self.calls: list[list[ExamId]] = []
        self.away = False

    async def gates(self, exam_ids: Collection[ExamId] | None = None) -> list[Gate]:
        assert exam_ids is not None
        self.calls.append(list(exam_ids))
        await asyncio.sleep(0.002)
        if self.away:
            raise Unavailable("away")
        return [self.known[exam_id] for exam_id in exam_ids if exam_id in self.known]


@pytest.fixture
def keeper(gates: GateStore) -> Callable[..., GateKeeper]:
    return lambda ledger, **options: GateKeeper(gates, ledger, **({"fresh_s": 0.1} | options))


async def test_what_was_put_is_found_and_the_rest_is_absent(gates: GateStore):
    await gates.put([gate(3, 7), gate(1, 0, exam_id=ExamId("9002"))])
    assert await gates.look([EXAM, ExamId("9002"), ExamId("9003")]) == {
        EXAM: gate(3, 7),
        "9002": gate(1, 0, exam_id=ExamId("9002")),
    }
    assert await gates.look([]) == {}


async def test_an_older_version_never_replaces_a_newer_one(gates: GateStore, trips: RedisTrips):
    await gates.put([gate(10, 5)])
    await gates.put([gate(9, 6)])
    assert (await gates.look([EXAM]))[EXAM] == gate(10, 5)
    assert await trips.execute("GET", capacity_of(EXAM)) == b"5"
    await asyncio.gather(*(gates.put([gate(version, 0)]) for version in range(11, 60)))
    assert (await gates.look([EXAM]))[EXAM].version == 59


async def test_an_equal_version_lives_on_and_may_open(gates: GateStore, trips: RedisTrips):
    await gates.put([gate(10, 5, open=False)])
    await trips.execute("PEXPIRE", gate_of(EXAM), 1000)
    await gates.put([gate(10, 5)])
    assert await trips.execute("PTTL", gate_of(EXAM)) > 55_000
    assert (await gates.look([EXAM]))[EXAM].open


async def test_the_seats_left_are_written_as_a_plain_integer_for_others(gates: GateStore, trips: RedisTrips):
    await gates.put([gate(1, 7)])
    assert await trips.execute("GET", capacity_of(EXAM)) == b"7"
    await trips.execute("DECR", capacity_of(EXAM))
    assert (await gates.look([EXAM]))[EXAM].remaining == 7, "and never read"


@pytest.mark.parametrize(
    "plant", [("SET", "5"), ("SET", "{}"), ("SET", ""), ("RPUSH", "a"), ("HSET", "a", "b")], ids=str
)
async def test_a_foreign_value_is_absent_and_replaced(gates: GateStore, trips: RedisTrips, plant: tuple):
    await trips.execute(plant[0], gate_of(EXAM), *plant[1:])
    assert await gates.look([EXAM]) == {}
    await gates.put([gate(1, 7)])
    assert await gates.look([EXAM]) == {EXAM: gate(1, 7)}


async def test_a_corrupt_value_of_ours_is_absent(gates: GateStore, trips: RedisTrips):
    await gates.put([gate(1, 7)])
    for damaged in (f"{trips.era}:1:{{", f"{trips.era}:1:[]", f"{trips.era}", f"{trips.era}:x:{{}}"):
        await trips.execute("SET", gate_of(EXAM), damaged)
        assert await gates.look([EXAM]) == {}


async def test_a_gate_of_another_era_is_absent(gates: GateStore, trips: RedisTrips):
    await gates.put([gate(8, 0)])
    trips.era = "f" * 16
    assert await gates.look([EXAM]) == {}
    await gates.put([gate(7, 3)])
    assert await gates.look([EXAM]) == {EXAM: gate(7, 3)}


async def test_an_unreachable_redis_knows_none_and_takes_none():
    trips = RedisTrips("redis://127.0.0.1:1", timeout_s=0.2)
    gates = GateStore(trips, gate_ttl_s=60)
    await gates.put([gate(1, 7)])
    assert await gates.look([EXAM]) == {}
    await trips.close()


async def test_absent_is_not_full(keeper: Callable[..., GateKeeper], gates: GateStore, trips: RedisTrips):
    ledger = Ledger(gate(5, 3))
    for _ in range(2):
        await trips.execute("FLUSHALL")
        found = await keeper(ledger).look(EXAM)
        assert found == gate(5, 3)
        assert await gates.look([EXAM]) == {EXAM: gate(5, 3)}, "and put back"


async def test_a_crowd_before_an_absent_gate_asks_the_ledger_once(keeper: Callable[..., GateKeeper]):
    ledger = Ledger(gate(5, 3))
    one = keeper(ledger)
    assert set(await asyncio.gather(*(one.look(EXAM) for _ in range(250)))) == {gate(5, 3)}
    assert ledger.calls == [[EXAM]]


async def test_an_unknown_exam_is_none(keeper: Callable[..., GateKeeper]):
    assert await keeper(Ledger()).look(EXAM) is None


async def test_full_is_remembered_for_a_moment_and_forgotten_at_once_when_a_seat_is_freed(
    keeper: Callable[..., GateKeeper], gates: GateStore
):
    now = [100.0]
    ledger = Ledger()
    one = keeper(ledger, clock=lambda: now[0])
    await gates.put([gate(5, 0)])
    assert (await one.look(EXAM)) == gate(5, 0)
    await gates.put([gate(6, 1)])
    assert (await one.look(EXAM)) == gate(5, 0), "within a tenth of a second"
    one.hear(Announcement(gates=[gate(6, 1)]))
    assert (await one.look(EXAM)) == gate(6, 1)
    await gates.put([gate(7, 0)])
    await one.look(EXAM)
    await gates.put([gate(8, 2)])
    now[0] += 0.2
    assert (await one.look(EXAM)) == gate(8, 2)


async def test_a_full_that_was_on_its_way_when_news_came_is_not_remembered(keeper: Callable[..., GateKeeper]):
    ledger = Ledger(gate(5, 0))
    one = keeper(ledger, fresh_s=60)
    looking = asyncio.create_task(one.look(EXAM))
    await until(lambda: asyncio.sleep(0, ledger.calls))
    one.hear(Announcement(gates=[gate(6, 1)]))
    await looking
    assert EXAM not in one._known


async def test_a_closed_gate_is_asked_of_the_ledger_since_exams_open_by_the_clock(
    keeper: Callable[..., GateKeeper], gates: GateStore
):
    await gates.put([gate(5, 20, open=False)])
    assert (await keeper(Ledger(gate(5, 20))).look(EXAM)) == gate(5, 20)


async def test_without_redis_the_ledger_decides_alone():
    trips = RedisTrips("redis://127.0.0.1:1", timeout_s=0.2)
    ledger = Ledger(gate(5, 3))
    one = GateKeeper(GateStore(trips, gate_ttl_s=60), ledger, fresh_s=0.1)
    assert set(await asyncio.gather(*(one.look(EXAM) for _ in range(100)))) == {gate(5, 3)}
    assert len(ledger.calls) <= 2
    ledger.away = True
    with pytest.raises(Unavailable):
        await one.look(EXAM)
    await trips.close()
