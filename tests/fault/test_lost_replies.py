"""What a caller hears when the ledger's reply is lost: never "nothing happened" when something may have."""

import asyncio

import pytest

from lastseat.errors import Unavailable, Uncertain
from lastseat.stores.keys import bookings_of
from lastseat.writes import book
from tests.fault.kit import EXAM, wish
from tests.fault.world import World

GONE = Unavailable("cannot be reached")


def first_lost_then_gone(function_name):
    lost = []

    def fault(function, moment):
        if function == function_name and moment == "after" and not lost:
            lost.append(function)
            return Uncertain("the reply was lost")
        return GONE if lost else None

    return fault


async def test_a_claim_that_may_have_happened_is_never_called_undone(world):
    """The claim is committed, its answer lost, and Postgres is gone when it is asked again."""
    world.database.fault = first_lost_then_gone("claim")
    with pytest.raises(Uncertain):
        await world.book("1", key="k")
    world.database.fault = lambda function, moment: None
    world.start()
    assert (await world.book("1", key="k")).state == "booked"
    assert await world.taken() == 1


async def test_a_read_whose_answer_is_lost_is_only_unavailable(world):
    """Then the last known list is shown; a reader is never asked to send the same key again."""
    world.database.fault = lambda function, moment: Uncertain("the reply was lost") if function == "exams" else None
    with pytest.raises(Unavailable):
        await world.ledger.exams()


async def test_a_lost_reply_is_found_when_asked_again(world):
    lost = iter([Uncertain("x"), None, Uncertain("x")])
    world.database.fault = lambda function, moment: (
        next(lost, None) if (function, moment) == ("claim", "after") else None
    )
    world.start()
    assert (await world.book("1")).state == "booked"
    assert await world.taken() == 1


async def test_a_repeated_wish_tells_everybody_what_the_first_one_could_not(world):
    """Crash: between claim and announcement; whoever cached the list before must hear of the pending booking."""
    mine = wish("1", key="k")
    await world.ledger.claim([mine])
    await asyncio.wait_for(world.booker._claims.submit(wish("1", key="k")), 1)
    assert any("1" in news.contacts for news in world.bulletin.news), bookings_of("1")
    assert all(gate.exam_id == EXAM for news in world.bulletin.news for gate in news.gates)


async def test_a_repeated_wish_that_was_booked_meanwhile_tells_everybody_too(world, rows):
    """Crash: between mirror and announcement; the answer 201 must not be followed by a list of before."""
    world.start()
    assert (await world.book("1", key="k")).state == "booked"
    await world.stop()
    world.bulletin.news.clear()
    assert (await world.book("1", key="k")).state == "booked"
    assert any("1" in news.contacts for news in world.bulletin.news)


async def test_a_booking_found_by_the_last_look_is_told_before_it_is_answered(schema_database_url, monkeypatch):
    """The relay in another process has mirrored it, and nobody here has heard."""
    monkeypatch.setattr(book, "_LAST_LOOK_S", 2.0)
    world = World(schema_database_url, deadline_s=0.5)
    await world.exams()
    deaf, world.bulletin._listeners = world.bulletin._listeners, []
    world.start()
    claim = await world.book("1")
    assert claim.state == "booked"
    assert world.bulletin.news[-1].contacts == ["1"]
    assert world.bulletin.news[-1].outcomes == []
    assert deaf
    await world.close()
