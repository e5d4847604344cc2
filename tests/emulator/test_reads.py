"""Lists, pages and long addresses: each test says its rule, HubSpot's or (`issue:`) the emulator's."""

import base64

import pytest

from tests.emulator.crm import BOOKINGS

LIST = f"/crm/v3/objects/{BOOKINGS}"
DIGITS = "9" * 5000
OPAQUE = base64.urlsafe_b64encode(f"after:{DIGITS}".encode()).decode()


async def test_a_list_page_holds_10_unless_asked_for_up_to_100(crm):
    """List page: default 10, max 100"""
    await crm.upsert(*(f"B-{number}" for number in range(100)))
    await crm.upsert("one more")
    assert len((await crm.get(LIST)).body["results"]) == 10
    assert len((await crm.get(f"{LIST}?limit=100")).body["results"]) == 100
    for wrong in ("101", "0", "-1", "ten"):
        assert (await crm.get(f"{LIST}?limit={wrong}")).status == 400


async def test_pages_are_followed_by_an_opaque_cursor(crm):
    """List page: …, opaque `after`"""
    await crm.upsert(*(f"B-{number}" for number in range(25)))
    seen, after = [], ""
    while after is not None:
        page = (await crm.get(f"{LIST}?properties=booking_id{after}")).body
        seen += [one["id"] for one in page["results"]]
        after = f"&after={page['paging']['next']['after']}" if "paging" in page else None
    assert len(seen) == len(set(seen)) == 25
    assert (await crm.get(f"{LIST}?after={seen[3]}")).status == 400


async def test_a_last_page_that_is_exactly_full_has_no_next(crm):
    """List page: …, opaque `after`"""
    await crm.upsert(*(f"B-{number}" for number in range(10)))
    assert "paging" not in (await crm.get(LIST)).body


async def test_archived_records_are_listed_apart(crm):
    """`archived=true` lists archived records only"""
    ids = [await crm.create(booking_id=name) for name in ("live", "gone")]
    await crm.call("DELETE", f"{LIST}/{ids[1]}")
    assert [one["id"] for one in (await crm.get(LIST)).body["results"]] == ids[:1]
    archived = (await crm.get(f"{LIST}?archived=true")).body["results"]
    assert [one["id"] for one in archived] == ids[1:]
    assert archived[0]["archived"] is True


async def test_a_read_answers_only_the_properties_asked_for(crm):
    """`batch/read` has no associations; a read answers the default properties and those asked for."""
    record = await crm.create(booking_id="B-1", attendance="Yes")
    plain = (await crm.batch("read", [{"id": record}])).body["results"][0]
    assert set(plain["properties"]) == {"hs_object_id", "hs_createdate", "hs_lastmodifieddate"}
    assert "associations" not in plain
    asked = (await crm.get(f"{LIST}/{record}?properties=attendance,nope")).body["properties"]
    assert asked["attendance"] == "Yes"
    assert "nope" not in asked


async def test_a_record_is_read_by_a_unique_property(crm):
    """`idProperty` must name a property with `hasUniqueValue`"""
    record = await crm.create(booking_id="Situational Judgment-TRAINEE0142-March 5, 2026")
    name = "Situational%20Judgment-TRAINEE0142-March%205%2C%202026"
    assert (await crm.get(f"{LIST}/{name}?idProperty=booking_id")).body["id"] == record
    assert (await crm.get(f"{LIST}/{name}?idProperty=attendance")).status == 400
    assert (await crm.get(f"{LIST}/{name}")).status == 404


@pytest.mark.parametrize(("size", "status"), [(15_000, 200), (16_500, 414)])
async def test_a_long_list_of_properties_is_414(crm, size, status):
    """Long `properties=` lists hit 414 near 16 kB."""
    assert (await crm.get(f"{LIST}?properties={'x' * size}")).status == status


async def test_10_001_records_are_paged_to_the_end(crm):
    """List page: default 10, max 100, opaque `after`"""
    await crm.limits(calls=10_000)
    await crm.control("seed", {"objects": {"bookings": [{"properties": {}}] * 10_001}})
    seen, after = set(), ""
    while after is not None:
        page = (await crm.get(f"{LIST}?limit=100{after}")).body
        seen |= {one["id"] for one in page["results"]}
        after = f"&after={page['paging']['next']['after']}" if "paging" in page else None
    assert len(seen) == 10_001


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"{LIST}?limit={DIGITS}", 400),
        (f"{LIST}?after={OPAQUE}", 400),
        (f"{LIST}/{DIGITS}", 404),
        (f"/crm/v4/objects/{BOOKINGS}/{{record}}/associations/contacts?after={DIGITS}", 200),
    ],
)
async def test_a_number_of_5000_digits_breaks_nothing(crm, path, status):
    """issue: exact status for … 400 (validation …), 404"""
    assert (await crm.get(path.format(record=await crm.create()))).status == status


async def test_a_search_from_a_number_of_5000_digits_is_400(crm):
    """issue: exact status for … 400 (validation …)"""
    assert (await crm.post(f"{LIST}/search", {"after": DIGITS})).status == 400
