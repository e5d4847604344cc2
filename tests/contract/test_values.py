"""Whatever stands in a value goes through unchanged or is refused alone, over every way to Postgres."""

import random

import pytest

from lastseat.errors import Refused
from tests.contract.words import EXAM, booking, exam, leased, outcomes, wish

HARMLESS = [
    "'); drop table hubspot_sync.claims; --",
    '"}]}, "args": {"claims": [',
    "\\u0000 \\x00 %00 \\",
    "tab\tline\nreturn\r",
    "\u0001\u001f\u007f\u0085\u2028",
    "Ng\u0303 👩‍👩‍👧‍👦 \U0010ffff \ufeff\u202e",
    "日本語 العربية",
    "$1 $$ %s {}",
    " ",
    "x" * 5000,
]


@pytest.mark.parametrize("text", HARMLESS, ids=[str(n) for n in range(len(HARMLESS))])
async def test_a_text_comes_back_as_it_went(ledger, text):
    await ledger.mirror(exams=[exam()])
    mine = wish("1", properties={"attending_location": text, "student_name": text})
    await ledger.claim([mine])
    shown = await ledger.booking(mine.booking_id)
    assert (shown.attending_location, shown.student_name) == (text, text)
    (row,) = await ledger.send((await leased(ledger)).term, "create", 1)
    assert row.properties["attending_location"] == text


async def test_a_character_that_postgres_cannot_hold_is_refused_and_changes_nothing(ledger):
    await ledger.mirror(exams=[exam()])
    with pytest.raises(Refused):
        await ledger.claim([wish("1"), wish("2", properties={"dominant_hand": "\u0000"})])
    assert (await ledger.gates([EXAM]))[0].taken == 0
    assert await outcomes(ledger, wish("1")) == ["won"]


@pytest.mark.parametrize(
    "fields",
    [
        {"claim_id": "not a uuid"},
        {"contact_id": None},
        {"caller": None},
        {"booking_id": None},
        # What can be compressed fits into an index all the same.
        {"booking_id": random.Random(1).randbytes(50_000).hex()},
    ],
    ids=["claim_id", "contact_id", "caller", "booking_id", "too long"],
)
async def test_a_wish_that_makes_no_sense_is_refused_and_its_neighbour_can_go_alone(ledger, fields):
    await ledger.mirror(exams=[exam()])
    with pytest.raises(Refused):
        await ledger.claim([wish("1"), wish(**{"contact_id": "2", "caller": "student:2", **fields})])
    assert await outcomes(ledger, wish("1")) == ["won"]


async def test_a_record_with_text_that_postgres_cannot_hold_is_mirrored_without_it(ledger):
    await ledger.mirror(
        exams=[exam()], bookings=[booking("7001", dominant_hand="le\u0000ft", student_name="\ud800A")]
    )
    shown = await ledger.booking("7001")
    assert "\u0000" not in (shown.dominant_hand or "")


async def test_numbers_keep_their_size(ledger, way):
    await ledger.mirror(exams=[exam(capacity=2**31 - 1)])
    await way.rows("update hubspot_sync.hubspot_mock_exams set seats_version = 9007199254740993")
    gate = (await ledger.gates([EXAM]))[0]
    assert (gate.capacity, gate.version) == (2**31 - 1, 9007199254740993)


async def test_calls_without_content_are_fine(ledger):
    assert await ledger.claim([]) == []
    assert await ledger.lookup([]) == []
    assert await ledger.outcomes([]) == []
    assert (await ledger.cancel([]))[0] == []
    assert (await ledger.mirror()).gates == []
