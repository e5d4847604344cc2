"""The checks at run time: on a sample, in one snapshot, seen in /api/ready and in the metrics."""

import pytest

from lastseat.model import Gate
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


async def test_it_looks_by_itself(ledger, database, gates):
    import asyncio

    watch = Watch(Care(database), gates, Settings(watch_s=0.02))
    running = asyncio.create_task(watch.run())

    async def looked():
        return watch.sample is not None

    await until(looked)
    running.cancel()
    await asyncio.wait([running])


async def test_a_ledger_that_is_away_is_no_finding(database, gates, caplog):
    import asyncio

    from lastseat.errors import Unavailable

    class Away:
        async def some_exams(self, most):
            raise Unavailable("cannot be reached")

    watch = Watch(Away(), gates, Settings(watch_s=0.02))
    running = asyncio.create_task(watch.run())

    async def tried():
        return "cannot be reached" in caplog.text

    await until(tried)
    running.cancel()
    await asyncio.wait([running])
    assert watch.ready()["ok"] is True
