"""A record that the office merged into another: HubSpot answers with the survivor's id, and no row waits for ever."""

import pytest
from msgspec.structs import replace

from lastseat.writes.settling import Settling
from tests.hubspot_client.doubles import (
    BOOKINGS,
    CONTACTS,
    EXAMS,
    FakeSlot,
    always,
    booking,
    cancel,
    count,
    link,
    outcomes,
    settings_for,
)


@pytest.fixture(params=[True, False], ids=["traced", "untraced"])
def place(desk, request):
    """Whether HubSpot repeats trace ids in results is not documented; both must do."""
    desk.portal.switch(echo_trace_ids=request.param)
    return desk


async def booked(desk, *numbers) -> list[str]:
    results = await desk.create(*(booking(number) for number in numbers))
    return [result.record.hubspot_id for result in results]


async def linked(desk, *rows):
    return await desk.delivery.link(FakeSlot(), rows[0].kind, rows, always)


async def test_cancelling_merged_bookings_ends_them_and_their_neighbours(place):
    one, two, three, survivor = await booked(place, 1, 2, 3, 4)
    await place.portal.merge(BOOKINGS, one, survivor)
    await place.portal.merge(BOOKINGS, two, survivor)
    results = await place.delivery.cancel(FakeSlot(), [cancel(1, one), cancel(2, two), cancel(3, three)], always)
    assert outcomes(results) == ["written"] * 3
    assert [result.record.hubspot_id for result in results] == [survivor, survivor, three]
    assert {b["is_active"] for b in place.portal.bookings().values()} == {"Cancelled"}


async def test_a_link_from_a_merged_booking_is_written(place):
    one, two, survivor = await booked(place, 1, 2, 3)
    contact_id = await place.portal.make(CONTACTS, email="a@example.org")
    await place.portal.merge(BOOKINGS, one, survivor)
    assert outcomes(await linked(place, link(1, one, contact_id), link(2, two, contact_id))) == ["written"] * 2
    assert survivor in place.portal.emulator.store.portal.links[CONTACTS, contact_id][BOOKINGS]


async def test_links_to_a_merged_contact_are_written(place):
    """The everyday case: the office joins the two contacts of one student."""
    one, two, three = await booked(place, 1, 2, 3)
    gone, kept, other = [await place.portal.make(CONTACTS, email=f"{n}@example.org") for n in range(3)]
    await place.portal.merge(CONTACTS, gone, kept)
    rows = [link(1, one, gone), link(2, two, other), link(3, three, gone)]
    assert outcomes(await linked(place, *rows)) == ["written"] * 3
    assert {one, three} <= place.portal.emulator.store.portal.links[CONTACTS, kept][BOOKINGS].keys()


async def test_a_lone_link_to_a_merged_contact_costs_one_call(place):
    [one] = await booked(place, 1)
    gone, kept = [await place.portal.make(CONTACTS, email=f"{n}@example.org") for n in range(2)]
    await place.portal.merge(CONTACTS, gone, kept)
    place.portal.calls.clear()
    assert outcomes(await linked(place, link(1, one, gone))) == ["written"]
    assert place.operations == ["labels", "associations_batch_create"]


async def test_the_count_of_a_merged_exam_is_written(place):
    gone, kept, other = [await place.portal.make(EXAMS, capacity="3") for _ in range(3)]
    await place.portal.merge(EXAMS, gone, kept)
    rows = [count(1, gone, 2), count(2, other, 1)]
    results = await place.delivery.count(FakeSlot(), rows, always)
    assert outcomes(results) == ["written"] * 2
    assert results[0].record.hubspot_id == kept


async def test_staff_hears_that_the_exam_they_change_was_merged(place):
    gone, kept, other = [await place.portal.make(EXAMS, capacity="3") for _ in range(3)]
    await place.portal.merge(EXAMS, gone, kept)
    rows = [replace(count(number, one, 2), kind="exam_update") for number, one in enumerate((gone, other))]
    results = await place.delivery.deliver("exam_update", FakeSlot(), rows, always)
    assert outcomes(results) == ["refused", "written"]
    assert f"merged into {kept}" in results[0].reason


async def test_many_links_to_merged_contacts_end_a_few_calls_at_a_time_and_nobody_calls_hubspot_away(desk):
    ids = await booked(desk, *range(25))
    gone, kept = [await desk.portal.make(CONTACTS, email=f"{n}@example.org") for n in range(2)]
    await desk.portal.merge(CONTACTS, gone, kept)
    left = [link(number, one, gone) for number, one in enumerate(ids)]
    settling = Settling(settings_for())
    for _ in range(3):
        desk.portal.calls.clear()
        results = await linked(desk, *left)
        assert len(desk.portal.calls) <= 13
        settling.of(left, results, 0.0)
        assert settling.away_because is None
        left = [replace(r, attempts=2) for r, done in zip(left, results, strict=True) if done.outcome != "written"]
    assert left == []


@pytest.mark.parametrize("fault", ["502-before", "empty-before", "short"])
async def test_a_lost_answer_is_not_asked_about_row_by_row(desk, fault):
    ids = await booked(desk, 1, 2, 3)
    desk.portal.faults(f"{fault}=1x")
    desk.portal.calls.clear()
    rows = [cancel(number, one) for number, one in enumerate(ids, 1)]
    assert outcomes(await desk.delivery.cancel(FakeSlot(), rows, always)) == ["written"] * 3
    assert desk.operations == ["batch_update"] * 2
