"""A reply that is lost makes a call uncertain; it is resent unchanged and there is one result, over every way."""

from collections.abc import AsyncIterator

import pytest

from lastseat.errors import Unavailable, Uncertain
from lastseat.model import Settlement
from tests.contract.conftest import ledger_over
from tests.contract.faults import Fault, FaultProxy
from tests.contract.words import EXAM, acknowledged, booked, booking, cancel, exam, leased, wish

FAULTS: tuple[Fault, ...] = ("lost request", "lost reply", "late reply")


class Line:
    """A ledger through a proxy, on one connection that has made each call once before."""

    def __init__(self, way, proxy: FaultProxy) -> None:
        self.proxy = proxy
        self.rows = way.rows
        # One connection, so that the next message is that of the call; short, so that a late reply is late soon.
        self.database = way.through(proxy).open(connections=1, timeout_s=0.8)
        self.ledger = ledger_over(self.database)

    async def warm(self) -> None:
        """Statements are prepared at their first use; after that a call is one request and one reply."""
        ledger = self.ledger
        await ledger.mirror(exams=[exam("900"), exam("901")])
        term = (await leased(ledger, "warm")).term
        await booked(ledger, term, wish("warm", "900"), "6001")
        await ledger.cancel([cancel("6001")])
        await ledger.exams()
        await ledger.lookup([wish()])
        await ledger.release_lease("warm", term)


@pytest.fixture
async def line(way) -> AsyncIterator[Line]:
    async with way.proxy() as proxy:
        line = Line(way, proxy)
        await line.warm()
        yield line
        await line.database.close()


@pytest.fixture(params=FAULTS)
def fault(request: pytest.FixtureRequest) -> Fault:
    return request.param


async def test_a_claim_is_made_once(line, fault):
    await line.ledger.mirror(exams=[exam(capacity=3)])
    wishes = [wish("1", key="k"), wish("2")]
    lost = [fault] if fault == "late reply" else [fault, fault]
    line.proxy.order(*lost)
    answers = await line.ledger.claim(wishes)
    assert line.proxy.seen == lost
    assert [(a.outcome, a.claim.claim_id) for a in answers] == [("won", w.claim_id) for w in wishes]
    assert (await line.ledger.gates([EXAM]))[0].taken == 2
    audited = await line.rows(
        "select from hubspot_sync.audit_log where table_name = 'claims' and new_values ? 'state'"
        " and new_values ->> 'exam_id' = $1",
        EXAM,
    )
    assert len(audited) == 2


async def test_a_cancel_frees_one_seat_once(line, fault):
    await line.ledger.mirror(exams=[exam(capacity=3)])
    mine = wish("1")
    await line.ledger.claim([mine, wish("2")])
    line.proxy.order(fault)
    answers, _ = await line.ledger.cancel([cancel(mine.booking_id, owner="1")])
    assert line.proxy.seen == [fault]
    assert answers[0].outcome in {"cancelled", "already_cancelled"}
    assert (await line.ledger.gates([EXAM]))[0].taken == 1


async def test_a_settlement_is_taken_once(line, fault):
    await line.ledger.mirror(exams=[exam()])
    term = (await leased(line.ledger)).term
    mine = wish("1")
    await line.ledger.claim([mine])
    (row,) = await line.ledger.send(term, "create", 10)
    line.proxy.order(fault)
    news, ids = await line.ledger.settle(term, Settlement(written=[acknowledged(row)]))
    assert line.proxy.seen == [fault]
    # A resend finds its row mirrored already; what it did not tell now, `unannounced` tells.
    told, waiting = await line.ledger.unannounced(term)
    assert row.outbox_id in {*ids, *waiting}
    assert {o.state for o in [*news.outcomes, *told.outcomes]} == {"booked"}
    assert (await line.ledger.gates([EXAM]))[0].taken == 1
    links = await line.rows(
        "select from hubspot_sync.outbox where booking_id = $1 and kind like 'link%'", mine.booking_id
    )
    assert len(links) == 2


async def test_a_record_is_mirrored_once(line, fault):
    line.proxy.order(fault)
    news = await line.ledger.mirror(exams=[exam()], bookings=[booking("7001")])
    assert line.proxy.seen == [fault]
    assert {gate.exam_id: gate.taken for gate in news.gates} == {EXAM: 1}
    assert len(await line.rows("select from hubspot_sync.audit_log where record_id = '7001'")) == 1


async def test_a_lease_is_taken_by_one(line, fault):
    line.proxy.order(fault)
    first = await leased(line.ledger, "first")
    assert line.proxy.seen == [fault]
    assert await line.ledger.take_lease("second", 30) is None
    assert (await line.ledger.take_lease("first", 30, first.term)).term == first.term


async def test_marked_rows_whose_reply_is_lost_are_not_handed_out_twice_in_one_term(line, fault):
    await line.ledger.mirror(exams=[exam()])
    first = await leased(line.ledger, "first")
    await line.ledger.claim([wish("1")])
    line.proxy.order(fault)
    with pytest.raises(Uncertain):
        await line.ledger.send(first.term, "create", 10)
    handed_out = await line.ledger.send(first.term, "create", 10)
    assert len(handed_out) == (1 if fault == "lost request" else 0)
    await line.ledger.release_lease("first", first.term)
    (row,) = await line.ledger.send((await leased(line.ledger, "second")).term, "create", 10)
    assert row.taken_over


async def test_a_read_is_asked_again(line, fault):
    line.proxy.order(fault)
    assert [found.hubspot_id for found in await line.ledger.exams()] == ["900", "901"]


async def test_a_read_that_is_never_answered_did_nothing(line):
    line.proxy.order(*["lost reply"] * 4)
    with pytest.raises(Unavailable):
        await line.ledger.exams()


async def test_replies_that_stay_lost_are_told_as_uncertain(line):
    await line.ledger.mirror(exams=[exam()])
    mine = wish("1")
    line.proxy.order(*["lost reply"] * 4)
    with pytest.raises(Uncertain):
        await line.ledger.claim([mine])
    assert [a.outcome for a in await line.ledger.claim([mine])] == ["won"]
    assert (await line.ledger.gates([EXAM]))[0].taken == 1
