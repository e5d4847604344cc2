"""Staff's changes and what an operator starts, over every way to Postgres; and every function at least once."""

import uuid

import asyncpg
import msgspec

from lastseat.errors import LastseatError
from lastseat.model import Announcement, ChangeRequest, SetAside, Settlement
from lastseat.model_moves import MoveRequest
from lastseat.stores.sqlstates import meaning_of
from tests.contract.words import EXAM, OTHER, acknowledged, booked, exam, leased, outcomes, wish

NEW = {
    "mock_exam_name": "Neue Prüfung 🎓",
    "mock_type": "Mini-mock",
    "exam_date": "2031-03-05",
    "start_time": "09:00",
    "end_time": "11:00",
    "location": "Calgary",
    "capacity": 3,
    "is_active": "active",
}


def change(kind, exam_id=EXAM, **fields):
    new = kind == "exam_create"
    return ChangeRequest(
        change_id=str(uuid.uuid4()),
        kind=kind,
        caller="staff:clerk",
        request_id="r7",
        exam_id=None if new else exam_id,
        exam_key=f"EX-{uuid.uuid4()}" if new else None,
        fields=fields,
    )


async def test_a_new_exam_is_there_when_hubspot_has_it(ledger):
    term = (await leased(ledger)).term
    asked = change("exam_create", **NEW)
    answer, _ = await ledger.change_exam(asked)
    assert (answer.outcome, answer.change.status) == ("accepted", "pending")
    (row,) = await ledger.send(term, "exam_create", 1)
    assert row.properties["mock_exam_name"] == NEW["mock_exam_name"]
    news, _ = await ledger.settle(term, Settlement(written=[acknowledged(row, "9001")]))
    assert [outcome.exam.mock_exam_name for outcome in news.outcomes] == [NEW["mock_exam_name"]]
    found, told = await ledger.exam_change(asked.change_id)
    assert (found.status, told.exams_changed, [gate.exam_id for gate in told.gates]) == ("done", True, ["9001"])
    await ledger.announced(term, [row.outbox_id])
    assert (await ledger.exam_change(asked.change_id))[1] == Announcement(), "everybody was told"
    assert (await ledger.exam_change(str(uuid.uuid4())))[0] is None
    found = await ledger.exam("9001")
    assert (found.capacity, found.start_time, found.starts_at is not None) == (3, "09:00", True)


async def test_a_resent_change_is_one_change(ledger):
    asked = change("exam_create", **NEW)
    first, _ = await ledger.change_exam(asked)
    again, _ = await ledger.change_exam(asked)
    assert (again.outcome, again.change.outbox_id) == ("known", first.change.outbox_id)


async def test_what_tightens_binds_at_once_and_a_refusal_lifts_it(ledger):
    await ledger.mirror(exams=[exam(capacity=5)])
    term = (await leased(ledger)).term
    await ledger.claim([wish("1")])
    answer, news = await ledger.change_exam(change("exam_update", capacity=1))
    assert (answer.outcome, news.gates[0].remaining) == ("accepted", 0)
    assert await outcomes(ledger, wish("2")) == ["full"]
    (row,) = await ledger.send(term, "exam_update", 1)
    await ledger.settle(term, Settlement(aside=[SetAside(outbox_id=row.outbox_id, reason="no")]))
    assert await outcomes(ledger, wish("2")) == ["won"]


async def test_a_capacity_below_the_seats_sold_is_refused_with_both_numbers(ledger):
    await ledger.mirror(exams=[exam(capacity=5)])
    await ledger.claim([wish("1"), wish("2")])
    answer, _ = await ledger.change_exam(change("exam_update", capacity=1))
    assert (answer.outcome, answer.details) == ("below_sold", {"capacity": 1, "seats_taken": 2})


async def test_a_move_takes_the_new_seat_and_queues_the_old_ones_end(ledger):
    await ledger.mirror(exams=[exam(), exam(OTHER, capacity=1)])
    term = (await leased(ledger)).term
    await booked(ledger, term, wish("1"))
    move = MoveRequest(
        claim_id=str(uuid.uuid4()),
        booking_id="LS-MOVED",
        reference="7001",
        exam_id=OTHER,
        caller="staff:clerk",
        request_id="r8",
    )
    answer, news = await ledger.move_booking(move)
    assert (answer.answer.outcome, answer.trouble) == ("won", None)
    assert {gate.exam_id: gate.taken for gate in news.gates} == {OTHER: 1}
    assert await ledger.send(term, "cancel", 1) == []  # the new booking first
    (row,) = await ledger.send(term, "create", 1)
    await ledger.settle(term, Settlement(written=[acknowledged(row, "7002")]))
    (old,) = await ledger.send(term, "cancel", 1)
    assert old.outbox_id == answer.outbox_id
    again, _ = await ledger.move_booking(move)
    assert again.answer.outcome == "replay"


async def test_a_page_and_its_cursor_are_kept_together(store):
    now = await store.save_cursor("backfill", {"run": "a", "step": 1})
    assert (await store.cursor("backfill"))[0] == b'{"run": "a", "step": 1}'

    async def take(run):
        cursor = ("backfill", {"run": run, "step": 2})
        return await store.take("exams", [exam()], actor="backfill", read_at=now, cursor=cursor)

    assert (await take("b")).overtaken
    assert await store.exam(EXAM) is None
    assert not (await take("a")).overtaken
    assert msgspec.json.decode((await store.cursor("backfill"))[0])["step"] == 2
    assert (await store.exam(EXAM)).capacity == 2


async def test_every_function_answers_alike_over_every_way(way, database):
    """Called with nothing in it, each does what it does when the owner calls it straight; new ones are found."""
    names = await way.rows("select proname from pg_proc where pronamespace = 'lastseat_api'::regnamespace")
    assert len(names) > 25
    differences = []
    for (name,) in names:
        straight, heard = await asked_straight(way, name), await asked_through(database, name)
        if straight != heard:
            differences.append((name, straight, heard))
    assert differences == []


async def asked_straight(way, name) -> object:
    connection = await asyncpg.connect(way.owner_url)
    transaction = connection.transaction()
    await transaction.start()
    try:
        return shape(msgspec.json.decode(await connection.fetchval(f"select lastseat_api.{name}('{{}}')::text")))
    except asyncpg.PostgresError as error:
        return type(meaning_of(error.sqlstate, str(error), name)).__name__
    finally:
        await transaction.rollback()
        await connection.close()


async def asked_through(database, name) -> object:
    try:
        return shape(msgspec.json.decode(await database.call(name, b"{}")))
    except LastseatError as error:
        return type(error).__name__


def shape(answer: object) -> object:
    """Names without values: clocks differ."""
    return sorted(answer) if isinstance(answer, dict) else type(answer).__name__
