"""The checks at run time: on a sample, in one snapshot, seen in /api/ready and in the metrics."""

import asyncio
import contextlib
import time
import uuid

import pytest

from lastseat.errors import Unavailable
from lastseat.evidence import Call
from lastseat.model import ChangeRequest, Gate
from lastseat.settings import Settings
from lastseat.stores.care import Care
from lastseat.upkeep.watch import Watch
from tests.fault.kit import EXAM, cancelling, exam, wish
from tests.fault.world import LocalBulletin, until


class NoGates:
    def __init__(self):
        self.known = {}

    async def look(self, exam_ids):
        return {exam_id: self.known[exam_id] for exam_id in exam_ids if exam_id in self.known}

    async def put(self, gates): ...


@pytest.fixture
def gates():
    return NoGates()


@pytest.fixture
def watch(database, gates):
    return Watch(Care(database), gates, Settings(watch_exams=10))


def names(verdicts):
    return [verdict.invariant for verdict in verdicts]


async def test_a_healthy_ledger_with_everything_in_it_has_no_findings(ledger, hand, watch, rows):
    await ledger.mirror(exams=[exam(capacity=9), exam("502", capacity=3)])
    await ledger.claim([wish(str(n), key=f"k{n}") for n in range(6)] + [wish("1", "502")])
    hand.hubspot.fates.append("lost")
    hand.hubspot.poison["2"] = "no"
    await hand.carry()
    await ledger.cancel([cancelling((await rows.claims())[0]["booking_id"])])
    await ledger.claim([wish("20")])
    assert await watch.look() == []
    assert watch.ready()["ok"] is True
    assert "nothing wrong" in watch.ready()["detail"]


@pytest.mark.parametrize(
    ("harm", "invariant"),
    [
        ("update hubspot_sync.hubspot_mock_exams set seats_taken = 2", "I2"),
        ("update hubspot_sync.hubspot_mock_exams set seats_taken = 0", "I2"),
        ("delete from hubspot_sync.outbox where kind = 'create'", "I3"),
        ("update hubspot_sync.claims set state = 'refused'", "I3"),
        ("update hubspot_sync.hubspot_mock_exams set capacity = 0", "I1"),
    ],
)
async def test_a_planted_harm_is_found_in_the_sample(ledger, hand, watch, rows, harm, invariant):
    await ledger.claim([wish("1")])
    await rows.do(harm)
    assert invariant in names(await watch.look())
    assert watch.ready()["ok"] is False
    assert invariant in watch.ready()["detail"]
    assert any(f'invariant="{invariant}"' in line for line in watch.lines('process="1"'))


async def test_a_gate_ahead_of_the_ledger_is_found(ledger, watch, gates):
    gates.known[EXAM] = Gate(exam_id=EXAM, version=99, capacity=2, remaining=2, open=True)
    assert names(await watch.look()) == ["I7"]


@pytest.mark.parametrize(
    ("calls", "words"),
    [
        ([429], "HubSpot refused 1 calls with 429"),
        ([200] * 4, "HubSpot got 4 calls within 10 s; 3 are allowed"),
    ],
    ids=["429", "too many"],
)
async def test_hubspot_called_beyond_its_budget_is_found(ledger, database, gates, calls, words):
    made = [Call(at=time.time(), kind="write", status=status) for status in calls]
    watch = Watch(Care(database), gates, Settings(hubspot_rate_limit=3), lambda: made)
    assert names(await watch.look()) == ["I8"]
    assert words in watch.ready()["detail"]


async def test_a_429_that_others_brought_about_and_one_of_long_ago_are_no_findings(ledger, database, gates):
    calls = [
        Call(at=time.time(), kind="write", status=429, planted=True),
        Call(at=time.time() - 3600, kind="write", status=429),
    ]
    watch = Watch(Care(database), gates, Settings(), lambda: calls)
    assert await watch.look() == []


async def test_a_table_that_lies_open_is_found(ledger, watch, rows):
    await rows.do("grant select on hubspot_sync.claims to anon")
    assert names(await watch.look()) == ["I9"]
    assert "hubspot_sync.claims" in watch.ready()["detail"]


async def test_what_could_not_be_judged_is_named(ledger, watch, gates):
    await watch.look()
    assert watch.ready()["detail"].endswith("; nothing was there to judge I3, I4, I5, I7, I8 by")
    await ledger.claim([wish("1")])
    gates.known = {gate.exam_id: gate for gate in await ledger.gates([EXAM])}
    await watch.look()
    assert watch.ready()["detail"].endswith("; nothing was there to judge I5, I8 by")


async def test_what_waits_is_told_with_its_age(ledger, hand, watch, rows):
    await ledger.claim([wish("1"), wish("2")])
    await rows.do("update hubspot_sync.outbox set created_at = now() - interval '90 seconds'")
    await watch.look()
    part = watch.outbox()
    assert part["ok"] is True
    assert part["detail"] == "2 rows on their way, the oldest for 90 s; 0 set aside"
    assert 'lastseat_outbox_rows{process="1",kind="create"} 2' in list(watch.lines('process="1"'))


async def test_what_is_set_aside_is_told(world, watch, rows):
    world.hubspot.poison["1"] = "no"
    world.start()
    await world.book("2")
    await world.state_of("1")

    async def told():
        await watch.look()
        return watch.outbox()["ok"] is False

    await until(told)
    assert watch.outbox()["detail"].endswith("1 set aside")
    assert isinstance(world.bulletin, LocalBulletin)


def lowered(capacity: int) -> ChangeRequest:
    return ChangeRequest(
        change_id=str(uuid.uuid4()),
        kind="exam_update",
        caller="staff:clerk",
        request_id="r9",
        exam_id=EXAM,
        fields={"capacity": str(capacity)},
    )


async def test_an_oversold_exam_that_staff_changed_once_is_judged_and_the_watch_goes_on(ledger, hand, watch, rows):
    """Staff's row in the audit log names its request; the sample once left that name out, and the watch ended."""
    await ledger.change_exam(lowered(1))
    await hand.carry("exam_update")
    await ledger.claim([wish("1")])
    await hand.carry()
    assert await rows.of("select 1 from hubspot_sync.audit_log where operation = 'EXAM_UPDATE'")
    await rows.do("update hubspot_sync.hubspot_mock_exams set capacity = 0")
    assert names(await watch.look()) == ["I1"]


@contextlib.asynccontextmanager
async def running(watch):
    task = asyncio.create_task(watch.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_it_looks_by_itself(database, ledger, gates):
    watch = Watch(Care(database), gates, Settings(watch_s=0.02))

    async def looked():
        return watch.sample is not None

    async with running(watch):
        await until(looked, 20)


class Failing:
    """A ledger whose samples cannot be had until `fault` is gone."""

    def __init__(self, inner, fault):
        self.inner = inner
        self.fault = fault

    async def some_exams(self, most):
        if self.fault is not None:
            raise self.fault
        return await self.inner.some_exams(most)

    async def sample(self, exam_ids):
        return await self.inner.sample(exam_ids)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Unavailable("Postgres cannot be reached."), "Postgres cannot be reached"),
        (KeyError("x"), "the look itself failed, see the log"),
    ],
    ids=["away", "a fault of the watch"],
)
async def test_a_watch_that_cannot_look_says_so_and_goes_on(ledger, database, gates, fault, words):
    care = Failing(Care(database), fault)
    watch = Watch(care, gates, Settings(watch_s=0.2))

    async def blind():
        return watch.ready()["ok"] is False

    async def sees():
        return watch.ready()["ok"] is True and "nothing wrong" in watch.ready()["detail"]

    async with running(watch) as task:
        await until(blind, 20)
        assert words in watch.ready()["detail"]
        assert watch.broken == []
        assert not task.done()
        care.fault = None
        await until(sees, 20)


async def test_a_watch_that_ended_is_not_well_for_ever(ledger, database, gates):
    watch = Watch(Care(database), gates, Settings(watch_s=0.02))
    await watch.look()

    async def silent():
        return watch.ready()["ok"] is False

    await until(silent, 20)
    assert "nobody has looked for" in watch.ready()["detail"]
