"""News between processes on a real Valkey: told before the writer is answered, owed while Redis is away."""

import asyncio
import time
from collections.abc import Callable

import pytest

from lastseat.embedded.valkey import EmbeddedValkey
from lastseat.errors import Unavailable
from lastseat.model import Announcement, ClaimId, ContactId, ExamId, Gate, Outcome
from lastseat.stores.gate import GateStore
from lastseat.stores.keys import EXAMS_AVAILABLE, EXAMS_LIST, NEWS, WAKE, bookings_of, gate_of, views_changed_by
from lastseat.stores.redis import RedisTrips
from tests.reads.conftest import Process
from tests.reads.test_views import ANNA, VIEW, Source
from tests.reads.waiting import until

Make = Callable[..., Process]
EXAM = ExamId("9001")
SEATS = Gate(exam_id=EXAM, version=4, capacity=20, remaining=3, taken=17, open=True)
NEWS_OF_ANNA = Announcement(
    gates=[SEATS],
    contacts=[ANNA],
    outcomes=[
        Outcome(claim_id=ClaimId("c"), booking_id=None, contact_id=ANNA, exam_id=EXAM, state="booked", outbox_id=7)
    ],
)


async def listening(process: Process) -> list[Announcement]:
    heard: list[Announcement] = []
    process.bulletin.start()
    await until(lambda: asyncio.sleep(0, process.bulletin.connected))
    process.bulletin.subscribe(heard.append)
    return heard


async def test_news_reach_this_process_first_and_the_others_whole(process: Make):
    here, there = process(), process()
    heard_here, heard_there = await listening(here), await listening(there)
    announcing = asyncio.create_task(here.bulletin.announce(NEWS_OF_ANNA))
    await asyncio.sleep(0)
    assert heard_here == [NEWS_OF_ANNA]
    await announcing
    await until(lambda: asyncio.sleep(0, heard_there == [NEWS_OF_ANNA]))
    assert heard_here == [NEWS_OF_ANNA], "our own message is not heard twice"


async def test_when_announce_returns_views_are_gone_and_gates_are_put(process: Make, trips: RedisTrips):
    one = process()
    for key in (VIEW, EXAMS_AVAILABLE, EXAMS_LIST, bookings_of(ContactId("502"))):
        await trips.execute("SET", key, "something")
    await one.bulletin.announce(NEWS_OF_ANNA)
    assert await GateStore(trips, gate_ttl_s=60).look([EXAM]) == {EXAM: SEATS}
    assert await trips.execute("EXISTS", VIEW) == 0
    assert await trips.execute("EXISTS", EXAMS_AVAILABLE, bookings_of(ContactId("502"))) == 2
    await one.bulletin.announce(Announcement(exams_changed=True))
    assert await trips.execute("EXISTS", EXAMS_AVAILABLE, EXAMS_LIST) == 0


async def test_an_announcement_is_one_trip(process: Make, monkeypatch):
    one = process()
    await one.trips.execute("PING")
    trips: list[tuple[str, tuple]] = []
    script = one.trips.script

    async def counted(name, keys, args):
        trips.append((name, tuple(keys)))
        return await script(name, keys, args)

    monkeypatch.setattr(one.trips, "script", counted)
    assert await one.bulletin.announce(NEWS_OF_ANNA)
    assert [name for name, _ in trips] == ["announce"]


def test_a_booking_leaves_the_list_of_exams_alone():
    assert views_changed_by(NEWS_OF_ANNA) == [VIEW]
    assert views_changed_by(Announcement(exams_changed=True)) == [EXAMS_AVAILABLE, EXAMS_LIST]
    assert views_changed_by(Announcement(contacts=[ANNA, ANNA])) == [VIEW]
    assert views_changed_by(Announcement(gates=[SEATS])) == []


async def test_own_write_is_visible_at_once_and_in_others_before_the_answer(process: Make):
    here, there, source = process(), process(), Source()
    for one in (here, there):
        await one.views.bookings(ANNA, source)
    source.body = b"[2]"
    await here.bulletin.announce(NEWS_OF_ANNA)
    for one in (here, there):
        assert (await one.views.bookings(ANNA, source)).body == b"[2]"


async def test_a_wake_is_heard_here_at_once_and_elsewhere_soon_and_once(process: Make):
    here, there = process(), process()
    woken: list[str] = []
    await listening(here)
    await listening(there)
    here.bulletin.on_wake(lambda: woken.append("here"))
    there.bulletin.on_wake(lambda: woken.append("there"))
    waking = asyncio.create_task(here.bulletin.wake())
    await asyncio.sleep(0)
    assert woken == ["here"]
    await waking
    await until(lambda: asyncio.sleep(0, "there" in woken))
    assert woken == ["here", "there"]


async def test_without_redis_news_stay_in_the_process_and_nothing_fails(process: Make):
    alone = process("redis://127.0.0.1:1")
    heard: list[Announcement] = []
    woken: list[None] = []
    alone.bulletin.subscribe(heard.append)
    alone.bulletin.on_wake(lambda: woken.append(None))
    alone.bulletin.start()
    assert not await alone.bulletin.announce(NEWS_OF_ANNA)
    await alone.bulletin.wake()
    assert heard == [NEWS_OF_ANNA]
    assert woken == [None]
    assert not alone.bulletin.connected


async def test_garbage_on_our_channels_is_ignored(process: Make, trips: RedisTrips):
    one = process()
    heard = await listening(one)
    for garbage in (b"", b"null", b"{}", b"\xff\xfe", b'["a"]'):
        await trips.execute("PUBLISH", NEWS, garbage)
        await trips.execute("PUBLISH", WAKE, garbage)
    await process().bulletin.announce(NEWS_OF_ANNA)
    await until(lambda: asyncio.sleep(0, heard == [NEWS_OF_ANNA]))
    assert one.bulletin.connected


async def test_a_listener_at_fault_keeps_no_news_from_the_others(process: Make, caplog):
    one = process()
    heard: list[Announcement] = []

    def broken(news: Announcement) -> None:
        raise ZeroDivisionError

    one.bulletin.subscribe(broken)
    one.bulletin.subscribe(heard.append)
    await one.bulletin.announce(NEWS_OF_ANNA)
    assert heard == [NEWS_OF_ANNA]
    assert "listener" in caplog.text


async def test_after_a_gap_everything_may_have_changed_and_the_relay_looks(valkey: EmbeddedValkey, process: Make):
    one = process(valkey.url)
    heard = await listening(one)
    woken: list[None] = []
    one.bulletin.on_wake(lambda: woken.append(None))
    valkey.restart()
    await until(lambda: asyncio.sleep(0, bool(heard and woken)))
    assert heard[0].exams_changed


class Deaf:
    """Lets a process's announcements get lost on the way while everything else arrives."""

    def __init__(self, process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
        self.on = True
        script = process.trips.script

        async def lossy(name, keys, args):
            if name == "announce" and self.on:
                raise Unavailable("lost")
            return await script(name, keys, args)

        monkeypatch.setattr(process.trips, "script", lossy)


async def test_a_lost_announcement_is_owed_and_meanwhile_not_hidden_from_its_own_process(
    process: Make, trips: RedisTrips, monkeypatch
):
    here, there, source = process(), process(), Source()
    heard = await listening(there)
    deaf = Deaf(here, monkeypatch)
    await there.views.bookings(ANNA, source)
    await trips.execute("SET", gate_of(EXAM), "older")
    source.body = b"[2]"
    await here.bulletin.announce(NEWS_OF_ANNA)
    assert (await here.views.bookings(ANNA, source)).body == b"[2]"
    deaf.on = False
    await until(lambda: asyncio.sleep(0, heard == [Announcement(exams_changed=True)]))
    assert await trips.execute("EXISTS", gate_of(EXAM)) == 0
    assert (await there.views.bookings(ANNA, source)).body == b"[2]"
    assert not here.views._distrusted
    assert not here.bulletin._owed


async def test_a_fill_that_outlives_a_lost_announcement_is_not_stored(process: Make, trips: RedisTrips, monkeypatch):
    here, source = process(), Source(delay_s=0.03)
    Deaf(here, monkeypatch)
    slow = asyncio.create_task(here.views.bookings(ANNA, source))
    await until(lambda: asyncio.sleep(0, source.asked == 1))
    source.body = b"[2]"
    await here.bulletin.announce(NEWS_OF_ANNA)
    assert (await slow).body == b"[2]"
    assert b"[1]" not in (await trips.execute("GET", VIEW) or b"")


async def test_debts_are_paid_in_pieces(process: Make, trips: RedisTrips, monkeypatch):
    monkeypatch.setattr("lastseat.stores.bulletin.DROPS", 10)
    here = process()
    deaf = Deaf(here, monkeypatch)
    students = [ContactId(str(n)) for n in range(35)]
    for student in students:
        await trips.execute("SET", bookings_of(student), "old")
        await here.bulletin.announce(Announcement(contacts=[student]))
    deaf.on = False
    await until(lambda: asyncio.sleep(0, not here.bulletin._owed))
    assert await trips.execute("EXISTS", *map(bookings_of, students)) == 0


async def test_an_announcement_that_is_cancelled_is_still_owed(process: Make, trips: RedisTrips, monkeypatch):
    here = process()
    await trips.execute("SET", VIEW, "old")
    announcing = asyncio.create_task(here.bulletin.announce(NEWS_OF_ANNA))
    await asyncio.sleep(0)
    announcing.cancel()
    await asyncio.gather(announcing, return_exceptions=True)
    await until(lambda: asyncio.sleep(0, not here.bulletin._owed and not here.views._distrusted))
    assert await trips.execute("EXISTS", VIEW) == 0


async def test_a_dead_redis_delays_a_writer_only_briefly(valkey: EmbeddedValkey, process: Make):
    one = process(valkey.url)
    await one.bulletin.announce(NEWS_OF_ANNA)
    valkey.kill()
    began = time.monotonic()
    for _ in range(50):
        await one.bulletin.announce(NEWS_OF_ANNA)
    assert time.monotonic() - began < 1
