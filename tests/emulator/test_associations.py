"""Associations: each test says its rule, HubSpot's or (`issue:`) the emulator's."""

import pytest

from hubspot_emulator.standard import first_events
from tests.emulator.crm import BOOKINGS, CONTACTS, EXAMS, running

PAIR = f"/crm/v4/associations/{BOOKINGS}/{CONTACTS}"


async def spec(crm, pair=PAIR):
    label = (await crm.get(f"{pair}/labels")).body["results"][0]
    return {"associationCategory": label["category"], "associationTypeId": label["typeId"]}


async def linked(crm, count=1):
    """Bookings each linked to a contact of its own."""
    types = [await spec(crm)]
    ids = [(await crm.create(), await crm.create("contacts")) for _ in range(count)]
    inputs = [{"from": {"id": a}, "to": {"id": b}, "types": types} for a, b in ids]
    assert (await crm.post(f"{PAIR}/batch/create", {"inputs": inputs})).status == 201
    return ids


@pytest.mark.parametrize(
    ("name", "most"), [("create", 2_000), ("read", 1_000), ("archive", 100), ("labels/archive", 100)]
)
async def test_association_batches_have_limits_of_their_own(crm, name, most):
    """associations: create 2,000, read 1,000, archive 100 (D)"""
    (booking, contact), types = (await linked(crm))[0], [await spec(crm)]
    shapes = {
        "read": {"id": booking},
        "archive": {"from": {"id": booking}, "to": [{"id": contact}]},
    }
    one = shapes.get(name, {"from": {"id": booking}, "to": {"id": contact}, "types": types})
    assert (await crm.post(f"{PAIR}/batch/{name}", {"inputs": [one] * most})).status < 300
    assert (await crm.post(f"{PAIR}/batch/{name}", {"inputs": [one] * (most + 1)})).status == 400


async def test_type_ids_are_user_defined_and_differ_per_portal(crm):
    """Association type ids of custom-object pairs are `USER_DEFINED` and differ per portal: discover them through
    `labels`."""
    mine = await spec(crm)
    assert mine["associationCategory"] == "USER_DEFINED"
    back = await spec(crm, f"/crm/v4/associations/{CONTACTS}/{BOOKINGS}")
    assert back["associationTypeId"] != mine["associationTypeId"]
    async with running() as other:
        other.emulator.start_over(first_events("standard", 77_777_777))
        assert (await spec(other))["associationTypeId"] != mine["associationTypeId"]


async def test_a_type_id_of_another_pair_is_refused(crm):
    """Association type ids … differ per portal"""
    booking, contact = await crm.create(), await crm.create("contacts")
    wrong = await spec(crm, f"/crm/v4/associations/{BOOKINGS}/{EXAMS}")
    link = {"from": {"id": booking}, "to": {"id": contact}, "types": [wrong]}
    assert (await crm.post(f"{PAIR}/batch/create", {"inputs": [link]})).status == 400


async def test_a_record_without_associations_is_a_benign_207_row(crm):
    """Reading the associations of a record that has none gives a benign 207 row `NO_ASSOCIATIONS_FOUND` (L)."""
    (booking, contact) = (await linked(crm))[0]
    lonely = await crm.create()
    answer = await crm.post(f"{PAIR}/batch/read", {"inputs": [{"id": booking}, {"id": lonely}]})
    assert answer.status == 207
    assert [one["from"]["id"] for one in answer.body["results"]] == [booking]
    assert answer.body["results"][0]["to"][0]["toObjectId"] == contact
    error = answer.body["errors"][0]
    assert error["subCategory"].endswith("NO_ASSOCIATIONS_FOUND")
    assert error["context"]["fromObjectId"] == [lonely]


async def test_an_association_does_not_bump_the_modified_date(crm):
    """Changing an association does not bump the modified date (L)."""
    booking = await crm.create()
    before = (await crm.get(f"/crm/v3/objects/{BOOKINGS}/{booking}")).body["updatedAt"]
    await crm.clock.advance(5)
    contact = await crm.create("contacts")
    link = {"from": {"id": booking}, "to": {"id": contact}, "types": [await spec(crm)]}
    await crm.post(f"{PAIR}/batch/create", {"inputs": [link]})
    await crm.post(f"{PAIR}/batch/archive", {"inputs": [{"from": {"id": booking}, "to": [{"id": contact}]}]})
    assert (await crm.get(f"/crm/v3/objects/{BOOKINGS}/{booking}")).body["updatedAt"] == before


async def test_both_directions_see_an_association_until_it_is_removed(crm):
    """| associations batch create, read, archive |"""
    booking, contact = (await linked(crm))[0]
    back = f"/crm/v4/associations/{CONTACTS}/{BOOKINGS}/batch/read"
    assert (await crm.post(back, {"inputs": [{"id": contact}]})).body["results"][0]["to"][0]["toObjectId"] == booking
    await crm.post(f"{PAIR}/batch/archive", {"inputs": [{"from": {"id": booking}, "to": [{"id": contact}]}]})
    assert (await crm.post(back, {"inputs": [{"id": contact}]})).body["results"] == []


async def test_a_missing_end_is_a_row_of_a_207(crm):
    """any of them **207** on partial success"""
    booking, contact = await crm.create(), await crm.create("contacts")
    types = [await spec(crm)]
    inputs = [
        {"from": {"id": booking}, "to": {"id": contact}, "types": types},
        {"from": {"id": booking}, "to": {"id": "12"}, "types": types},
    ]
    answer = await crm.post(f"{PAIR}/batch/create", {"inputs": inputs})
    assert answer.status == 207
    assert len(answer.body["results"]) == 1
    assert answer.body["errors"][0]["context"] == {"toObjectId": ["12"]}


async def test_links_sent_twice_are_no_error(crm):
    """There is no idempotency key; an association that exists is simply there."""
    booking, contact = (await linked(crm))[0]
    link = {"from": {"id": booking}, "to": {"id": contact}, "types": [await spec(crm)]}
    assert (await crm.post(f"{PAIR}/batch/create", {"inputs": [link]})).status == 201
    found = await crm.get(f"/crm/v4/objects/{BOOKINGS}/{booking}/associations/contacts")
    assert len(found.body["results"]) == 1


async def test_an_archived_record_loses_its_associations(crm):
    """archived records …"""
    booking, contact = (await linked(crm))[0]
    await crm.call("DELETE", f"/crm/v3/objects/{BOOKINGS}/{booking}")
    found = await crm.get(f"/crm/v4/objects/contacts/{contact}/associations/{BOOKINGS}")
    assert found.body["results"] == []


async def test_named_labels_are_defined_used_and_removed(crm):
    """| association labels (type ids) | GET `/crm/v4/associations/{from}/{to}/labels` |"""
    made = await crm.post(f"{PAIR}/labels", {"label": "Guardian", "name": "guardian", "inverseLabel": "Ward"})
    type_id = made.body["results"][0]["typeId"]
    labels = (await crm.get(f"{PAIR}/labels")).body["results"]
    assert {one["label"] for one in labels} == {None, "Guardian"}
    booking, contact = (await linked(crm))[0]
    guard = [{"associationCategory": "USER_DEFINED", "associationTypeId": type_id}]
    link = {"from": {"id": booking}, "to": {"id": contact}, "types": guard}
    answer = await crm.post(f"{PAIR}/batch/create", {"inputs": [link]})
    assert answer.body["results"][0]["labels"] == ["Guardian"]
    assert (await crm.post(f"{PAIR}/batch/labels/archive", {"inputs": [link]})).status == 204
    found = await crm.get(f"/crm/v4/objects/{BOOKINGS}/{booking}/associations/contacts")
    assert [one["label"] for one in found.body["results"][0]["associationTypes"]] == [None]
    assert (await crm.call("DELETE", f"{PAIR}/labels/{type_id}")).status == 204
    assert len((await crm.get(f"{PAIR}/labels")).body["results"]) == 1


@pytest.mark.parametrize("type_id", ["abc", "999999", "9" * 5000, "-1"])
async def test_a_label_that_is_not_there_is_404_whatever_it_is_called(crm, type_id):
    """issue: exact status for … 404"""
    assert (await crm.call("DELETE", f"{PAIR}/labels/{type_id}")).status == 404


async def test_a_create_can_carry_associations(crm):
    """Only upsert takes no associations."""
    contact = await crm.create("contacts")
    new = {"properties": {"booking_id": "B-1"}, "associations": [{"to": {"id": contact}, "types": [await spec(crm)]}]}
    made = await crm.post(f"/crm/v3/objects/{BOOKINGS}", new)
    assert made.status == 201
    found = await crm.get(f"/crm/v3/objects/{BOOKINGS}/{made.body['id']}?associations=contacts")
    assert found.body["associations"]["contacts"]["results"][0]["id"] == contact
    new["associations"][0]["to"]["id"] = "12"
    new["properties"]["booking_id"] = "B-2"
    assert (await crm.post(f"/crm/v3/objects/{BOOKINGS}", new)).status == 404
    assert await crm.names() == ["B-1"]


async def test_single_links_are_made_listed_and_removed(crm):
    """| associations … | the single forms of the same paths |"""
    booking = await crm.create()
    contacts = [await crm.create("contacts") for _ in range(3)]
    base = f"/crm/objects/2026-09/{BOOKINGS}/{booking}/associations"
    assert (await crm.call("PUT", f"{base}/contacts/{contacts[0]}", [await spec(crm)])).status == 201
    for contact in contacts[1:]:
        assert (await crm.call("PUT", f"{base}/default/contacts/{contact}")).status == 200
    page = (await crm.get(f"{base}/contacts?limit=2")).body
    assert [one["toObjectId"] for one in page["results"]] == contacts[:2]
    rest = (await crm.get(f"{base}/contacts?limit=2&after={page['paging']['next']['after']}")).body
    assert [one["toObjectId"] for one in rest["results"]] == contacts[2:]
    assert (await crm.call("DELETE", f"{base}/contacts/{contacts[0]}")).status == 204
    assert len((await crm.get(f"{base}/contacts")).body["results"]) == 2
