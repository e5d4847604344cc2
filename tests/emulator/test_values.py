"""Values on the wire: each test says its rule, HubSpot's or (`issue:`) the emulator's."""

import pytest

from tests.emulator.crm import BOOKINGS, EXAMS


async def kept(crm, kind=BOOKINGS, **values):
    """What a record holds after these values were sent, or the code of the refusal."""
    answer = await crm.post(f"/crm/v3/objects/{kind}", {"properties": values})
    if answer.status == 400:
        return answer.body["errors"][0]["code"]
    return answer.body["properties"][next(iter(values))]


@pytest.mark.parametrize(("sent", "stored"), [(20, "20"), ("20", "20"), (20.0, "20"), ("2.5", "2.5")])
async def test_values_are_strings_on_the_wire(crm, sent, stored):
    """Values are strings on the wire"""
    assert await kept(crm, EXAMS, capacity=sent) == stored


@pytest.mark.parametrize("sent", ["many", "1e999", "nan", "1_000", True])
async def test_a_number_must_be_one(crm, sent):
    """issue: properties (types, …)"""
    assert await kept(crm, EXAMS, capacity=sent) == "INVALID_LONG"


async def test_an_empty_string_clears(crm):
    """`""` clears; unset reads back as null or is absent"""
    record = await crm.create(booking_id="B-1", attendance="Yes")
    one = f"/crm/v3/objects/{BOOKINGS}/{record}"
    await crm.call("PATCH", one, {"properties": {"attendance": ""}})
    assert (await crm.get(f"{one}?properties=attendance")).body["properties"]["attendance"] is None
    assert "attendance" not in (await crm.state())["objects"][BOOKINGS][0]["properties"]


async def test_a_cleared_unique_value_is_free_again(crm):
    """`""` clears"""
    record = await crm.create(booking_id="B-1")
    await crm.call("PATCH", f"/crm/v3/objects/{BOOKINGS}/{record}", {"properties": {"booking_id": ""}})
    assert await crm.create(booking_id="B-1") != record


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("2026-03-05", "2026-03-05"),
        (1772668800000, "2026-03-05"),
        ("1772668800000", "2026-03-05"),
        ("-86400000", "1969-12-31"),
        (1772668800001, "INVALID_DATE"),
        ("1772722800000", "INVALID_DATE"),
        ("2026-03-05T00:00:00Z", "INVALID_DATE"),
        ("2026-02-30", "INVALID_DATE"),
        ("20260305", "INVALID_DATE"),
        ("05/03/2026", "INVALID_DATE"),
        ("99999999999999999", "INVALID_DATE"),
    ],
)
async def test_a_date_is_a_day_or_midnight_utc(crm, sent, stored):
    """`date` = `YYYY-MM-DD` or epoch ms at midnight UTC, anything else is an error"""
    assert await kept(crm, exam_date=sent) == stored


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("2026-03-05T14:00:00Z", "2026-03-05T14:00:00.000Z"),
        ("2026-03-05T09:00:00.5-05:00", "2026-03-05T14:00:00.500Z"),
        (1772722800123, "2026-03-05T15:00:00.123Z"),
        ("tomorrow", "INVALID_DATE"),
    ],
)
async def test_a_datetime_is_epoch_ms_or_iso(crm, sent, stored):
    """`datetime` = epoch ms or ISO 8601"""
    await define(crm, name="opens_at", type="datetime", fieldType="date")
    assert await kept(crm, opens_at=sent) == stored


async def test_an_option_must_be_one_of_the_allowed(crm):
    """issue: properties (types, unique, read-only, options)"""
    options = [{"label": text, "value": text} for text in ("left", "right")]
    await define(crm, name="hand", type="enumeration", fieldType="select", options=options)
    await define(crm, name="paid", type="bool", fieldType="booleancheckbox")
    assert await kept(crm, hand="left") == "left"
    assert await kept(crm, hand="both") == "INVALID_OPTION"
    assert await kept(crm, paid=True) == "true"
    assert await kept(crm, paid="yes") == "INVALID_OPTION"


async def define(crm, **spec):
    body = {"label": spec["name"], "groupName": "bookings_information", **spec}
    answer = await crm.post(f"/crm/v3/properties/{BOOKINGS}", body)
    assert answer.status == 201, answer
    return answer.body


async def test_unknown_and_read_only_properties_are_refused(crm):
    """Unknown or read-only property: 400 `PROPERTY_DOESNT_EXIST`, `READ_ONLY_VALUE`."""
    assert await kept(crm, nope="x") == "PROPERTY_DOESNT_EXIST"
    assert await kept(crm, hs_object_id="12") == "READ_ONLY_VALUE"
    assert await kept(crm, hs_createdate="2026-03-05T14:00:00Z") == "READ_ONLY_VALUE"
    assert await crm.names() == []


async def test_an_e_mail_must_look_like_one(crm):
    """issue: 400 (validation, …)"""
    assert await kept(crm, "contacts", email="ann") == "INVALID_EMAIL"


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("contacts", {"hs_object_id", "createdate", "lastmodifieddate"}),
        (BOOKINGS, {"hs_object_id", "hs_createdate", "hs_lastmodifieddate"}),
    ],
)
async def test_system_properties_depend_on_the_type(crm, kind, names):
    """System properties: every object `hs_object_id`; contacts `createdate`, `lastmodifieddate`; custom objects
    `hs_createdate`, `hs_lastmodifieddate`."""
    record = await crm.create(kind)
    before = (await crm.get(f"/crm/v3/objects/{kind}/{record}")).body
    assert {name for name, value in before["properties"].items() if value} == names
    assert before["properties"]["hs_object_id"] == record
    await crm.clock.advance(1)
    await crm.call("PATCH", f"/crm/v3/objects/{kind}/{record}", {"properties": {}})
    after = (await crm.get(f"/crm/v3/objects/{kind}/{record}")).body
    assert after["createdAt"] == before["createdAt"]
    assert after["updatedAt"] > before["updatedAt"]
