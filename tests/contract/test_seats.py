"""Seats over every way to Postgres: who gets one, who is told what, and when one is free again."""

import asyncio

from lastseat.model import Settlement
from tests.contract.words import EXAM, OTHER, acknowledged, booked, booking, cancel, exam, leased, outcomes, wish


async def test_seats_go_to_the_first_and_the_rest_hear_full(ledger):
    await ledger.mirror(exams=[exam()])
    answers = await ledger.claim([wish("1"), wish("2"), wish("3")])
    assert [a.outcome for a in answers] == ["won", "won", "full"]
    assert answers[0].claim.state == "open"
    assert answers[0].claim.booking.is_active == "Pending"
    assert (answers[2].gate.capacity, answers[2].gate.taken, answers[2].gate.remaining) == (2, 2, 0)


async def test_answers_come_in_the_order_of_the_wishes(ledger):
    await ledger.mirror(exams=[exam(capacity=50), exam(OTHER, capacity=50)])
    wishes = [wish(str(n), (EXAM, OTHER)[n % 2]) for n in range(60)]
    answers = await ledger.claim(wishes)
    assert [a.claim.claim_id for a in answers] == [w.claim_id for w in wishes]


async def test_a_resent_claim_finds_its_stored_result(ledger):
    await ledger.mirror(exams=[exam()])
    mine = [wish("1"), wish("2")]
    assert await outcomes(ledger, *mine) == ["won", "won"]
    assert await outcomes(ledger, *mine) == ["won", "won"]
    assert (await ledger.gates([EXAM]))[0].taken == 2


async def test_one_student_and_one_key_get_one_seat(ledger):
    await ledger.mirror(exams=[exam(capacity=5)])
    first = wish("1", key="k", fingerprint="a")
    answers = await ledger.claim(
        [first, wish("1", key="k", fingerprint="a"), wish("1", key="k", fingerprint="b"), wish("1")]
    )
    assert [a.outcome for a in answers] == ["won", "replay", "key_reused", "already_booked"]
    assert answers[1].claim.booking_id == answers[3].claim.booking_id == first.booking_id
    assert await outcomes(ledger, wish("2", key="k")) == ["won"]  # a key belongs to its caller


async def test_exams_that_nobody_can_book_are_told_apart(ledger):
    shut = [exam("503", is_active="inactive"), exam("504", days=-3), exam("505", is_active="scheduled")]
    await ledger.mirror(exams=shut)
    answers = await ledger.claim([wish("1", "999"), wish("1", "503"), wish("1", "504"), wish("1", "505")])
    assert [(a.outcome, a.detail) for a in answers] == [
        ("unknown_exam", None),
        ("closed", "inactive"),
        ("closed", "past"),
        ("closed", "not_open_yet"),
    ]


async def test_concurrent_calls_never_oversell_nor_book_one_student_twice(ledger):
    await ledger.mirror(exams=[exam(capacity=20)])
    groups = [[wish(str(n % 40)) for n in range(start, start + 10)] for start in range(0, 80, 10)]
    answers = await asyncio.gather(*(ledger.claim(group) for group in groups))
    pairs = [pair for group, heard in zip(groups, answers, strict=True) for pair in zip(group, heard, strict=True)]
    won = [asked.contact_id for asked, answer in pairs if answer.outcome == "won"]
    assert len(won) == len(set(won)) == 20
    assert (await ledger.gates([EXAM]))[0].remaining == 0


async def test_a_whole_crowd_fits_into_one_call(ledger):
    await ledger.mirror(exams=[exam(capacity=400)])
    answers = await ledger.claim([wish(str(n), properties={"student_name": "Ŝtudent " * 20}) for n in range(500)])
    assert [a.outcome for a in answers] == ["won"] * 400 + ["full"] * 100


async def test_lookup_answers_as_claim_would_and_gives_nothing(ledger):
    await ledger.mirror(exams=[exam()])
    await ledger.claim([wish("1", key="k")])
    answers = await ledger.lookup([wish("1", key="k"), wish("1"), wish("2"), wish("2", "999")])
    assert [a.outcome for a in answers] == ["replay", "already_booked", "free", "unknown_exam"]
    assert (await ledger.gates([EXAM]))[0].taken == 1


async def test_outcomes_tell_the_present_state_of_each_claim(ledger):
    await ledger.mirror(exams=[exam()])
    mine = wish("1")
    await ledger.claim([mine])
    unknown = wish("2").claim_id
    (known, missing) = await ledger.outcomes([mine.claim_id, unknown])
    assert (known.state, known.booking_id, missing) == ("open", mine.booking_id, None)


async def test_gates_of_some_exams_or_of_all_that_lie_ahead(ledger):
    await ledger.mirror(exams=[exam(), exam(OTHER, is_active="inactive"), exam("503", days=-9)])
    assert [gate.exam_id for gate in await ledger.gates([EXAM, "999"])] == [EXAM]
    assert await ledger.gates([]) == []
    gates = {gate.exam_id: gate for gate in await ledger.gates()}
    assert {exam_id: gate.open for exam_id, gate in gates.items()} == {EXAM: True, OTHER: False}


async def test_a_gate_version_grows_with_every_seat(ledger):
    await ledger.mirror(exams=[exam()])
    before = (await ledger.gates([EXAM]))[0].version
    await ledger.claim([wish("1")])
    assert (await ledger.gates([EXAM]))[0].version > before


async def test_an_unsent_claim_is_folded_and_its_seat_is_free_at_once(ledger):
    await ledger.mirror(exams=[exam(capacity=1)])
    mine = wish("1")
    await ledger.claim([mine])
    asked = cancel(mine.booking_id, owner="1")
    answers, news = await ledger.cancel([asked, asked])
    assert [a.outcome for a in answers] == ["cancelled", "already_cancelled"]
    assert (news.gates[0].remaining, news.contacts) == (1, ["1"])
    assert await outcomes(ledger, wish("2")) == ["won"]


async def test_a_recorded_booking_waits_for_hubspot_before_its_seat_is_free(ledger):
    await ledger.mirror(exams=[exam(capacity=1)])
    term = (await leased(ledger)).term
    mine = wish("1")
    await booked(ledger, term, mine)
    answers, _ = await ledger.cancel([cancel(mine.booking_id, owner="1")])
    assert answers[0].outcome == "pending"
    assert (await ledger.gates([EXAM]))[0].remaining == 0
    (row,) = await ledger.send(term, "cancel", 10)
    assert row.outbox_id == answers[0].outbox_id
    await ledger.settle(term, Settlement(written=[acknowledged(row)]))
    assert (await ledger.gates([EXAM]))[0].remaining == 1


async def test_cancelling_at_once_from_many_sides_frees_one_seat(ledger):
    await ledger.mirror(exams=[exam(capacity=3)], bookings=[booking("7001"), booking("7002", contact="8")])
    heard = await asyncio.gather(*(ledger.cancel([cancel("7001", owner="9")]) for _ in range(8)))
    assert {answers[0].outbox_id for answers, _ in heard} == {heard[0][0][0].outbox_id}
    term = (await leased(ledger)).term
    rows = await ledger.send(term, "cancel", 10)
    await ledger.settle(term, Settlement(written=[acknowledged(row, "7001") for row in rows]))
    assert (len(rows), (await ledger.gates([EXAM]))[0].taken) == (1, 1)


async def test_anothers_booking_is_not_found(ledger):
    await ledger.mirror(exams=[exam()])
    mine = wish("1")
    await ledger.claim([mine])
    asked = [cancel(mine.booking_id, owner="2"), cancel("LS-NOBODY"), cancel("12345")]
    assert [a.outcome for a in (await ledger.cancel(asked))[0]] == ["not_found"] * 3
