"""Search: each test says its rule, HubSpot's or (`issue:`) the emulator's."""

import pytest

from tests.emulator.crm import BOOKINGS, EXAMS, running, upsert_input

SEARCH = f"/crm/v3/objects/{BOOKINGS}/search"


@pytest.fixture
async def crm():
    async with running(calls=10_000, search_per_s=10_000, switches={"search_lag_ms": 0}) as found:
        yield found


async def found(crm, *groups, path=SEARCH, name="booking_id", **more):
    """The names that a search answers; each group is a list of (property, operator, value)."""
    body = {"filterGroups": [{"filters": [_filter(*one) for one in group]} for group in groups]}
    answer = await crm.post(path, body | {"properties": [name]} | more)
    assert answer.status == 200, answer
    return [one["properties"][name] for one in answer.body["results"]]


def _filter(name, operator, value=None):
    one = {"propertyName": name, "operator": operator}
    if operator == "BETWEEN":
        return one | {"value": value[0], "highValue": value[1]}
    if isinstance(value, list):
        return one | {"values": value}
    return one | ({} if value is None else {"value": value})


async def test_groups_are_or_and_filters_are_and(crm):
    """`filterGroups` (OR) of `filters` (AND)"""
    await crm.upsert("a", attendance="Yes", dominant_hand="left")
    await crm.upsert("b", attendance="Yes", dominant_hand="right")
    await crm.upsert("c", attendance="No", dominant_hand="left")
    yes, left = ("attendance", "EQ", "Yes"), ("dominant_hand", "EQ", "left")
    assert await found(crm, [yes, left]) == ["a"]
    assert await found(crm, [yes], [left]) == ["a", "b", "c"]
    assert await found(crm) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("operator", "value", "expected"),
    [
        ("EQ", "20", ["20"]),
        ("NEQ", "20", ["5", "100"]),
        ("LT", "20", ["5"]),
        ("LTE", "20", ["5", "20"]),
        ("GT", "20", ["100"]),
        ("GTE", "20", ["20", "100"]),
        ("BETWEEN", ("5", "20"), ["5", "20"]),
        ("IN", ["5", "100"], ["5", "100"]),
        ("NOT_IN", ["5", "100"], ["20"]),
        ("HAS_PROPERTY", None, ["5", "20", "100"]),
        ("NOT_HAS_PROPERTY", None, ["none"]),
    ],
)
async def test_numbers_are_compared_as_numbers(crm, operator, value, expected):
    """issue: search with filters"""
    for text in ("5", "20", "100"):
        await crm.create(EXAMS, mock_exam_name=text, capacity=text)
    await crm.create(EXAMS, mock_exam_name="none")
    path = f"/crm/v3/objects/{EXAMS}/search"
    assert await found(crm, [("capacity", operator, value)], path=path, name="mock_exam_name") == expected


async def test_dates_and_texts_have_their_own_order(crm):
    """issue: search with filters"""
    await crm.upsert("early", exam_date="2026-03-05", student_name="Zoë O'Neill")
    await crm.upsert("late", exam_date="2026-12-05", student_name="Ann Lee")
    assert await found(crm, [("exam_date", "GT", "1772668800000")]) == ["late"]
    assert await found(crm, [("student_name", "EQ", "ann lee")]) == ["late"]
    assert await found(crm, [("student_name", "CONTAINS_TOKEN", "Zoë")]) == ["early"]
    assert await found(crm, [("student_name", "CONTAINS_TOKEN", "*neil*")]) == ["early"]
    assert await found(crm, [("student_name", "NOT_CONTAINS_TOKEN", "lee")]) == ["early"]
    assert await found(crm, query="ANN") == ["late"]
    assert await found(crm, sorts=[{"propertyName": "exam_date", "direction": "DESCENDING"}]) == ["late", "early"]
    assert await found(crm, sorts=["-student_name"]) == ["early", "late"]


@pytest.mark.parametrize(
    ("sizes", "status"), [([6, 6, 6], 200), ([1] * 5, 200), ([7], 400), ([1] * 6, 400), ([6, 6, 6, 1], 400)]
)
async def test_filters_are_limited(crm, sizes, status):
    """5 groups, 6 filters each, 18 in all"""
    one = {"propertyName": "attendance", "operator": "EQ", "value": "Yes"}
    answer = await crm.post(SEARCH, {"filterGroups": [{"filters": [one] * size} for size in sizes]})
    assert answer.status == status


async def test_a_page_is_limited_to_200_and_all_of_it_to_10_000(crm):
    """page ≤ 200; **10,000 results in all, 400 beyond**; `after` is an integer offset"""
    await crm.control("seed", {"objects": {"bookings": [{"properties": {}}] * 10_001}})
    page = await crm.post(SEARCH, {"limit": 200})
    assert page.body["total"] == 10_001
    assert len(page.body["results"]) == 200
    assert page.body["paging"]["next"]["after"] == "200"
    assert (await crm.post(SEARCH, {"limit": 201})).status == 400
    assert (await crm.post(SEARCH, {"limit": 200, "after": 9_800})).status == 200
    assert (await crm.post(SEARCH, {"limit": 200, "after": 10_000})).status == 400
    assert (await crm.post(SEARCH, {"after": "abc"})).status == 400


async def test_more_than_10_000_are_paged_by_id(crm):
    """Page past 10,000 by `hs_object_id GT last`, never by timestamp alone: more than 10,000 rows can share one
    timestamp."""
    await crm.control("seed", {"objects": {"bookings": [{"properties": {}}] * 10_001}})
    records = (await crm.state())["objects"][BOOKINGS]
    assert len({record["createdAt"] for record in records}) == 1
    ids = [record["id"] for record in records]
    one = {"propertyName": "hs_object_id", "operator": "GT", "value": ids[9_899]}
    sent = {"filterGroups": [{"filters": [one]}], "sorts": ["hs_object_id"], "limit": 200}
    beyond = (await crm.post(SEARCH, sent)).body["results"]
    assert [record["id"] for record in beyond] == ids[9_900:]


async def test_archived_records_never_appear(crm):
    """archived records never appear"""
    await crm.upsert("a", "b")
    ids = [one["id"] for one in (await crm.post(SEARCH, {"properties": ["booking_id"]})).body["results"]]
    await crm.call("DELETE", f"/crm/v3/objects/{BOOKINGS}/{ids[0]}")
    assert len(await found(crm)) == 1


async def test_new_and_changed_records_appear_late():
    """new and changed records appear after seconds, seen up to 30 s"""
    async with running(switches={"search_lag_ms": 30_000}) as crm:
        await crm.upsert("a", attendance="No")
        assert await found(crm) == []
        await crm.clock.advance(30)
        assert await found(crm) == ["a"]
        await crm.upsert("a", attendance="Yes")
        await crm.clock.advance(29)
        assert await found(crm, [("attendance", "EQ", "No")]) == ["a"]
        await crm.clock.advance(1)
        assert await found(crm, [("attendance", "EQ", "No")]) == []
        read = await crm.batch("read", [{"id": "a"}], idProperty="booking_id")
        assert len(read.body["results"]) == 1


async def test_what_a_seed_puts_in_is_seen_at_once_also_while_earlier_changes_wait():
    """issue: seeding; only calls are seen late"""
    async with running(switches={"search_lag_ms": 30_000}) as crm:
        await crm.upsert("a", "b", attendance="No")
        ids = {one["properties"]["booking_id"]: one["id"] for one in (await crm.state())["objects"][BOOKINGS]}
        by_hand = [{"id": ids["a"], "properties": {"attendance": "Yes"}}, {"properties": {"booking_id": "c"}}]
        await crm.control("seed", {"objects": {"bookings": by_hand}})
        assert sorted(await found(crm)) == ["a", "c"]
        await crm.clock.advance(30)
        assert sorted(await found(crm)) == ["a", "b", "c"]
        assert await found(crm, [("attendance", "EQ", "Yes")]) == ["a"]


@pytest.mark.parametrize(
    "one",
    [
        {"propertyName": "nope", "operator": "EQ", "value": "x"},
        {"propertyName": "attendance", "operator": "LIKE", "value": "x"},
        {"propertyName": "attendance", "operator": "EQ"},
        {"propertyName": "attendance", "operator": "IN"},
        {"propertyName": "exam_date", "operator": "GT", "value": "soon"},
    ],
)
async def test_a_filter_that_makes_no_sense_is_400(crm, one):
    """400 (validation)"""
    await crm.batch("upsert", [upsert_input("a")])
    assert (await crm.post(SEARCH, {"filterGroups": [{"filters": [one]}]})).status == 400
