"""Batches, trace ids and upserts: each test says its rule, HubSpot's or (`issue:`) the emulator's."""

import pytest

from tests.emulator.crm import BOOKINGS, EXAMS, upsert_input


@pytest.mark.parametrize("operation", ["create", "read", "update", "upsert", "archive"])
async def test_a_batch_takes_at_most_100_inputs(crm, operation):
    """Object batches take at most **100** inputs (D)."""
    inputs = [{"id": str(n), "idProperty": "booking_id", "properties": {}} for n in range(101)]
    refused = await crm.batch(operation, inputs)
    assert refused.status == 400
    assert "100" in refused.body["message"]
    assert (await crm.batch(operation, [])).status == 400
    assert (await crm.batch(operation, inputs[:100])).status < 300
    assert len(await crm.names()) in (0, 100)


async def test_each_operation_has_its_own_status(crm):
    """Status: create 201, read/update/upsert 200, batch archive 204 (S, D)."""
    made = await crm.batch("create", [{"properties": {"booking_id": "B-1"}}])
    ref = {"id": made.body["results"][0]["id"]}
    assert made.status == 201
    assert (await crm.batch("read", [ref])).status == 200
    assert (await crm.batch("update", [ref | {"properties": {}}])).status == 200
    assert (await crm.upsert("B-1")).status == 200
    archived = await crm.batch("archive", [ref, {"id": "1"}])
    assert (archived.status, archived.body) == (204, "")


@pytest.mark.parametrize("operation", ["create", "upsert"])
async def test_one_bad_row_without_trace_ids_writes_nothing(crm, operation):
    """`objectWriteTraceId` … is the switch that turns one bad row from "400, nothing written" …"""
    rows = [upsert_input("good", traced=False), upsert_input("bad", traced=False, nope="x")]
    if operation == "create":
        rows = [{"properties": row["properties"]} for row in rows]
    answer = await crm.batch(operation, rows)
    assert answer.status == 400
    assert await crm.names() == []


async def test_trace_ids_let_the_good_rows_through(crm):
    """… into "207, good rows written" (D for create, L for upsert). 207 body = batch body + `numErrors` +
    `errors[]`, each with `category, message, context.objectWriteTraceId[]`."""
    answer = await crm.batch("upsert", [upsert_input("good"), upsert_input("bad", exam_date="soon")])
    assert answer.status == 207
    assert answer.body["status"] == "COMPLETE"
    assert answer.body["numErrors"] == 1
    error = answer.body["errors"][0]
    assert error["context"]["objectWriteTraceId"] == ["t-bad"]
    assert error["category"] == "VALIDATION_ERROR"
    assert "INVALID_DATE" in error["message"]
    assert await crm.names() == ["good"]


async def test_trace_ids_work_for_create_and_update_too(crm):
    """any of them **207** on partial success"""
    rows = [
        {"objectWriteTraceId": "a", "properties": {"booking_id": "a"}},
        {"objectWriteTraceId": "b", "properties": {"nope": "b"}},
    ]
    made = await crm.batch("create", rows)
    assert (made.status, made.body["errors"][0]["context"]["objectWriteTraceId"]) == (207, ["b"])
    ref = made.body["results"][0]["id"]
    changes = [
        {"id": ref, "objectWriteTraceId": "a", "properties": {"is_active": "Active"}},
        {"id": "12", "objectWriteTraceId": "b", "properties": {}},
    ]
    changed = await crm.batch("update", changes)
    assert changed.status == 207
    assert changed.body["errors"][0]["category"] == "OBJECT_NOT_FOUND"
    assert changed.body["errors"][0]["context"] == {"ids": ["12"], "objectWriteTraceId": ["b"]}


async def test_a_trace_id_used_twice_refuses_the_request(crm):
    """**`objectWriteTraceId`, unique per input**"""
    rows = [upsert_input("a") | {"objectWriteTraceId": "t"}, upsert_input("b") | {"objectWriteTraceId": "t"}]
    assert (await crm.batch("upsert", rows)).status == 400
    assert await crm.names() == []


@pytest.mark.parametrize("traced", [True, False])
async def test_a_duplicate_id_in_one_batch_refuses_the_request(crm, traced):
    """A duplicate id inside one batch is 400 for the whole request, trace ids or not (L). Dedupe first."""
    rows = [upsert_input(name, traced=traced) for name in ("a", "b", "a")]
    if traced:
        rows[2]["objectWriteTraceId"] = "other"
    answer = await crm.batch("upsert", rows)
    assert answer.status == 400
    assert "Duplicate" in answer.body["message"]
    assert await crm.names() == []


async def test_upsert_creates_then_updates(crm):
    """Results add `new: bool`."""
    first = await crm.upsert("B-1", dominant_hand="left")
    again = await crm.upsert("B-1", attendance="Yes")
    assert [one["new"] for one in (first.body["results"][0], again.body["results"][0])] == [True, False]
    assert first.body["results"][0]["id"] == again.body["results"][0]["id"]
    record = (await crm.state())["objects"][BOOKINGS][0]["properties"]
    assert (record["dominant_hand"], record["attendance"]) == ("left", "Yes")


async def test_upsert_results_are_not_in_the_order_of_inputs(crm):
    """Results … are **not in input order** …: match by unique property or trace id, never by position."""
    names = [f"B-{number:02}" for number in range(50)]
    answer = await crm.upsert(*names)
    found = [one["properties"]["booking_id"] for one in answer.body["results"]]
    assert found != names
    assert sorted(found) == names


async def test_upsert_takes_no_associations(crm):
    """inputs are `{id, idProperty, objectWriteTraceId?, properties}`: **no associations**, so link in a second
    call."""
    contact = await crm.create("contacts", email="a@b.ca")
    label = (await crm.get(f"/crm/v4/associations/{BOOKINGS}/contacts/labels")).body["results"][0]
    types = [{"associationCategory": "USER_DEFINED", "associationTypeId": label["typeId"]}]
    row = upsert_input("B-1") | {"associations": [{"to": {"id": contact}, "types": types}]}
    assert (await crm.batch("upsert", [row])).status == 200
    assert (await crm.state())["objects"][BOOKINGS][0]["associations"] == {}


@pytest.mark.parametrize("name", ["student_id", "nope", "hs_object_id", None])
async def test_upsert_needs_a_unique_property(crm, name):
    """`idProperty` must name a property with `hasUniqueValue`."""
    row = upsert_input("B-1") | {"idProperty": name}
    assert (await crm.batch("upsert", [row])).status == 400
    assert await crm.names() == []


async def test_e_mails_come_back_in_lower_case(crm):
    """e-mails come back lower-cased"""
    row = {"id": "Ann@Example.COM", "idProperty": "email", "properties": {"firstname": "Ann"}}
    answer = await crm.batch("upsert", [row], "contacts")
    assert answer.body["results"][0]["properties"]["email"] == "ann@example.com"
    twice = [row, row | {"id": "ann@example.com"}]
    assert (await crm.batch("upsert", twice, "contacts")).status == 400
    found = await crm.batch("read", [{"id": "ANN@example.com"}], "contacts", idProperty="email")
    assert len(found.body["results"]) == 1


async def test_a_plain_create_sent_twice_makes_a_duplicate(crm):
    """There is **no idempotency key**. Resending a plain create after a lost reply makes a duplicate."""
    row = {"properties": {"mock_exam_name": "Clinical Skills", "capacity": 20}}
    for _ in range(2):
        assert (await crm.batch("create", [row], EXAMS)).status == 201
    assert len((await crm.state())["objects"][EXAMS]) == 2


async def test_an_upsert_sent_twice_makes_one_record(crm):
    """Upsert by a unique property is the safe resend."""
    for _ in range(2):
        await crm.upsert("B-1", "B-2")
    assert await crm.names() == ["B-1", "B-2"]


async def test_an_unknown_outcome_is_read_back_by_the_unique_property(crm):
    """To resolve an unknown outcome use `batch/read` with `idProperty`; **never search** (it lags)."""
    await crm.upsert("B-1")
    answer = await crm.batch(
        "read", [{"id": "B-1"}, {"id": "B-2"}], idProperty="booking_id", properties=["booking_id"]
    )
    assert answer.status == 207
    assert [one["properties"]["booking_id"] for one in answer.body["results"]] == ["B-1"]
    assert answer.body["errors"][0]["context"]["ids"] == ["B-2"]
    by_search = await crm.post(f"/crm/v3/objects/{BOOKINGS}/search", {})
    assert by_search.body["total"] == 0
    plain = await crm.batch("read", [{"id": "B-1"}], idProperty="student_id")
    assert plain.status == 400


async def test_a_unique_conflict_names_both_records(crm):
    """Unique conflict on create/update: 400 "Cannot set PropertyValueCoordinates{…} on A. B already has that
    value": B holds the value."""
    holder, other = await crm.create(booking_id="B-1"), await crm.create(booking_id="B-2")
    change = {"properties": {"booking_id": "B-1"}}
    updated = await crm.call("PATCH", f"/crm/v3/objects/{BOOKINGS}/{other}", change)
    assert updated.status == 400
    assert updated.body["message"].startswith("Cannot set PropertyValueCoordinates{")
    assert updated.body["message"].endswith(f" on {other}. {holder} already has that value.")
    created = await crm.post(f"/crm/v3/objects/{BOOKINGS}", change)
    assert created.status == 400
    assert f"{holder} already has that value." in created.body["message"]
    twins = [{"properties": {"booking_id": "new"}}, {"properties": {"booking_id": "new"}}]
    assert (await crm.batch("create", twins)).status == 400
    assert await crm.names() == ["B-1", "B-2"]


async def test_a_known_e_mail_on_single_create_is_409(crm):
    """Contact e-mail on single create: 409 with the existing id in the text."""
    known = await crm.create("contacts", email="ann@example.com")
    answer = await crm.post("/crm/v3/objects/contacts", {"properties": {"email": "ANN@example.com"}})
    assert answer.status == 409
    assert answer.body["category"] == "CONFLICT"
    assert known in answer.body["message"]


async def test_an_archived_record_is_gone_for_writes(crm):
    """`batch/read`, update and archive see live records only; archiving again is no error."""
    ref = {"id": await crm.create(booking_id="B-1")}
    one = f"/crm/v3/objects/{BOOKINGS}/{ref['id']}"
    for _ in range(2):
        assert (await crm.call("DELETE", one)).status == 204
    assert (await crm.call("PATCH", one, {"properties": {}})).status == 404
    assert (await crm.batch("read", [ref])).status == 207
    assert (await crm.get(f"{one}?archived=true")).body["archivedAt"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"inputs": 1}', b'{"inputs":[{"id":"\\ud800"}]}', b"\xff"])
async def test_a_body_that_is_not_the_expected_json_is_400(crm, body):
    """400 (validation); every error field is optional, the message says what was wrong."""
    path = f"{crm.url}/crm/v3/objects/{BOOKINGS}/batch/upsert"
    async with crm.session.post(path, data=body, headers={"Authorization": "Bearer pat-demo"}) as answer:
        assert answer.status == 400
        assert (await answer.json())["message"].startswith("Invalid input JSON")


async def test_a_merge_leaves_one_record_under_both_ids(crm):
    """Merges: the primary's values win, the other id leads to it, links move."""
    contact = await crm.create("contacts", email="a@b.ca")
    first = await crm.create(booking_id="B-1", attendance="Yes")
    second = await crm.create(booking_id="B-2", attendance="No", dominant_hand="left")
    pair = f"/crm/v4/objects/{BOOKINGS}/{second}/associations"
    assert (await crm.call("PUT", f"{pair}/default/contacts/{contact}")).status == 200
    ids = {"primaryObjectId": first, "objectIdToMerge": second}
    assert (await crm.post(f"/crm/v3/objects/{BOOKINGS}/merge", ids)).status == 200
    found = await crm.get(f"/crm/v3/objects/{BOOKINGS}/{second}?properties=attendance,dominant_hand,booking_id")
    assert found.body["id"] == first
    values = found.body["properties"]
    assert (values["attendance"], values["dominant_hand"], values["booking_id"]) == ("Yes", "left", "B-1")
    assert await crm.names() == ["B-1"]
    linked = await crm.get(f"/crm/v4/objects/{BOOKINGS}/{first}/associations/contacts")
    assert linked.body["results"][0]["toObjectId"] == contact
    assert (await crm.post(f"/crm/v3/objects/{BOOKINGS}/merge", ids)).status == 400
