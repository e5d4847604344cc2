"""The ladder: each store away, alone and two at once. What students can still do, what they are told, who sees it."""

import asyncio
import re

import pytest

from lastseat.errors import Unavailable
from tests.fault.people import Student
from tests.fault.town import town
from tests.fault.world import until

EXAM = "501"
_RUNGS = ("supabase", "redis", "hubspot", "portal", "budget", "invariants")


@pytest.fixture
async def place(schema_database_url, redis_url, older_redis_url, monkeypatch):
    async with town(schema_database_url, redis_url, older_redis_url, monkeypatch) as place:
        await place.fill({EXAM: 4}, contacts=12)
        process = await place.process()
        assert await Student(place, "1").book(EXAM) == "booked"
        await place.settled()
        await process.services.bookings.list_for("1", filter="all", page=1, limit=10)
        await process.services.exams.available()
        yield place


async def part(place, name: str) -> dict:
    return (await place.processes[-1].services.ready())[name]


def metric(place, name: str) -> float:
    lines = "\n".join(place.processes[-1].services.figures('process="1"'))
    return float(re.search(rf"^{re.escape(name)} (\S+)$", lines, re.MULTILINE)[1])


def rung(place, name: str) -> float:
    return metric(place, f'lastseat_part_ok{{process="1",part="{name}"}}')


async def until_part(place, name: str, *, ok: bool) -> dict:
    async def said():
        return (await part(place, name))["ok"] is ok

    await until(said)
    return await part(place, name)


async def in_s(work) -> float:
    began_at = asyncio.get_running_loop().time()
    await work
    return asyncio.get_running_loop().time() - began_at


async def refused_at_once(place, contact: str = "9") -> Unavailable:
    """A booking is answered 503 within a moment."""
    with pytest.raises(Unavailable) as refusal:
        async with asyncio.timeout(0.2):
            await place.processes[-1].services.booker.book(_wish(contact))
    return refusal.value


def _wish(contact: str):
    from tests.fault.kit import wish

    return wish(contact, EXAM)


async def test_all_is_well(place):
    parts = await place.processes[-1].services.ready()
    assert {name: said["ok"] for name, said in parts.items()} == dict.fromkeys(parts, True)
    assert parts.keys() == {"supabase", "redis", "hubspot", "relay", "budget", "outbox", "invariants"}
    assert [rung(place, name) for name in _RUNGS] == [1.0] * 6
    assert metric(place, 'lastseat_relay_term{process="1"}') >= 1


async def test_redis_away_the_ledger_decides_alone_and_nobody_hears_a_wrong_full(place):
    await place._way.refuse()
    said = await until_part(place, "redis", ok=False)
    assert said == {"ok": False, "detail": "away: the ledger decides alone, slower", "needed": False}
    assert rung(place, "redis") == 0
    words = [await Student(place, str(n)).book(EXAM) for n in range(2, 6)]
    assert words == ["booked", "booked", "booked", "SESSION_FULL"]
    await place._way.mend()
    await until_part(place, "redis", ok=True)
    await place.settled()
    assert await place.broken() == []


async def test_redis_emptied_in_mid_rush_leaves_no_seat_and_no_wrong_word(place):
    students = [asyncio.create_task(Student(place, str(n)).book(EXAM)) for n in range(2, 10)]
    for _ in range(5):
        await place.redis_flushed()
        await asyncio.sleep(0.01)
    words = await asyncio.gather(*students)
    assert (words.count("booked"), words.count("SESSION_FULL")) == (3, 5)
    await place.settled()
    assert await place.broken() == []


async def test_hubspot_away_seats_are_held_and_confirmed_in_order_when_it_returns(place):
    heard = []
    place.processes[-1].services.news(lambda news: heard.extend(o.contact_id for o in news.outcomes))
    await place.hubspot_way.refuse()
    claims = [await place.processes[-1].services.booker.book(_wish(str(n))) for n in range(2, 5)]
    assert [claim.state for claim in claims] == ["open"] * 3
    assert [claim.booking.is_active for claim in claims] == ["Pending"] * 3
    said = await until_part(place, "hubspot", ok=False)
    assert said["detail"].startswith("away: HubSpot could not be reached")
    assert said["detail"].endswith("; bookings are pending, seats are held")
    assert rung(place, "hubspot") == 0
    assert await Student(place, "9").book(EXAM) == "SESSION_FULL"  # held is taken
    await place.hubspot_way.mend()
    await place.settled()
    assert heard == ["2", "3", "4"]  # told live, in the order in which they came
    await until_part(place, "hubspot", ok=True)
    assert await place.broken() == []


async def said_by(process) -> dict:
    return (await process.services.ready())["hubspot"]


async def test_of_two_processes_the_one_without_the_lease_does_not_speak_of_hubspot_as_if_it_knew(place):
    """It once said 'accepting writes' all through an outage, and one that lost the lease said 'away' for ever."""
    holder, other = place.processes[-1], await place.process()
    await place.hubspot_way.refuse()
    await holder.services.booker.book(_wish("2"))

    async def away():
        return not (await said_by(holder))["ok"]

    async def waiting():
        return "row waits for" in (await said_by(other))["detail"]

    await until(away, 20)
    await until(waiting, 20)
    said = await said_by(other)
    assert said["ok"] is True
    assert re.fullmatch(r"another process writes to HubSpot; the oldest row waits for \d+ s", said["detail"])

    await place.rows("update hubspot_sync.outbox set created_at = now() - interval '2 minutes'")

    async def waits_long():
        return not (await said_by(other))["ok"]

    await until(waits_long, 20)
    assert any('part="hubspot"} 0' in line for line in other.services.figures('process="2"'))

    holder.pause()  # it sleeps past its lease, and the other takes over
    await place.hubspot_way.mend()

    async def took_over():
        return (await said_by(other))["detail"] == "accepting writes"

    await until(took_over, 20)
    await place.settled()
    holder.wake()

    async def knows_no_more():
        return (await said_by(holder)) == {
            "ok": True,
            "detail": "another process writes to HubSpot; no row waits",
            "needed": False,
        }

    await until(knows_no_more, 20)


async def test_a_portal_that_refuses_everything_is_told_in_its_own_words(place):
    place.portal.faults("scope-lost")
    claim = await place.processes[-1].services.booker.book(_wish("2"))
    assert claim.state == "open"
    said = await until_part(place, "hubspot", ok=False)
    assert "scope" in said["detail"]
    assert rung(place, "portal") == 0
    place.portal.faults("")
    await place.settled()
    await until_part(place, "hubspot", ok=True)
    assert await place.broken() == []


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("423=1x", "LOCKED (423), the account is busy"),
        ("477=1x:30", "MIGRATION (477), the account moves to another data centre"),
        ("429-daily=1x", "DAILY, the calls of the day are used up"),
    ],
)
async def test_a_pause_that_hubspot_asked_for_is_said_with_its_end(place, fault, says):
    place.settings = place.settings.model_copy(update={"hubspot_busy_pause_s": 30.0})
    await place.process()
    place.processes[0].kill()  # its relay has the short pause of the other tests
    place.portal.faults(fault)
    claim = await place.processes[-1].services.booker.book(_wish("2"))
    assert claim.state == "open"
    budget = await until_part(place, "budget", ok=False)
    assert re.match(r"paused by HubSpot until \d{4}-\d\d-\d\dT[\d:]+\+00:00: ", budget["detail"])
    assert says in budget["detail"]
    assert "; 0 calls may start now" in budget["detail"]
    assert "{" not in budget["detail"]
    assert budget["needed"] is False
    hubspot = await part(place, "hubspot")
    assert hubspot["ok"] is False
    assert says in hubspot["detail"]
    assert hubspot["detail"].endswith("; bookings are pending, seats are held")
    assert [rung(place, name) for name in ("budget", "portal")] == [0, 1]


async def test_supabase_away_reads_go_on_stale_and_writes_are_refused_at_once(place):
    process = place.processes[-1]
    process.away_for(60)

    async def shut():
        with pytest.raises(Unavailable):
            await process.services.booker.book(_wish("9"))
        return "Supabase is away" in (await part(place, "supabase"))["detail"]

    await until(shut)
    refusal = await refused_at_once(place)
    assert 0 < refusal.retry_after_s <= place.settings.breaker_most_s
    took_s = await in_s(asyncio.gather(*(refused_at_once(place, str(n)) for n in range(2, 10))))
    assert took_s < 0.2
    shown = await process.services.bookings.list_for("1", filter="all", page=1, limit=10)
    assert b'"Active"' in shown  # fresh from Redis or marked stale: tests/live/test_away.py holds them apart
    assert b"Mock 501" in await process.services.exams.available()
    said = await part(place, "supabase")
    assert said["ok"] is False
    assert said.get("needed", True)
    assert rung(place, "supabase") == 0
    assert metric(place, 'lastseat_supabase_shut_total{process="1"}') >= 1
    process.away_for(0)
    assert await Student(place, "2").book(EXAM) == "booked"
    await place.settled()
    assert await place.broken() == []
    assert len(await place.rows("select from hubspot_sync.claims")) == 2  # nothing half done


async def test_redis_and_hubspot_away_seats_are_still_held(place):
    await place._way.refuse()
    await place.hubspot_way.refuse()
    assert (await place.processes[-1].services.booker.book(_wish("2"))).state == "open"
    await place.hubspot_way.mend()
    await place._way.mend()
    await place.settled()
    assert await place.broken() == []


async def test_supabase_and_hubspot_away_a_booking_is_refused_and_not_promised(place):
    await place.hubspot_way.refuse()
    place.processes[-1].away_for(0.3)
    await refused_at_once(place)
    await place.hubspot_way.mend()
    assert await Student(place, "2").book(EXAM) == "booked"
    await place.settled()
    assert await place.broken() == []


async def test_supabase_and_redis_away_the_last_list_is_shown_and_marked_as_such(place):
    process = place.processes[-1]
    process.away_for(60)
    await place._way.refuse()
    await refused_at_once(place)
    body = await process.services.bookings.list_for("1", filter="all", page=1, limit=10)
    assert b'"Active"' in body
    assert b'"stale":true' in body
    with pytest.raises(Unavailable):
        await process.services.bookings.list_for("7", filter="all", page=1, limit=10)
    await place._way.mend()
    process.away_for(0)


async def test_a_broken_invariant_is_seen_by_the_operator(place):
    await place.rows("update hubspot_sync.hubspot_mock_exams set seats_taken = 3")
    said = await until_part(place, "invariants", ok=False)
    assert re.match("I2, I6(, I7)? broken, seen 0 s ago: Exam 501 counts 3 seats taken", said["detail"])
    assert said["detail"].endswith("Run `lastseat doctor`.")
    assert said["needed"] is False
    assert rung(place, "invariants") == 0
