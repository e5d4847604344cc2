"""Live seats: all readers get one frame, own outcomes go to their student only, and nobody holds the others up."""

import asyncio
import time
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest

from lastseat.errors import Unavailable
from lastseat.model import Announcement, BookingId, ContactId, Outcome
from lastseat.web import fanout as fanout_module
from lastseat.web.auth import sign
from tests.web.caller import Caller
from tests.web.fakes import BOOKING, EXAM, OTHER, SECRET, STUDENT, World, student
from tests.web.readers import Reader, gate, opened, true


@pytest.fixture
async def app(world: World) -> AsyncIterator[Any]:
    async with opened(world) as app:
        yield app


async def test_a_new_reader_hears_all_seats_at_once(app: Any):
    reader = Reader(app)
    await true(lambda: reader.events("seats"))
    assert reader.status == 200
    assert reader.headers[b"content-type"].startswith(b"text/event-stream")
    assert reader.headers[b"cache-control"] == b"no-store"
    assert reader.text.startswith("retry: ")
    (frame,) = reader.events("seats")
    assert frame["exams"] == [
        {
            "exam_id": EXAM,
            "capacity": 20,
            "total_bookings": 17,
            "remaining": 3,
            "is_full": False,
            "status": "limited",
        }
    ]
    await reader.leave()


async def test_a_change_reaches_everybody_in_one_frame(app: Any, world: World):
    readers = [Reader(app) for _ in range(200)]
    await true(lambda: all(reader.events("seats") for reader in readers))
    world.live.change(gate(2, version=2), gate(0, exam_id="9009"))
    await true(lambda: all(len(reader.events("seats")) == 2 for reader in readers))
    frames = {reader.got[-1] for reader in readers}
    assert len(frames) == 1
    assert [(exam["remaining"], exam["is_full"]) for exam in readers[0].events("seats")[1]["exams"]] == [
        (2, False),
        (0, True),
    ]
    for reader in readers:
        await reader.leave()


@pytest.mark.parametrize("turns", [True, False], ids=["turns", "control: all woken in one go"])
async def test_others_have_their_turn_while_a_frame_goes_out(app: Any, world: World, turns: bool, monkeypatch):
    if not turns:
        monkeypatch.setattr(fanout_module, "CHUNK", 10_000)
    readers = [Reader(app) for _ in range(400)]
    await true(lambda: all(reader.events("seats") for reader in readers))
    before = [len(reader.got) for reader in readers]
    reached = [0]
    world.live.change(gate(2))
    while reached[-1] < len(readers):
        await asyncio.sleep(0)  # as a plain request would, between two turns of the loop
        reached.append(sum(len(reader.got) > had for reader, had in zip(readers, before, strict=True)))
    at_once = max(now - then for then, now in pairwise(reached))
    assert (at_once <= 2 * 50) == turns, f"{at_once} streams were sent to in one turn"
    for reader in readers:
        await reader.leave()


async def test_the_first_change_leaves_at_once_and_the_next_ones_together(world: World):
    async with opened(world, events_tick_s=0.2) as app:
        reader = Reader(app)
        await true(lambda: reader.events("seats"))
        await asyncio.sleep(0.25)
        began = time.monotonic()
        world.live.change(gate(2))
        await true(lambda: len(reader.events("seats")) == 2)
        assert time.monotonic() - began < 0.15
        for remaining in (1, 0):
            world.live.change(gate(remaining))
            await asyncio.sleep(0.01)
        await true(lambda: len(reader.events("seats")) == 3)
        assert 0.15 < time.monotonic() - began < 0.6
        assert reader.events("seats")[2]["exams"][0]["remaining"] == 0
        await reader.leave()


async def test_the_pause_grows_with_what_sending_costs(world: World, monkeypatch):
    spent = iter(range(0, 10_000, 1))
    monkeypatch.setattr(fanout_module.time, "process_time", lambda: next(spent) * 0.1)
    async with opened(world, events_tick_s=0.02, events_share=0.25) as app:
        reader = Reader(app)
        await true(lambda: reader.events("seats"))
        text = (await Caller(app).get("/metrics")).body.decode()
        assert "lastseat_event_tick_seconds" in text
        tick_s = float(
            next(line for line in text.splitlines() if line.startswith("lastseat_event_tick_seconds{")).split()[-1]
        )
        assert tick_s == pytest.approx(0.1 / 0.25)
        await reader.leave()


async def test_readers_hear_that_the_list_itself_changed(app: Any, world: World):
    reader = Reader(app)
    await true(lambda: reader.events("seats"))
    assert reader.events("exams") == []
    world.live.change(list_changed=True)
    await true(lambda: reader.events("exams") == [{}])
    await reader.leave()


async def test_own_outcomes_reach_their_student_and_nobody_else(app: Any, world: World):
    mine, other, nobody = Reader(app, student()), Reader(app, student(OTHER)), Reader(app)
    await true(lambda: all(reader.events("seats") for reader in (mine, other, nobody)))
    outcome = Outcome(
        claim_id=None, booking_id=BookingId(BOOKING), contact_id=STUDENT, exam_id=EXAM, state="refused", reason="full"
    )
    world.news[0](Announcement(outcomes=[outcome], contacts=[STUDENT, OTHER]))
    await true(lambda: mine.events("booking"))
    assert mine.events("booking") == [{"booking_id": BOOKING, "exam_id": EXAM, "state": "refused", "reason": "full"}]
    await true(lambda: other.events("bookings") == [{}])
    assert BOOKING not in other.text + nobody.text
    assert nobody.events("bookings") == []
    for reader in (mine, other, nobody):
        await reader.leave()


async def test_who_comes_back_gets_what_was_missed(app: Any, world: World):
    reader = Reader(app, student())
    await true(lambda: reader.events("seats"))
    await reader.leave()
    world.live.change(gate(1, exam_id="9009"))
    outcome = Outcome(claim_id=None, booking_id=BookingId(BOOKING), contact_id=STUDENT, exam_id=EXAM, state="booked")
    world.news[0](Announcement(outcomes=[outcome]))
    await asyncio.sleep(0.05)
    again = Reader(app, student(), reader.last_id)
    await true(lambda: again.events("seats") and again.events("booking"))
    assert [exam["exam_id"] for exam in again.events("seats")[0]["exams"]] == ["9009"]
    assert again.events("exams") == []
    await again.leave()


@pytest.mark.parametrize(("others", "told"), [(3, []), (2_000, [{}])], ids=["kept", "forgotten"])
async def test_who_comes_back_after_a_rush_is_told_to_look(app: Any, world: World, others: int, told: list):
    """Outcomes of a rush push older ones out; whoever may have missed one hears at least that."""
    reader = Reader(app, student())
    await true(lambda: reader.events("seats"))
    await reader.leave()
    for number in range(others):
        contact = STUDENT if number == 0 else ContactId(str(90_000 + number))
        outcome = Outcome(
            claim_id=None, booking_id=BookingId(BOOKING), contact_id=contact, exam_id=EXAM, state="booked"
        )
        world.news[0](Announcement(outcomes=[outcome], contacts=[ContactId(str(200_000 + number))]))
    again = Reader(app, student(), reader.last_id)
    await true(lambda: again.events("booking") + again.events("bookings"))
    assert again.events("bookings") == told
    assert len(again.events("booking")) == (0 if told else 1)
    await again.leave()


async def test_who_comes_from_another_process_gets_everything_and_is_told_to_look(app: Any):
    reader = Reader(app, student(), "0badc0de-7")
    await true(lambda: reader.events("seats") and reader.events("bookings"))
    assert [exam["exam_id"] for exam in reader.events("seats")[0]["exams"]] == [EXAM]
    await reader.leave()
    odd = Reader(app, None, "x" * 5000)
    await true(lambda: odd.events("seats"))
    await odd.leave()


async def test_a_quiet_stream_is_told_that_it_lives(world: World, monkeypatch):
    monkeypatch.setattr(fanout_module, "LOOK_S", 0.02)
    async with opened(world, events_heartbeat_s=0.05) as app:
        reader = Reader(app)
        await true(lambda: reader.text.count(": alive\n\n") >= 2)
        await reader.leave()


async def test_a_change_that_nobody_told_of_is_found_by_looking(world: World, monkeypatch):
    monkeypatch.setattr(fanout_module, "LOOK_S", 0.02)
    async with opened(world) as app:
        reader = Reader(app)
        await true(lambda: reader.events("seats"))
        seats_now, asked = world.live.seats_now, []

        async def look():
            asked.append(1)
            return await seats_now()

        monkeypatch.setattr(world.live, "seats_now", look)
        await true(lambda: len(asked) > 2)
        await reader.leave()


async def test_seats_that_cannot_be_read_yet_are_said_in_one_line_each_time(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(fanout_module, "LOOK_S", 0.02)
    faults: list[Exception] = [Unavailable("Supabase is away: no answer"), ValueError("a fault of ours")]

    async def look():
        if faults:
            raise faults.pop(0)
        return world.live.gates

    monkeypatch.setattr(world.live, "seats_now", look)
    async with opened(world) as app:
        reader = Reader(app)
        await true(lambda: reader.events("seats"))
        await reader.leave()
    away, ours = (record for record in caplog.records if "live seats cannot be read yet" in record.message)
    assert (away.exc_info, away.message) == (None, "live seats cannot be read yet: Supabase is away: no answer")
    assert ours.exc_info is not None


async def test_a_stuck_reader_is_dropped_and_holds_nobody_up(world: World, monkeypatch):
    monkeypatch.setattr(fanout_module, "LOOK_S", 0.02)
    async with opened(world, events_slow_s=0.1) as app:
        stuck, well = Reader(app), Reader(app)
        await true(lambda: stuck.events("seats") and well.events("seats"))
        stuck.take.clear()
        for remaining in (2, 1, 0):
            world.live.gates = [gate(remaining)]
            world.live.change(*world.live.gates)
            await asyncio.sleep(0.03)
        await true(lambda: well.events("seats")[-1]["exams"][0]["remaining"] == 0)
        await asyncio.wait_for(stuck.task, 2)
        assert "lastseat_event_dropped_total" in (await Caller(app).get("/metrics")).body.decode()
        assert not well.task.done()
        await well.leave()


async def test_a_slow_reader_gets_one_frame_for_all_that_it_missed(app: Any, world: World):
    slow = Reader(app)
    await true(lambda: slow.events("seats"))
    slow.take.clear()
    for remaining, exam_id in ((2, EXAM), (1, "9007"), (0, EXAM)):
        world.live.change(gate(remaining, exam_id=exam_id))
        await asyncio.sleep(0.05)
    slow.take.set()
    await true(lambda: len(slow.events("seats")) >= 3)
    assert len(slow.events("seats")) == 3, "the one under way, and one for the rest"
    assert {exam["exam_id"]: exam["remaining"] for exam in slow.events("seats")[2]["exams"]} == {EXAM: 0, "9007": 1}
    await slow.leave()


async def test_a_session_that_ends_takes_its_stream_along(world: World, monkeypatch):
    monkeypatch.setattr(fanout_module, "LOOK_S", 0.02)
    async with opened(world) as app:
        token = sign(SECRET, subject="user-501", ttl_s=1, contact_id=STUDENT)
        reader = Reader(app, token)
        await asyncio.wait_for(reader.task, 3)
        assert reader.ended


async def test_bad_credentials_open_no_stream(app: Any):
    reader = Reader(app, "no.such.token")
    await reader.task
    assert reader.status == 401


@pytest.mark.parametrize(
    ("settings", "token", "status"),
    [
        ({"events_account_most": 2}, student(), 429),
        ({"events_address_most": 2}, None, 429),
        ({"events_most": 2}, None, 503),
    ],
)
async def test_too_many_streams_are_refused_with_a_time_to_come_back(
    world: World, settings: dict, token: str | None, status: int
):
    async with opened(world, **settings) as app:
        readers = [Reader(app, token) for _ in range(2)]
        await true(lambda: all(reader.events("seats") for reader in readers))
        third = Reader(app, token)
        await third.task
        assert third.status == status
        assert int(third.headers[b"retry-after"]) >= 1
        await readers[0].leave()
        fourth = Reader(app, token)
        await true(lambda: fourth.events("seats"))
        for reader in (readers[1], fourth):
            await reader.leave()


async def test_a_school_behind_one_address_is_not_limited_by_it(app: Any):
    readers = [Reader(app, student(str(500 + number))) for number in range(60)]
    await true(lambda: all(reader.events("seats") for reader in readers))
    for reader in readers:
        await reader.leave()


async def test_nothing_is_left_of_readers_that_went(app: Any, world: World):
    for _ in range(3):
        readers = [Reader(app, student()) for _ in range(5)]
        await true(lambda: all(reader.events("seats") for reader in readers))  # noqa: B023  awaited at once
        for reader in readers:
            await reader.leave()
    text = (await Caller(app).get("/metrics")).body.decode()
    assert any(line.startswith("lastseat_event_streams{") and line.endswith(" 0") for line in text.splitlines())
    fanout = world.news[0].__self__
    assert (len(fanout), fanout._by_contact) == (0, {})


async def test_streams_end_when_the_process_stops(world: World):
    async with opened(world) as app:
        reader = Reader(app)
        await true(lambda: reader.events("seats"))
    await asyncio.wait_for(reader.task, 2)
    assert reader.ended
