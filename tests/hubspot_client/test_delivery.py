"""A batch is taken to its end: read back, sent again, sifted; nobody pays for another's fault."""

import asyncio

import pytest

from lastseat.model import Record, RowResult
from lastseat.writes.delivery import Delivery
from tests.hubspot_client.doubles import (
    BOOKINGS,
    CONTACTS,
    EXAMS,
    Desk,
    FakeBudget,
    FakeSlot,
    always,
    booking,
    cancel,
    count,
    link,
    outcomes,
    settings_for,
)


class Sorter:
    """A HubSpot that refuses a batch as a whole when a bad row is in it, as it may without trace ids."""

    def __init__(self, bad: set[int]) -> None:
        self.bad = bad
        self.calls: list[list[int]] = []
        self.written: set[int] = set()

    async def upsert_bookings(self, slot, rows):
        await slot.close()
        numbers = [row.outbox_id for row in rows]
        self.calls.append(numbers)
        if not self.bad.isdisjoint(numbers):
            outcome = "refused" if len(rows) == 1 else "portal"
            return [RowResult(key=r.key, outcome=outcome, reason="bad row", together=len(rows) > 1) for r in rows]
        self.written |= set(numbers)
        return [RowResult(key=r.key, outcome="written", record=Record(hubspot_id=r.key, properties={})) for r in rows]


def sorting(bad: set[int], slots: int = 1000) -> tuple[Sorter, Delivery]:
    sorter = Sorter(bad)
    return sorter, Delivery(sorter, FakeBudget(slots), settings_for(hubspot_extra_wait_s=0.01))


async def test_a_good_batch_costs_one_call(desk):
    results = await desk.create(*(booking(number) for number in range(100)))
    assert outcomes(results) == ["written"] * 100
    assert not any(result.uncertain for result in results)
    assert desk.operations == ["batch_upsert"]


@pytest.mark.parametrize("fault", ["drop=1x", "502=1x", "empty=1x"])
async def test_a_lost_reply_is_read_back_and_not_sent_again(desk, fault):
    desk.portal.faults(fault)
    results = await desk.create(booking(1), booking(2))
    assert desk.operations == ["batch_upsert", "batch_read"]
    assert outcomes(results) == ["written"] * 2
    assert all(result.uncertain and result.record for result in results)
    assert len(desk.portal.bookings()) == 2


async def test_a_call_that_stalls_past_its_timeout_and_the_read_back_makes_no_second_record(portal):
    desk = Desk(portal, hubspot_timeout_s=0.4)
    portal.faults("stall@batch_upsert=1x:0.9")
    assert outcomes(await desk.create(booking(1), booking(2))) == ["written"] * 2
    await asyncio.sleep(0.8)
    assert desk.operations == ["batch_upsert", "batch_read", "batch_upsert"]
    assert len(portal.bookings()) == 2
    await desk.client.close()


@pytest.mark.parametrize("fault", ["drop-before=1x", "503-before=1x", "empty-before=1x"])
async def test_only_what_is_missing_is_sent_again(desk, fault):
    desk.portal.faults(fault)
    results = await desk.create(booking(1), booking(2))
    assert desk.operations == ["batch_upsert", "batch_read", "batch_upsert"]
    assert outcomes(results) == ["written"] * 2
    assert all(result.uncertain for result in results)


async def test_a_call_that_lands_late_makes_no_second_record(desk):
    desk.portal.faults("late=1x:0.2")
    assert outcomes(await desk.create(booking(1))) == ["written"]
    await asyncio.sleep(0.3)
    assert len(desk.portal.bookings()) == 1


async def test_an_answer_short_of_one_row_costs_one_read_back(desk):
    desk.portal.faults("short=1x")
    results = await desk.create(*(booking(number) for number in range(5)))
    assert outcomes(results) == ["written"] * 5
    assert sorted(result.uncertain for result in results) == [False, False, False, False, True]
    assert desk.operations == ["batch_upsert", "batch_read"]


async def test_a_row_taken_over_is_looked_for_before_it_is_sent(desk):
    await desk.create(booking(1, properties={"student_name": "Ada"}))
    rows = [booking(1, taken_over=True), booking(2, taken_over=True), booking(3)]
    results = await desk.create(*rows)
    assert desk.operations == ["batch_read", "batch_upsert"]
    assert [len(call.keys) for call in desk.portal.calls] == [2, 2]
    assert outcomes(results) == ["written"] * 3
    assert [result.uncertain for result in results] == [True, True, False]
    assert results[0].record.properties["student_name"] == "Ada"


async def test_a_row_that_stays_unknown_comes_back_as_unknown(desk):
    desk.portal.faults("502")
    results = await desk.create(booking(1))
    assert outcomes(results) == ["unknown"]
    assert results[0].uncertain
    assert desk.operations == ["batch_upsert", "batch_read", "batch_read", "batch_read"]


async def test_a_read_back_that_fails_is_tried_again(desk):
    desk.portal.faults("502=1x,drop@batch_read=2x")
    assert outcomes(await desk.create(booking(1))) == ["written"]
    assert desk.operations == ["batch_upsert", "batch_read", "batch_read", "batch_read"]


async def test_without_a_free_call_an_unknown_row_is_not_looked_for(portal):
    desk = Desk(portal, slots=0)
    portal.faults("502=1x")
    assert outcomes(await desk.create(booking(1))) == ["unknown"]
    assert desk.operations == ["batch_upsert"]
    await desk.client.close()


async def test_no_extra_call_starts_when_the_lease_may_end(desk):
    desk.portal.faults("502=1x")
    may_start = iter([True, False])
    assert outcomes(await desk.create(booking(1), may_start=lambda: next(may_start))) == ["unknown"]
    assert desk.operations == ["batch_upsert"]
    assert desk.budget.slots == []


async def test_a_process_that_slept_since_its_rows_were_marked_starts_no_call(desk):
    """Its successor has taken them over meanwhile; what it was to send may be cancelled since."""
    assert outcomes(await desk.create(booking(1), may_start=lambda: False)) == ["not_sent"]
    assert desk.operations == []


async def test_a_slot_that_came_too_late_for_the_lease_is_given_back(desk):
    desk.portal.faults("502=1x")
    asked = iter([True, True, False])
    await desk.create(booking(1), may_start=lambda: next(asked))
    assert [slot.ends for slot in desk.budget.slots] == [["given back"]]


async def test_a_limit_is_not_asked_again(desk):
    desk.portal.faults("429")
    assert outcomes(await desk.create(booking(1), booking(2))) == ["not_sent"] * 2
    assert desk.operations == ["batch_upsert"]


async def test_the_same_booking_twice_in_a_batch_is_sent_once(desk):
    assert outcomes(await desk.create(booking(1), booking(1), booking(2))) == ["written"] * 3
    assert [len(call.keys) for call in desk.portal.calls] == [2]


async def test_a_bad_row_is_set_aside_and_99_are_written_in_one_call(desk):
    rows = [booking(number) for number in range(100)]
    rows[37] = booking(37, properties={"exam_date": "soon"})
    results = await desk.create(*rows)
    assert [result.key for result in results if result.outcome != "written"] == ["LS-0037"]
    assert results[37].outcome == "refused"
    assert len(desk.portal.calls) == 1


@pytest.mark.parametrize("number", [0, 7, 49, 50, 57, 98, 99])
async def test_a_batch_refused_as_a_whole_is_sifted_in_few_calls(number):
    sorter, delivery = sorting({number})
    results = await delivery.create(FakeSlot(), [booking(n) for n in range(100)], always)
    assert [result.key for result in results if result.outcome == "refused"] == [f"LS-{number:04d}"]
    assert outcomes(results).count("written") == 99
    assert len(sorter.calls) <= 3 + 2 * 7


async def test_without_sifting_99_rows_would_be_lost():
    """Negative control: the first call alone writes nothing."""
    sorter, delivery = sorting({5}, slots=0)
    results = await delivery.create(FakeSlot(), [booking(n) for n in range(100)], always)
    assert sorter.written == set()
    assert outcomes(results) == ["unknown"] * 100
    assert all(result.uncertain for result in results)


async def test_several_bad_rows_are_all_found():
    bad = {3, 4, 50, 51, 99}
    sorter, delivery = sorting(bad)
    results = await delivery.create(FakeSlot(), [booking(n) for n in range(100)], always)
    assert sorter.written == set(range(100)) - bad
    assert {int(result.key[3:]) for result in results if result.outcome == "refused"} == bad


async def test_two_rows_are_sifted_too():
    _, delivery = sorting({1})
    results = await delivery.create(FakeSlot(), [booking(1), booking(2)], always)
    assert outcomes(results) == ["refused", "written"]


async def test_sifting_goes_on_where_the_calls_ran_out():
    sorter, delivery = sorting({37}, slots=4)
    left = [booking(n) for n in range(100)]
    for _ in range(9):
        delivery.budget.left = 4
        results = await delivery.create(FakeSlot(), left, always)
        left = [row for row, result in zip(left, results, strict=True) if result.outcome == "unknown"]
    assert sorter.written == set(range(100)) - {37}


async def test_when_all_are_refused_it_is_the_portal_and_costs_three_calls():
    sorter, delivery = sorting(set(range(100)))
    results = await delivery.create(FakeSlot(), [booking(n) for n in range(100)], always)
    assert outcomes(results) == ["portal"] * 100
    assert len(sorter.calls) == 3


async def test_two_bad_rows_that_are_tried_alone_hold_up_the_others_only_once():
    _, delivery = sorting({7, 57})
    first = await delivery.create(FakeSlot(), [booking(n) for n in range(100)], always)
    again = await delivery.create(FakeSlot(), [booking(n, attempts=2) for n in range(100)], always)
    assert outcomes(first) == ["portal"] * 100
    assert outcomes(again).count("written") == 98


@pytest.mark.parametrize("fault", ["401", "403", "scope-lost", "property-gone=1:student_name"])
async def test_a_fault_of_the_portal_gives_no_seat_back(desk, fault):
    await desk.create(booking(9))
    desk.portal.faults(fault)
    results = await desk.create(*(booking(number) for number in range(5)))
    assert outcomes(results) == ["portal"] * 5
    assert len(desk.portal.calls) == 1


async def test_rows_all_refused_for_themselves_are_still_the_portals_fault(desk):
    await desk.create(booking(9))
    results = await desk.create(*(booking(n, properties={"exam_date": "soon"}) for n in range(3)))
    assert outcomes(results) == ["portal"] * 3


async def test_a_lone_refusal_needs_an_acceptance_lately(desk):
    bad = booking(1, properties={"exam_date": "soon"})
    assert outcomes(await desk.create(bad)) == ["portal"]
    await desk.create(booking(2))
    assert outcomes(await desk.create(bad)) == ["refused"]
    assert outcomes(await desk.create(booking(3, properties={"exam_date": "soon"}))) == ["portal"]


async def test_an_old_acceptance_vouches_for_nothing(portal):
    desk = Desk(portal, hubspot_accepted_s=0.05)
    await desk.create(booking(2))
    await asyncio.sleep(0.1)
    assert outcomes(await desk.create(booking(1, properties={"exam_date": "soon"}))) == ["portal"]
    await desk.client.close()


async def booked(desk, *numbers):
    results = await desk.create(*(booking(number) for number in numbers))
    return [result.record.hubspot_id for result in results]


async def test_a_cancel_is_written_and_a_record_that_is_gone_is_cancelled(desk):
    first, second = await booked(desk, 1, 2)
    await desk.portal.archive(BOOKINGS, first)
    rows = [cancel(1, first), cancel(2, second), cancel(3, "")]
    results = await desk.delivery.cancel(FakeSlot(), rows, always)
    assert outcomes(results) == ["written", "written", "refused"]
    assert results[0].record.archived
    assert results[0].record.hubspot_id == first
    assert results[1].record.properties["is_active"] == "Cancelled"


async def test_every_record_gone_is_no_fault_of_the_portal(desk):
    [first] = await booked(desk, 1)
    await desk.portal.archive(BOOKINGS, first)
    assert outcomes(await desk.delivery.cancel(FakeSlot(), [cancel(1, first)], always)) == ["written"]


async def test_a_lost_cancel_is_sent_again(desk):
    [first] = await booked(desk, 1)
    desk.portal.faults("drop-before=1x")
    results = await desk.delivery.cancel(FakeSlot(), [cancel(1, first)], always)
    assert outcomes(results) == ["written"]
    assert results[0].uncertain
    assert desk.portal.bookings()["LS-0001"]["is_active"] == "Cancelled"


async def test_an_outage_costs_three_calls_and_no_more(desk):
    [first] = await booked(desk, 1)
    desk.portal.faults("502-before")
    desk.portal.emulator.store.calls.clear()
    results = await desk.delivery.cancel(FakeSlot(), [cancel(1, first)], always)
    assert outcomes(results) == ["unknown"]
    assert desk.operations == ["batch_update"] * 3


async def test_links_and_counts_reach_hubspot(desk):
    [first] = await booked(desk, 1)
    contact_id = await desk.portal.make(CONTACTS, email="a@example.org")
    exam_id = await desk.portal.make(EXAMS, capacity="3")
    links = await desk.delivery.deliver("link_contact", FakeSlot(), [link(1, first, contact_id)], always)
    counts = await desk.delivery.deliver(
        "count", FakeSlot(), [count(2, exam_id, 1), count(3, exam_id, 2), count(4, "77", 1)], always
    )
    assert outcomes(links) == ["written"]
    assert outcomes(counts) == ["written", "written", "refused"]
    assert counts[0].record.properties["total_bookings"] == "2"
    assert first in desk.portal.emulator.store.portal.links[CONTACTS, contact_id][BOOKINGS]


async def test_a_link_refused_for_good_leaves_its_neighbours_alone(desk):
    first, second = await booked(desk, 1, 2)
    contact_id = await desk.portal.make(CONTACTS, email="a@example.org")
    rows = [link(1, first, "999"), link(2, second, contact_id), link(3, second, "")]
    results = await desk.delivery.link(FakeSlot(), "link_contact", rows, always)
    assert outcomes(results) == ["refused", "written", "refused"]


async def test_links_wait_until_their_type_can_be_discovered(desk):
    desk.portal.faults("502=1x")
    rows = [link(1, "1", "2")]
    assert outcomes(await desk.delivery.link(FakeSlot(), "link_contact", rows, always)) == ["not_sent"]
    desk.portal.faults("403=1x")
    assert outcomes(await desk.delivery.link(FakeSlot(), "link_contact", rows, always)) == ["portal"]


async def test_preparing_learns_the_types_in_two_calls_and_then_in_none(desk):
    assert await desk.delivery.prepare() is None
    assert await desk.delivery.prepare() is None
    assert desk.operations == ["labels", "labels"]


async def test_preparing_reads_the_headers_when_nobody_knows_how_full_the_window_is(portal):
    desk = Desk(portal, slots=3)
    await desk.delivery.prepare()
    await desk.delivery.prepare()
    assert desk.operations == ["labels"] * 3
    await desk.client.close()


async def test_preparing_says_what_is_missing(desk):
    desk.portal.faults("403")
    assert "scopes" in (await desk.delivery.prepare() or "")


async def test_a_look_tells_what_hubspot_holds(desk):
    await booked(desk, 1)
    found = await desk.delivery.look(FakeSlot(), [booking(1), booking(2)])
    assert list(found) == ["LS-0001"]


async def test_a_batch_with_nothing_to_send_gives_its_slot_back(desk):
    slot = FakeSlot()
    assert outcomes(await desk.delivery.cancel(slot, [cancel(1, "")], always)) == ["refused"]
    assert slot.ends == ["given back"]
