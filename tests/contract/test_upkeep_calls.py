"""The calls of backfill, sync and the memory of association types, over every way to Postgres."""

import asyncio
import json
from datetime import UTC, datetime

import pytest

from lastseat.errors import Refused
from lastseat.model import ExamId, Record, Retry, Settlement
from lastseat.stores.care import Care
from lastseat.stores.cursors import UpkeepStore
from lastseat.stores.hubspot_codec import Codec
from tests.contract.words import EXAM, contact, exam, leased, wish

AT = datetime(2026, 3, 1, tzinfo=UTC)
ACTIVE: dict[str, str | None] = {"is_active": "Active", "mock_exam_id": EXAM, "contact_id": "7"}


@pytest.fixture
def store(database) -> UpkeepStore:
    return UpkeepStore(database, Codec("America/Toronto"), timezone="America/Toronto", verify_after_s=0.05)


def held(number: int, **more: str | None) -> Record:
    return Record(hubspot_id=str(9_000 + number), properties={**ACTIVE, **more}, updated_at=AT)


async def test_a_cursor_is_kept_as_it_was_given(store: UpkeepStore):
    assert (await store.cursor("x"))[0] is None
    value = {"after": "é\u2028\"'", "list": [1, None, {"a": []}], "run": "r"}
    saved_at = await store.save_cursor("x", value)
    kept, now = await store.cursor("x")
    assert kept is not None
    assert json.loads(kept) == value
    assert saved_at <= now
    assert now.tzinfo is not None


async def test_a_page_and_its_cursor_go_together(store: UpkeepStore):
    await store.mirror(exams=[exam(capacity=9)])
    now = await store.save_cursor("backfill", {"run": "mine"})
    page = [held(n, contact_id=str(n)) for n in range(3)]
    taken = await store.take(
        "bookings", page, actor="a", read_at=now, cursor=("backfill", {"run": "mine", "after": "9"})
    )
    assert (sorted(taken.news.contacts), taken.news.gates[0].taken) == (["0", "1", "2"], 3)
    kept, _ = await store.cursor("backfill")
    assert kept is not None
    assert b'"after"' in kept
    other = await store.take("bookings", page, actor="a", read_at=now, cursor=("backfill", {"run": "theirs"}))
    assert other.overtaken


async def test_a_page_that_is_refused_keeps_no_cursor(store: UpkeepStore):
    now = await store.save_cursor("backfill", {"run": "mine"})
    bad = held(1, booking_id="".join(f"{n:x}" for n in range(9_000)))
    with pytest.raises(Refused):
        await store.take(
            "bookings", [bad], actor="a", read_at=now, cursor=("backfill", {"run": "mine", "after": "9"})
        )
    kept, _ = await store.cursor("backfill")
    assert kept is not None
    assert b"after" not in kept


async def test_pages_of_several_runs_at_once_leave_one_count(store: UpkeepStore):
    await store.mirror(exams=[exam(capacity=500)])
    _, now = await store.cursor("x")
    pages = [[held(n) for n in range(start, start + 40)] for start in (0, 20, 40)]
    await asyncio.gather(*(store.take("bookings", page, actor="a", read_at=now) for page in pages * 2))
    [gate] = await store.gates([ExamId(EXAM)])
    assert gate.taken == 80


async def test_the_records_of_an_exam_and_the_survey(store: UpkeepStore):
    _, since = await store.cursor("x")
    await store.mirror(exams=[exam(capacity=1)], bookings=[held(1), held(2), held(3, contact_id="8")])
    ids, _ = await store.exam_records(ExamId(EXAM))
    assert sorted(ids) == ["9001", "9002", "9003"]
    found = await store.survey(since, 1)
    assert (found.oversold.count, found.doubles.count, found.unknown_contacts.count) == (1, 1, 3)
    assert len(found.unknown_contacts.first) == 1
    assert found.held["bookings"]["holding a seat"] == 3


async def test_an_empty_database_has_a_sync_that_stands_still(database):
    found = await Care(database).sync_status()
    assert [(kind.kind, kind.live, kind.archived) for kind in found.records] == [
        ("exams", 0, 0),
        ("contacts", 0, 0),
        ("bookings", 0, 0),
    ]
    assert {kind.newest_synced_at for kind in found.records} == {None}
    assert (found.backfill, found.outbox, found.aside) == (None, [], 0)
    assert (found.relay.held, found.relay.expires_at) == (False, None)
    assert found.at.tzinfo is not None


async def test_the_status_counts_the_mirror_the_outbox_and_names_the_relays_term(store: UpkeepStore, database):
    begun = await store.save_cursor("x", {})
    await store.mirror(exams=[exam(capacity=9, at=AT)], contacts=[contact("7")], bookings=[held(1), held(2)])
    await store.mirror(
        bookings=[Record(hubspot_id="9002", properties={}, updated_at=datetime.now(UTC), archived=True)]
    )
    await store.claim([wish(str(number)) for number in (1, 2, 3)])
    term = (await leased(store)).term
    (row,) = await store.send(term, "create", 1)
    refusal = Retry(outbox_id=row.outbox_id, after_s=60, reason="HubSpot said: not now")
    await store.settle(term, Settlement(retry=[refusal]))
    await store.send(term, "create", 1)
    found = await Care(database).sync_status()
    assert [(kind.kind, kind.live, kind.archived) for kind in found.records] == [
        ("exams", 1, 0),
        ("contacts", 1, 0),
        ("bookings", 1, 1),
    ]
    for kind in found.records:
        assert begun <= kind.oldest_synced_at <= kind.newest_synced_at <= found.at
    (creates,) = [queued for queued in found.outbox if queued.kind == "create"]
    assert (creates.waiting, creates.sent, creates.attempts_most) == (2, 1, 1)
    assert creates.last_error == "HubSpot said: not now"
    assert begun <= creates.oldest_at <= found.at
    assert (found.relay.term, found.relay.held, found.relay.expires_at > found.at) == (term, True, True)


async def test_of_a_backfill_only_how_far_it_is_is_told(store: UpkeepStore, database):
    value = {"run": "r", "portal": "p", "since": "2026-03-01T00:00:00Z", "step": 4, "after": "77", "calls": 17}
    counts = {"read": {"exams": {"live": 5, "archived": 1}}, "rejected_count": 2, "untold": ["501"], "done": False}
    await store.save_cursor("backfill", {**value, **counts})
    told = (await Care(database).sync_status()).backfill
    assert told is not None
    assert (told.done, told.passes_done, told.calls, told.rejected, told.began_at) == (False, 4, 17, 2, AT)
    assert told.read == {"exams": {"live": 5, "archived": 1}}
    raw = json.loads(await database.call("sync_status", b"{}"))["backfill"]
    assert not {"run", "portal", "after", "untold", "rejected_ids"} & set(raw)
    await store.save_cursor("backfill", {})
    assert (await Care(database).sync_status()).backfill.passes_done == 0
