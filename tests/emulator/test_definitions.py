"""Property definitions and schemas: each test says its rule, HubSpot's or (`issue:`) the emulator's."""

import pytest

from tests.emulator.crm import BOOKINGS, CONTACTS, EXAMS, upsert_input

BASE = f"/crm/v3/properties/{BOOKINGS}"
SCHEMAS = "/crm-object-schemas/v3/schemas"


def spec(name, **more):
    found = {"name": name, "label": name, "type": "string", "fieldType": "text"}
    return found | {"groupName": "bookings_information"} | more


async def test_the_standard_portal_has_the_properties_of_a_school(crm):
    """Booking properties: booking_id (make it unique), mock_exam_id, … Exam properties: mock_exam_name, … Contact
    properties: student_id, email, firstname, lastname."""
    wanted = {
        BOOKINGS: "booking_id mock_exam_id contact_id student_id student_name student_email booking_status is_active "
        "attendance attending_location exam_date dominant_hand",
        EXAMS: "mock_exam_name mock_type exam_date start_time end_time location capacity total_bookings is_active",
        CONTACTS: "student_id email firstname lastname",
    }
    for kind, names in wanted.items():
        found = {one["name"]: one for one in (await crm.get(f"/crm/v3/properties/{kind}")).body["results"]}
        assert set(names.split()) <= set(found)
    assert (await crm.get(f"{BASE}/booking_id")).body["hasUniqueValue"] is True


async def test_uniqueness_is_set_only_at_creation(crm):
    """`hasUniqueValue` (set only at creation; …)"""
    made = await crm.post(BASE, spec("lastseat_id", hasUniqueValue=True))
    assert (made.status, made.body["hasUniqueValue"]) == (201, True)
    row = upsert_input("L-1") | {"idProperty": "lastseat_id"}
    assert (await crm.batch("upsert", [row])).status == 200
    for name, unique in (("student_id", True), ("lastseat_id", False)):
        assert (await crm.call("PATCH", f"{BASE}/{name}", {"hasUniqueValue": unique})).status == 400


async def test_at_most_10_properties_are_unique(crm):
    """at most 10 per object"""
    for number in range(9):  # booking_id is the first
        assert (await crm.post(BASE, spec(f"u{number}", hasUniqueValue=True))).status == 201
    assert (await crm.post(BASE, spec("u9", hasUniqueValue=True))).status == 400
    assert (await crm.post(BASE, spec("plain"))).status == 201


async def test_a_unique_property_is_a_string(crm):
    """`hasUniqueValue` (…; string)"""
    number = spec("n", type="number", fieldType="number", hasUniqueValue=True)
    assert (await crm.post(BASE, number)).status == 400


async def test_a_definition_is_made_changed_and_archived(crm):
    """| properties | `/crm/v3/properties/{t}` |"""
    assert (await crm.post(BASE, spec("room"))).status == 201
    assert (await crm.post(BASE, spec("room"))).status == 409
    changed = await crm.call("PATCH", f"{BASE}/room", {"label": "Room"})
    assert changed.body["label"] == "Room"
    assert (await crm.call("DELETE", f"{BASE}/room")).status == 204
    assert (await crm.get(f"{BASE}/room")).status == 404
    assert (await crm.get(f"{BASE}/room?archived=true")).status == 200
    assert (await crm.upsert("B-1", traced=False, room="1")).status == 400
    assert (await crm.call("DELETE", f"{BASE}/hs_object_id")).status == 400


@pytest.mark.parametrize("left_out", ["name", "label", "type", "fieldType", "groupName"])
async def test_a_definition_needs_its_parts(crm, left_out):
    """400 (validation)"""
    body = spec("room")
    del body[left_out]
    assert (await crm.post(BASE, body)).status == 400
    assert (await crm.post(BASE, spec("room", type="poem"))).status == 400


async def test_definitions_travel_in_batches(crm):
    """| properties | … |"""
    made = await crm.post(f"{BASE}/batch/create", {"inputs": [spec("one"), spec("two")]})
    assert made.status == 201
    names = [{"name": "one"}, {"name": "nope"}]
    read = await crm.post(f"{BASE}/batch/read", {"inputs": names, "archived": False})
    assert (read.status, len(read.body["results"])) == (207, 1)
    assert (await crm.post(f"{BASE}/batch/archive", {"inputs": names})).status == 204
    assert (await crm.get(f"{BASE}/one")).status == 404
    assert (await crm.post(f"{BASE}/batch/create", {"inputs": [spec("x"), spec("two")]})).status == 409
    assert (await crm.get(f"{BASE}/x")).status == 404


async def test_groups_are_listed_and_made(crm):
    """| properties | … |"""
    assert (await crm.post(f"{BASE}/groups", {"name": "g", "label": "G"})).status == 201
    assert (await crm.post(f"{BASE}/groups", {"name": "g", "label": "G"})).status == 409
    assert {one["name"] for one in (await crm.get(f"{BASE}/groups")).body["results"]} == {"bookings_information", "g"}
    assert (await crm.get(f"{BASE}/groups/g")).body["label"] == "G"


async def test_a_custom_object_is_defined_used_and_deleted(crm):
    """| schemas | `/crm-object-schemas/v3/schemas` |; custom objects … with per-portal ids: always configuration"""
    body = {
        "name": "rooms",
        "labels": {"singular": "Room", "plural": "Rooms"},
        "primaryDisplayProperty": "room_name",
        "requiredProperties": ["room_name"],
        "properties": [
            {"name": "room_name", "label": "Name", "type": "string", "fieldType": "text", "hasUniqueValue": True}
        ],
        "associatedObjects": [EXAMS],
    }
    made = await crm.post(SCHEMAS, body)
    assert made.status == 201, made
    kind, full_name = made.body["objectTypeId"], made.body["fullyQualifiedName"]
    assert (await crm.post(SCHEMAS, body)).status == 409
    room = await crm.create(full_name, room_name="B9")
    labels = (await crm.get(f"/crm/v4/associations/{kind}/{EXAMS}/labels")).body["results"]
    assert labels[0]["category"] == "USER_DEFINED"
    assert (await crm.call("PATCH", f"{SCHEMAS}/{kind}", {"description": "halls"})).body["description"] == "halls"
    joined = await crm.post(f"{SCHEMAS}/{kind}/associations", {"fromObjectTypeId": kind, "toObjectTypeId": "0-1"})
    assert joined.status == 201
    assert (await crm.call("DELETE", f"{SCHEMAS}/{kind}")).status == 400  # it has a record
    await crm.call("DELETE", f"/crm/v3/objects/{kind}/{room}")
    assert (await crm.call("DELETE", f"{SCHEMAS}/{kind}")).status == 204
    assert (await crm.get(f"/crm/v3/objects/{kind}")).status == 400
    assert (await crm.post(SCHEMAS, body)).status == 201


async def test_a_schema_with_a_bad_property_leaves_nothing_behind(crm):
    """400 (validation)"""
    body = {"name": "rooms", "labels": {}, "properties": [{"name": "x"}]}
    assert (await crm.post(SCHEMAS, body)).status == 400
    assert {one["name"] for one in (await crm.get(SCHEMAS)).body["results"]} == {"bookings", "mock_exams"}
