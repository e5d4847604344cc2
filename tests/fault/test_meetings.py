"""Two transactions that meet at one row: the second waits, and acts on what the first has left there."""

import asyncio
import uuid

import msgspec
import pytest

from lastseat.errors import Uncertain
from lastseat.model import Retry, Settlement
from lastseat.model_moves import MoveRequest
from tests.fault.kit import EXAM, cancelling, exam, wish
from tests.fault.world import until

OTHER = "502"


async def behind(rows, task) -> None:
    """Wait until the call has met the transaction that `rows` has open, then end that."""
    await until(rows.blocked, 30)
    assert not task.done()
    await rows.do("commit")


def moving(reference: str) -> MoveRequest:
    minted = wish("1", OTHER)
    return MoveRequest(
        claim_id=minted.claim_id,
        booking_id=minted.booking_id,
        reference=reference,
        exam_id=OTHER,
        caller="staff:1",
        request_id="r3",
        key=None,
        fingerprint="",
    )


async def test_a_cancel_that_meets_the_end_of_a_refused_move_is_queued_all_the_same(ledger, hand, rows):
    """Race: the move's own cancel is dropped with the move; the student's wish must not vanish with it."""
    await ledger.mirror(exams=[exam(OTHER)])
    mine = wish("1")
    await ledger.claim([mine])
    await hand.carry()
    await ledger.move_booking(moving(mine.booking_id))
    await rows.do("begin")
    await rows.do("update hubspot_sync.outbox set state = 'dropped', done_at = now() where kind = 'cancel'")
    asked = asyncio.create_task(ledger.cancel([cancelling(mine.booking_id, "1")]))
    await behind(rows, asked)
    assert [(a.outcome, a.booking.is_active) for a in (await asked)[0]] == [("pending", "Active")]
    cancels = await rows.outbox("kind = 'cancel'")
    assert [(row["state"], row["after_booking"] is None) for row in cancels] == [
        ("dropped", False),
        ("waiting", True),
    ]
    await hand.carry("cancel")
    assert hand.hubspot.held() == []


def again(*sent) -> Settlement:
    return Settlement(retry=[Retry(outbox_id=row.outbox_id, after_s=0, reason="no answer") for row in sent])


async def test_a_count_to_be_sent_again_meets_a_newer_one_that_is_not_committed_yet(ledger, hand, rows):
    """Race: two may not wait; once, the second was refused, and the relay gave up its whole term."""
    await ledger.claim([wish("1")])
    await hand.carry()
    older = await hand.send("count")
    await rows.do("begin")
    await rows.do("select from hubspot_sync.hubspot_mock_exams where hubspot_id = $1 for update", EXAM)
    await rows.do("insert into hubspot_sync.outbox (kind, exam_id) values ('count', $1)", EXAM)
    asked = asyncio.create_task(hand.settle(again(*older)))
    await behind(rows, asked)
    await asked
    counts = await rows.outbox("kind = 'count'")
    assert [(row["state"], row["done_at"] is None) for row in counts] == [("dropped", False), ("waiting", True)]


async def test_of_two_counts_that_a_new_term_sent_together_the_newer_waits(ledger, hand, rows):
    await ledger.claim([wish("1")])
    await hand.carry()
    await hand.send("count")
    await ledger.claim([wish("2")])
    await hand.carry()
    await rows.end_lease()
    await hand.take()
    both = await hand.send("count")
    assert len(both) == 2
    await hand.settle(again(*both))
    assert [row["state"] for row in await rows.outbox("kind = 'count'")] == ["dropped", "waiting"]


async def test_a_refused_booking_that_staff_tries_again_is_not_cancelled_for_what_was_seen_before(ledger, hand, rows):
    await ledger.claim([wish("1")])
    hand.hubspot.fates.extend(["late", "ok", "down"])
    await hand.settle(await hand.deliver(await hand.send()))
    await rows.due_now()
    hand.hubspot.poison["1"] = "Property values were not valid"
    hand.delivery.accepted_at["create"] = asyncio.get_running_loop().time()
    await hand.carry()
    assert [c["state"] for c in await rows.claims()] == ["refused"]
    hand.hubspot.poison.clear()
    hand.hubspot.land()
    await rows.due_now()
    [row] = await ledger.to_verify(hand.term, 100)
    retry = msgspec.json.encode({"outbox_id": row.outbox_id, "caller": "staff:1", "request_id": "r"}).decode()
    await rows.do("begin")
    await rows.do("select lastseat_api.retry_aside($1::jsonb)", retry)
    looked = asyncio.create_task(ledger.verified(hand.term, [(row, hand.hubspot.records[row.key])]))
    await behind(rows, looked)
    await looked
    await hand.carry()
    assert await hand.carry("cancel") is None
    assert [c["state"] for c in await rows.claims()] == ["booked"]
    assert len(hand.hubspot.held()) == 1
    assert [r["verify_at"] is None for r in await rows.outbox("kind = 'create'")] == [False], "and is looked at again"


@pytest.mark.parametrize("kind", ["cancel", "exam_update"])
async def test_what_a_new_relay_takes_over_is_looked_at_again(ledger, hand, rows, kind):
    """Crash: the call of the relay before it may still land, over a later change of ours or of HubSpot's users."""
    mine = wish("1")
    await ledger.claim([mine])
    await hand.carry()
    if kind == "cancel":
        await ledger.cancel([cancelling(mine.booking_id, "1")])
    else:
        await rows.do(
            "insert into hubspot_sync.outbox (kind, change_id, exam_id, fields, caller)"
            " values ('exam_update', $1, $2, '{\"location\": \"Calgary\"}', 'staff:1')",
            uuid.uuid4(),
            EXAM,
        )
    assert len(await hand.send(kind)) == 1
    await rows.end_lease()
    await hand.take()
    await hand.carry(kind)
    assert [row["verify_at"] is None for row in await rows.outbox(f"kind = '{kind}'")] == [False]
    await rows.due_now()
    assert await hand.verify() == 1


def undecided(ledger, monkeypatch, times: int, function: str) -> None:
    """The first answers say `conflict`: another exam's transaction took the key meanwhile."""
    call, left = ledger._database.call, iter(range(times))

    async def answered(asked, args):
        if asked == function and next(left, None) is not None:
            answer = b'{"outcome": "conflict", "exam_id": "501"}'
            return answer if function == "move_booking" else b'{"answers": [%s], "gates": []}' % answer
        return await call(asked, args)

    monkeypatch.setattr(ledger._database, "call", answered)


async def test_a_move_that_meets_its_key_elsewhere_is_asked_again(ledger, hand, monkeypatch):
    await ledger.mirror(exams=[exam(OTHER)])
    mine = wish("1")
    await ledger.claim([mine])
    await hand.carry()
    undecided(ledger, monkeypatch, 3, "move_booking")
    assert (await ledger.move_booking(moving(mine.booking_id)))[0].answer.outcome == "won"
    undecided(ledger, monkeypatch, 4, "move_booking")
    with pytest.raises(Uncertain):
        await ledger.move_booking(moving(mine.booking_id))


async def test_what_the_last_round_decides_is_heard(ledger, monkeypatch):
    undecided(ledger, monkeypatch, 3, "claim")
    assert [a.outcome for a in await ledger.claim([wish("1")])] == ["won"]
    undecided(ledger, monkeypatch, 4, "claim")
    with pytest.raises(Uncertain):
        await ledger.claim([wish("2")])
