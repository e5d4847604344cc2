"""Every write drops every view that shows what it changed; which keys that may be, test_keys.py says."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta

import asyncpg
import msgspec
import pytest

from lastseat.model import Announcement, ContactId, ExamId, Record
from lastseat.ports import RecordKind
from lastseat.stores import keys
from lastseat.stores.care import Care
from lastseat.stores.cursors import UpkeepStore
from lastseat.stores.hubspot_codec import Codec
from lastseat.upkeep.calls import Calls
from lastseat.upkeep.intake import Intake
from lastseat.writes.again import SecondTry
from tests.fault.kit import WRITING
from tests.live.kept import Kept
from tests.staff.world import EXAM, OTHER, StaffWorld, in_days, until
from tests.writes.world import FreeBudget, LocalBulletin

ANNA, BEN, CARA = "701", "702", "703"
Write = Callable[[StaffWorld], Awaitable[object]]


def later() -> datetime:
    return datetime.now(UTC) + timedelta(seconds=1)


async def booked(world: StaffWorld, contact: str, exam: str = EXAM) -> str:
    claim = await world.book(contact, exam)
    assert claim.state == "booked"
    return claim.booking_id


async def one_books(world: StaffWorld) -> None:
    await booked(world, CARA)


async def one_is_refused(world: StaffWorld) -> None:
    world.hubspot.refuse("create")
    assert await world.book_all([CARA]) == ["REFUSED_BY_HUBSPOT"]


async def one_cancels(world: StaffWorld) -> None:
    assert await world.cancel(world.mine[ANNA]) in ("cancelled", "pending")


async def one_moves(world: StaffWorld) -> None:
    await world.move(world.mine[ANNA])


async def an_exam_is_renamed(world: StaffWorld) -> None:
    await world.update(mock_exam_name="Another name")


async def an_exam_moves_to_another_day_and_place(world: StaffWorld) -> None:
    await world.update(exam_date=in_days(33), location="Vancouver", start_time="10:00", end_time="12:00")


async def seats_are_taken_away(world: StaffWorld) -> None:
    await world.update(capacity=5)


async def seats_are_added(world: StaffWorld) -> None:
    await world.update(capacity=50)


async def an_exam_is_closed(world: StaffWorld) -> None:
    await world.update(is_active="inactive")


async def an_exam_is_made(world: StaffWorld) -> None:
    await world.create()


async def an_exam_is_deleted_with_its_bookings(world: StaffWorld) -> None:
    await world.change("exam_archive", EXAM, cancel_bookings=True)


async def an_exam_is_brought_back(world: StaffWorld) -> None:
    await world.change("exam_archive", OTHER)
    await world.settled()
    await world.kept.fill()
    await world.change("exam_restore", OTHER)


async def hubspot_renames_an_exam(world: StaffWorld) -> None:
    world.hubspot.exams[EXAM] |= {"mock_exam_name": "Renamed in HubSpot", "location": "Montreal"}
    record = world.hubspot.exam_record(EXAM)
    await world.bulletin.announce(await world.ledger.mirror(exams=[record]))


async def hubspot_deletes_an_exam(world: StaffWorld) -> None:
    record = Record(hubspot_id=EXAM, properties={}, archived=True, updated_at=later())
    await world.bulletin.announce(await world.ledger.mirror(exams=[record]))


async def hubspot_changes_a_booking(world: StaffWorld) -> None:
    await _mirror_booking(world, {"attendance": "Present", "is_active": "Completed"})


async def hubspot_gives_a_booking_to_another_student(world: StaffWorld) -> None:
    await _mirror_booking(world, {"contact_id": CARA})


async def hubspot_puts_a_booking_into_another_exam(world: StaffWorld) -> None:
    await _mirror_booking(world, {"mock_exam_id": OTHER})


async def hubspot_deletes_a_booking(world: StaffWorld) -> None:
    record = world.hubspot.record(world.mine[ANNA])
    gone = Record(hubspot_id=record.hubspot_id, properties={}, archived=True, updated_at=later())
    await world.bulletin.announce(await world.ledger.mirror(bookings=[gone]))


async def hubspot_has_a_booking_that_we_never_made(world: StaffWorld) -> None:
    facts = {"mock_exam_id": EXAM, "contact_id": CARA, "is_active": "Active", "booking_status": "confirmed"}
    record = Record(hubspot_id="66001", properties=facts, updated_at=later())
    await world.bulletin.announce(await world.ledger.mirror(bookings=[record]))


async def _mirror_booking(world: StaffWorld, facts: dict[str, str]) -> None:
    known = world.hubspot.records[world.mine[ANNA]]
    known.update(facts)
    record = Record(hubspot_id=known["id"], properties=dict(known), updated_at=later())
    await world.bulletin.announce(await world.ledger.mirror(bookings=[record]))


async def a_page_of_exams_is_taken(world: StaffWorld) -> None:
    world.hubspot.exams[EXAM] |= {"mock_exam_name": "Renamed in HubSpot", "location": "Montreal"}
    await _take(world, "exams", world.hubspot.exam_record(EXAM))


async def a_page_of_bookings_is_taken(world: StaffWorld) -> None:
    """One goes to another student, one to another exam."""
    anna, ben = (world.hubspot.records[world.mine[contact]] for contact in (ANNA, BEN))
    anna.update(contact_id=CARA)
    ben.update(mock_exam_id=OTHER)
    pages = [Record(hubspot_id=of["id"], properties=dict(of), updated_at=later()) for of in (anna, ben)]
    await _take(world, "bookings", *pages)


async def _take(world: StaffWorld, kind: RecordKind, *records: Record) -> None:
    """As the backfill and the forced sync do it."""
    store = UpkeepStore(world.database, Codec("America/Toronto"), timezone="America/Toronto", verify_after_s=60)
    _, clock = await store.cursor("sync")
    intake = Intake(store, world.bulletin, Calls(FreeBudget(), world.settings, "sync"), "sync", clock)
    await intake.take(kind, records, clock)


async def a_refused_one_is_tried_again(world: StaffWorld) -> None:
    await one_is_refused(world)
    await world.settled()
    await world.kept.fill()
    world.hubspot.answer = world.hubspot.write
    care = Care(world.database)
    (row,) = (await care.set_aside(offset=0, limit=10)).rows
    answer = await SecondTry(ledger=care, bulletin=world.bulletin).retry(
        row.outbox_id, caller="staff:clerk", request_id="r"
    )
    assert answer.outcome == "queued"


async def a_late_look_finds_another_state(world: StaffWorld) -> None:
    world.hubspot.answer = lambda kind, row: msgspec.structs.replace(world.hubspot.write(kind, row), uncertain=True)
    reference = await booked(world, CARA)
    world.hubspot.answer = world.hubspot.write
    world.hubspot.records[reference]["attendance"] = "Present"
    await until(lambda: nothing_to_verify(world))


async def nothing_to_verify(world: StaffWorld) -> bool:
    return not await world.fetch("select 1 from hubspot_sync.outbox where verify_at is not null")


WRITES: list[Write] = [
    a_late_look_finds_another_state,
    a_refused_one_is_tried_again,
    one_books,
    one_is_refused,
    one_cancels,
    one_moves,
    an_exam_is_renamed,
    an_exam_moves_to_another_day_and_place,
    seats_are_taken_away,
    seats_are_added,
    an_exam_is_closed,
    an_exam_is_made,
    an_exam_is_deleted_with_its_bookings,
    an_exam_is_brought_back,
    hubspot_renames_an_exam,
    hubspot_deletes_an_exam,
    hubspot_changes_a_booking,
    hubspot_gives_a_booking_to_another_student,
    hubspot_puts_a_booking_into_another_exam,
    hubspot_deletes_a_booking,
    hubspot_has_a_booking_that_we_never_made,
    a_page_of_exams_is_taken,
    a_page_of_bookings_is_taken,
]


@pytest.fixture
async def world(schema_database_url: str) -> AsyncIterator[StaffWorld]:
    """Anna and Ben are booked, Cara is not; all views are filled."""
    world = StaffWorld(schema_database_url, verify_after_s=0.3)
    world.start_relay()
    for exam in (EXAM, OTHER):
        await world.exam(20, exam)
    world.mine = {contact: await booked(world, contact) for contact in (ANNA, BEN)}
    await world.settled()
    world.kept = Kept(world, [ANNA, BEN, CARA], [EXAM, OTHER])
    await world.kept.fill()
    yield world
    await world.close()


@pytest.mark.parametrize("write", WRITES, ids=lambda write: write.__name__)
async def test_a_write_drops_every_view_that_shows_it(world: StaffWorld, write: Write):
    await write(world)
    assert await world.kept.outdated() == [], "as soon as the write is answered"
    await world.settled()
    assert await world.kept.outdated() == [], "when HubSpot has spoken"


class Held:
    """A relay's bulletin: it hears everything, and what it tells does not get through."""

    def __init__(self, bulletin: LocalBulletin) -> None:
        self.on_wake, self.wake, self.subscribe = bulletin.on_wake, bulletin.wake, bulletin.subscribe
        self.connected = True
        self.let_go = asyncio.Event()

    async def announce(self, news: Announcement) -> bool:
        await self.let_go.wait()
        return False


class Patient:
    """Waits for no outcome, only until the ledger has the change."""

    def __init__(self, world: StaffWorld) -> None:
        self._world = world

    async def wait(self, outbox_id: int, seconds: float) -> None:
        await until(lambda: self._world.fetch(MIRRORED, outbox_id))


MIRRORED = "select 1 from hubspot_sync.outbox where outbox_id = $1 and state = 'mirrored'"


@pytest.fixture
async def untold(schema_database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[StaffWorld]:
    """Requests find their change done by their last look, long before the relay can tell."""
    monkeypatch.setattr("lastseat.writes.exams._LAST_LOOK_S", 5)
    world = StaffWorld(schema_database_url)
    world.changer._outcomes = Patient(world)
    for exam in (EXAM, OTHER):
        await world.exam(20, exam)
    world.start_relay()
    world.mine = {contact: await booked(world, contact) for contact in (ANNA, BEN)}
    await world.settled()
    await world.stop_relays()
    held = Held(world.bulletin)
    world.start_relay(held)
    world.kept = Kept(world, [ANNA, BEN, CARA], [EXAM, OTHER])
    await world.kept.fill()
    yield world
    held.let_go.set()
    await world.close()


async def everything_changes(world: StaffWorld) -> None:
    await world.update(mock_exam_name="Another name", capacity=50, location="Vancouver")


@pytest.mark.parametrize("write", [everything_changes, seats_are_added, an_exam_is_made], ids=lambda w: w.__name__)
async def test_a_change_that_the_last_look_finds_done_drops_its_views_itself(untold: StaffWorld, write: Write):
    await write(untold)
    assert await untold.kept.outdated() == []
    gates = {gate.exam_id: gate for news in untold.bulletin.news for gate in news.gates}
    assert all(gates.get(gate.exam_id, gate) == gate for gate in await untold.ledger.gates())


async def test_whoever_asks_how_far_a_change_is_sees_it_afterwards(untold: StaffWorld):
    wish = untold.wish("exam_update", mock_exam_name="Another name", capacity=50)
    answer, _ = await untold.ledger.change_exam(wish)
    await untold.bulletin.wake()
    await Patient(untold).wait(answer.change.outbox_id, 1)
    assert set(await untold.kept.outdated()) >= {keys.exam_of(ExamId(EXAM)), keys.bookings_of(ContactId(ANNA))}
    assert (await untold.changer.look(wish.change_id)).status == "done"
    assert await untold.kept.outdated() == []
    assert untold.bulletin.news[-1].gates == await untold.ledger.gates([ExamId(EXAM)])


async def test_a_wish_repeated_with_its_key_is_seen_afterwards(untold: StaffWorld):
    wish = untold.wish("exam_update", key="again", mock_exam_name="Another name")
    answer, _ = await untold.ledger.change_exam(wish)
    await untold.bulletin.wake()
    await Patient(untold).wait(answer.change.outbox_id, 1)
    await untold.changer.change(wish)
    assert await untold.kept.outdated() == []


@pytest.mark.parametrize(
    ("forgotten", "write"),
    [
        (keys.bookings_of(ContactId(ANNA)), one_cancels),
        (keys.bookings_of(ContactId(BEN)), an_exam_is_renamed),
        (keys.EXAMS_AVAILABLE, an_exam_is_closed),
        (keys.EXAMS_LIST, an_exam_is_made),
        (keys.exam_of(ExamId(EXAM)), hubspot_renames_an_exam),
        (keys.bookings_of(ContactId(BEN)), a_page_of_exams_is_taken),
        (keys.bookings_of(ContactId(ANNA)), a_page_of_bookings_is_taken),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
async def test_a_view_that_is_not_dropped_is_found(world: StaffWorld, forgotten: str, write: Write):
    """The control: without its drop, the same check finds the view outdated."""
    kept = Kept(
        world,
        [ANNA, BEN, CARA],
        [EXAM, OTHER],
        lambda news: [view for view in keys.views_changed_by(news) if view != forgotten],
    )
    await kept.fill()
    await write(world)
    await world.settled()
    assert forgotten in await kept.outdated()


# Functions that write, and show nobody anything of it: leases, cursors, and marks of the relay; and `recount`,
# which an operator calls by hand: gates of before it end within a minute.
SILENT = {
    "announced",
    "backlog",
    "housekeep",
    "recount",
    "release_lease",
    "save_cursor",
    "send",
    "some_exams",
    "take_lease",
    "to_verify",
    "unannounced",
    "warm",
}
# Functions that write what views show, and a write above that goes through them.
HEARD = {
    "cancel": one_cancels,
    "change_exam": an_exam_is_renamed,
    "claim": one_books,
    "mirror": hubspot_changes_a_booking,
    "mirror_page": a_page_of_exams_is_taken,
    "move_booking": one_moves,
    "retry_aside": a_refused_one_is_tried_again,
    "settle": one_books,
    "verified": a_late_look_finds_another_state,
}


async def test_every_function_that_writes_has_a_case_or_shows_nothing(schema_database_url: str):
    connection = await asyncpg.connect(schema_database_url)
    rows = await connection.fetch(WRITING)
    await connection.close()
    assert {row["name"] for row in rows} == SILENT | set(HEARD)
    assert set(HEARD.values()) <= set(WRITES)
