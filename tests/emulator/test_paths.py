"""Paths and names: each test says its rule, HubSpot's or (`issue:`) the emulator's."""

import pytest

from tests.emulator.crm import BOOKINGS, FULL_NAME

OBJECTS = ["/crm/v3/objects", "/crm/objects/2026-09"]
LINKS = ["/crm/v4/associations", "/crm/associations/2026-09"]
PROPERTIES = ["/crm/v3/properties", "/crm/properties/2026-09"]
SCHEMAS = ["/crm-object-schemas/v3/schemas", "/crm-object-schemas/2026-09/schemas"]


@pytest.mark.parametrize("base", OBJECTS)
async def test_single_records_live_at_both_path_families(crm, base):
    """| list, create | GET, POST `/crm/v3/objects/{t}` | `/crm/objects/2026-09/{t}` |
    | read, update, archive one | GET, PATCH, DELETE `…/{id}` | same |"""
    made = await crm.post(f"{base}/{BOOKINGS}", {"properties": {"booking_id": "B-1"}})
    one = f"{base}/{BOOKINGS}/{made.body['id']}"
    assert made.status == 201
    assert (await crm.get(f"{base}/{BOOKINGS}")).body["results"][0]["id"] == made.body["id"]
    assert (await crm.get(one)).status == 200
    assert (await crm.call("PATCH", one, {"properties": {"is_active": "Active"}})).status == 200
    assert (await crm.call("DELETE", one)).status == 204
    assert (await crm.get(one)).status == 404


@pytest.mark.parametrize("base", OBJECTS)
async def test_batches_and_search_live_at_both_path_families(crm, base):
    """| batch create, read, update, upsert, archive | POST `…/batch/create` … | same |
    | search | POST `…/search` | same |"""

    async def batch(name, *inputs):
        return await crm.post(f"{base}/{BOOKINGS}/batch/{name}", {"inputs": list(inputs)})

    made = await batch("create", {"properties": {"booking_id": "B-1"}})
    ref = {"id": made.body["results"][0]["id"]}
    assert made.status == 201
    assert (await batch("read", ref)).status == 200
    assert (await batch("update", ref | {"properties": {"is_active": "x"}})).status == 200
    assert (await batch("upsert", {"id": "B-2", "idProperty": "booking_id", "properties": {}})).status == 200
    assert (await batch("archive", ref)).status == 204
    assert (await crm.post(f"{base}/{BOOKINGS}/search", {})).status == 200


@pytest.mark.parametrize("base", LINKS)
async def test_associations_live_at_both_path_families(crm, base):
    """| associations batch create, read, archive | POST `/crm/v4/associations/{from}/{to}/batch/create` … |
    `/crm/associations/2026-09/{from}/{to}/batch/create` | and association labels (type ids)"""
    pair = f"{base}/{BOOKINGS}/contacts"
    booking, contact = await crm.create(booking_id="B-1"), await crm.create("contacts", email="a@b.ca")
    label = (await crm.get(f"{pair}/labels")).body["results"][0]
    types = [{"associationCategory": label["category"], "associationTypeId": label["typeId"]}]
    link = {"from": {"id": booking}, "to": {"id": contact}, "types": types}
    assert (await crm.post(f"{pair}/batch/create", {"inputs": [link]})).status == 201
    found = await crm.post(f"{pair}/batch/read", {"inputs": [{"id": booking}]})
    assert found.body["results"][0]["to"][0]["toObjectId"] == contact
    gone = {"inputs": [{"from": {"id": booking}, "to": [{"id": contact}]}]}
    assert (await crm.post(f"{pair}/batch/archive", gone)).status == 204


@pytest.mark.parametrize("base", PROPERTIES)
async def test_properties_live_at_both_path_families(crm, base):
    """| properties | `/crm/v3/properties/{t}` | `/crm/properties/2026-09/{t}` |"""
    names = {one["name"] for one in (await crm.get(f"{base}/{BOOKINGS}")).body["results"]}
    assert {"booking_id", "hs_object_id", "exam_date"} <= names


@pytest.mark.parametrize("base", SCHEMAS)
async def test_schemas_live_at_both_path_families(crm, base):
    """| schemas | `/crm-object-schemas/v3/schemas` | `/crm-object-schemas/2026-09/schemas` |"""
    found = {one["name"] for one in (await crm.get(base)).body["results"]}
    assert found == {"bookings", "mock_exams"}
    assert (await crm.get(f"{base}/{BOOKINGS}")).body["fullyQualifiedName"] == FULL_NAME


@pytest.mark.parametrize(
    "path",
    [
        "/crm/objects/v3/contacts",
        "/crm/2026-09/objects/contacts",
        "/crm/v3/associations/contacts/contacts/labels",
        "/crm/objects/2020-01/contacts",
        "/crm-object-schemas/schemas/2026-09",
    ],
)
async def test_a_version_in_the_wrong_place_is_not_found(crm, path):
    """The version's place is not uniform, so keep a table of paths, not a string replace."""
    assert (await crm.get(path)).status == 404


@pytest.mark.parametrize("name", ["contacts", "0-1", BOOKINGS, FULL_NAME])
async def test_a_type_is_named_by_name_id_or_full_name(crm, name):
    """`{t}` is `contacts`, `0-1`, a custom object's id `2-123456`, or its full name `p{portal}_name`."""
    assert (await crm.get(f"/crm/v3/objects/{name}")).status == 200


@pytest.mark.parametrize("name", ["bookings", "mock_exams", "2-1", "p1_bookings"])
async def test_a_bare_custom_name_is_refused(crm, name):
    """A custom object's bare name is refused: 400 "Unable to infer object type from: …" (L)."""
    answer = await crm.get(f"/crm/v3/objects/{name}")
    assert answer.status == 400
    assert answer.body["message"] == f"Unable to infer object type from: {name}"


async def test_a_wrong_method_is_told_apart_from_a_wrong_path(crm):
    """Every path of the table answers its own methods only."""
    assert (await crm.call("PUT", "/crm/v3/objects/contacts")).status == 405
    assert (await crm.get("/crm/v3/nothing")).status == 404
