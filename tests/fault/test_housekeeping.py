"""What is forgotten, when, and what never is."""

from datetime import timedelta

import pytest

from lastseat.errors import LeaseLost
from tests.fault.kit import EXAM, wish
from tests.fault.world import World, until


async def keep(hand, *, key_ttl_s=3600.0, keep_s=3600.0, most=100):
    return await hand.ledger.housekeep(hand.term, key_ttl_s=key_ttl_s, keep_s=keep_s, most=most)


async def aged(rows, table, column, hours=2):
    await rows.do(f"update hubspot_sync.{table} set {column} = {column} - $1::interval", timedelta(hours=hours))


async def test_a_key_is_remembered_for_its_time_and_then_free(ledger, hand, rows):
    first = wish("1", key="k")
    await ledger.claim([first])
    await hand.carry()
    await keep(hand)
    assert [a.outcome for a in await ledger.claim([wish("1", key="k")])] == ["replay"]
    await aged(rows, "claims", "created_at")
    assert await keep(hand) == 1
    assert [a.outcome for a in await ledger.claim([wish("1", key="k")])] == ["already_booked"]
    assert [a.outcome for a in await ledger.claim([wish("1", exam_id=EXAM, key="k2"), wish("2", key="k")])] == [
        "already_booked",
        "won",
    ]


async def test_the_key_of_an_open_claim_is_kept_however_old(ledger, hand, rows):
    """An outage may last longer than a key; the student must still find the claim by it."""
    await ledger.claim([wish("1", key="k")])
    await aged(rows, "claims", "created_at", hours=100)
    assert await keep(hand) == 0
    assert [a.outcome for a in await ledger.claim([wish("1", key="k")])] == ["replay"]


async def test_ended_rows_go_and_all_others_stay(ledger, hand, rows):
    await ledger.claim([wish("1"), wish("2")])
    hand.hubspot.poison["2"] = "no"
    await hand.carry()
    await hand.carry("link_contact")
    await ledger.mirror(exams=[])
    before = {(row["kind"], row["state"]) for row in await rows.outbox()}
    assert ("create", "announced") in before
    assert ("create", "aside") in before
    await aged(rows, "outbox", "done_at")
    assert await keep(hand) > 0
    after = {(row["kind"], row["state"]) for row in await rows.outbox()}
    assert ("create", "aside") in after
    assert {state for _, state in after}.isdisjoint({"announced", "done", "dropped"})
    assert ("count", "waiting") in after


async def test_what_must_still_be_looked_at_again_stays(ledger, hand, rows):
    await ledger.claim([wish("1")])
    hand.hubspot.fates.append("lost")
    await hand.carry()
    await aged(rows, "outbox", "done_at")
    await keep(hand)
    assert [row["kind"] for row in await rows.outbox("verify_at is not null")] == ["create"]


async def test_one_round_forgets_only_so_much(ledger, hand, rows):
    await ledger.claim([wish(str(n), key="k") for n in range(2)])
    await hand.carry()
    await aged(rows, "claims", "created_at")
    assert await keep(hand, most=1, keep_s=1e6) == 1


async def test_only_the_holder_of_the_lease_forgets(ledger, hand, rows):
    await rows.end_lease()
    with pytest.raises(LeaseLost):
        await keep(hand)


async def test_the_relay_keeps_house_when_it_has_nothing_better_to_do(schema_database_url, rows):
    world = World(schema_database_url, housekeeping_s=0.05, outbox_keep_s=0.05, key_ttl_s=0.05)
    await world.exams()
    world.start()
    assert (await world.book("1", key="k")).state == "booked"

    async def forgotten():
        return not await rows.outbox() and [c["idempotency_key"] for c in await rows.claims()] == [None]

    await until(forgotten)
    await world.close()


async def test_seats_that_were_changed_by_hand_are_counted_anew(ledger, hand, rows):
    import msgspec

    await ledger.claim([wish("1"), wish("2")])
    hand.hubspot.poison["2"] = "no"
    await hand.carry()
    before = (await ledger.gates([EXAM]))[0]
    await rows.do("delete from hubspot_sync.outbox where kind = 'count'")
    await rows.do("update hubspot_sync.hubspot_mock_exams set seats_taken = 0")
    asked = msgspec.json.encode({"exam_ids": [EXAM]}).decode()
    for corrected in ([{"exam_id": EXAM, "was": 0, "is": before.taken}], []):
        found = await rows.of("select lastseat_api.recount($1::jsonb)::text as said", asked)
        assert msgspec.json.decode(found[0]["said"]) == {"corrected": corrected}
    after = (await ledger.gates([EXAM]))[0]
    assert (after.taken, after.version > before.version) == (before.taken, True)
    assert [row["state"] for row in await rows.outbox("kind = 'count'")] == ["waiting"], "HubSpot is told, too"
