"""The control endpoints: what tests, tools and people ask of a running emulator."""

import asyncio

import msgspec
import pytest

from hubspot_emulator.page import PAGE
from tests.emulator.crm import BOOKINGS, CONTACTS, running, settle

LIST = f"/crm/v3/objects/{BOOKINGS}"


async def test_the_request_log_has_one_line_per_call_in_the_order_of_arrival(crm):
    await crm.faults("stall@create=1x:5")
    slow = asyncio.create_task(crm.create(booking_id="slow"))
    await crm.clock.until_asleep()
    await crm.upsert("B-1")
    await crm.clock.advance(5)
    await slow
    log = await crm.log()
    assert [(one["seq"], one["operation"]) for one in log] == [(1, "create"), (2, "batch_upsert")]
    assert log[0]["keys"] == ["slow"]
    assert log[0]["duration_ms"] == 5_000
    since = await crm.control("requests?since=1")
    assert [one["seq"] for one in since["requests"]] == [2]
    assert since["in_flight"] == 0


async def test_control_calls_are_neither_counted_nor_logged():
    async with running(calls=1) as crm:
        for _ in range(5):
            await crm.control("health")
        assert (await crm.get(LIST)).status == 200
        assert len(await crm.log()) == 1


async def test_the_state_holds_everything(crm):
    booking, contact = await crm.create(booking_id="B-1"), await crm.create("contacts", email="a@b.ca")
    gone = await crm.create(booking_id="B-2")
    await crm.call("PUT", f"/crm/v4/objects/{BOOKINGS}/{booking}/associations/default/0-1/{contact}")
    await crm.call("DELETE", f"{LIST}/{gone}")
    state = await crm.state()
    assert state["names"][BOOKINGS] == "bookings"
    first, second = state["objects"][BOOKINGS]
    assert (first["id"], first["archived"], second["archived"]) == (booking, False, True)
    assert first["associations"][CONTACTS][0]["id"] == contact
    assert state["objects"][CONTACTS][0]["properties"]["email"] == "a@b.ca"


async def test_reset_forgets_records_log_and_window():
    async with running(calls=3) as crm:
        await crm.create("contacts", email="a@b.ca")
        await crm.upsert("B-1")
        await crm.get(LIST)
        await crm.control("reset", {"keep": ["contacts"]})
        assert await crm.log() == []
        objects = (await crm.state())["objects"]
        assert [len(objects[kind]) for kind in (CONTACTS, BOOKINGS)] == [1, 0]
        assert [(await crm.get(LIST)).status for _ in range(3)] == [200] * 3
        await crm.control("reset", {})
        assert (await crm.state())["objects"][CONTACTS] == []


async def test_a_call_under_way_does_not_outlive_a_reset(crm):
    await crm.faults("stall=1x:5,late=1x:5")
    calls = [asyncio.create_task(crm.upsert(f"B-{n}")) for n in range(2)]
    await crm.clock.until_asleep(2)
    await crm.control("reset", {})
    await crm.clock.advance(5)
    await settle()
    assert [one.status for one in await asyncio.gather(*calls)] == [0, 0]
    assert await crm.names() == []
    assert await crm.log() == []


async def test_a_seed_answers_its_ids_in_order(crm):
    seed = {
        "objects": {
            "contacts": [{"properties": {"email": f"s{n}@example.com"}} for n in range(3)],
            "mock_exams": [{"properties": {"mock_exam_name": "E", "capacity": 20}}],
            BOOKINGS: [{"properties": {"booking_id": "B-1"}, "id": 77}, {"properties": {}, "archived": True}],
        },
        "associations": [
            {"from": {"type": BOOKINGS, "index": 0}, "to": {"type": "contacts", "index": 2}},
            {"from": {"type": BOOKINGS, "id": "77"}, "to": {"type": "mock_exams", "index": 0}},
        ],
    }
    ids = (await crm.control("seed", seed))["ids"]
    state = (await crm.state())["objects"]
    assert [one["properties"]["email"] for one in state[CONTACTS]] == [f"s{n}@example.com" for n in range(3)]
    assert ids["contacts"] == [one["id"] for one in state[CONTACTS]]
    assert ids[BOOKINGS][0] == "77"
    assert state[BOOKINGS][0]["associations"][CONTACTS][0]["id"] == ids["contacts"][2]
    assert state[BOOKINGS][1]["archived"] is True
    assert await crm.log() == []


@pytest.mark.parametrize(
    "seed",
    [
        {"objects": {"nope": []}},
        {"objects": {"contacts": [{"properties": {"nope": "x"}}]}},
        {"objects": {"contacts": [{"id": "abc"}]}},
        {"objects": {}, "associations": [{"from": {"type": "contacts", "index": 0}, "to": {"type": "contacts"}}]},
        {"objects": 1},
    ],
)
async def test_a_wrong_seed_says_what_is_wrong(crm, seed):
    answer = await crm.post("/_emulator/seed", seed)
    assert answer.status == 400
    assert answer.body["error"]


async def test_limits_change_while_running(crm):
    await crm.limits(limit=1, latency_ms=0)
    assert (await crm.get(LIST)).status == 200
    assert (await crm.get(LIST)).status == 429
    for wrong in ({"limmit": 1}, {"calls": "many"}, {"calls": -1}):
        assert (await crm.post("/_emulator/limits", wrong)).status == 400


async def test_a_snapshot_is_a_portal_to_start_from(crm, tmp_path):
    booking, contact = await crm.create(booking_id="B-1"), await crm.create("contacts", email="a@b.ca")
    await crm.call("PUT", f"/crm/v4/objects/{BOOKINGS}/{booking}/associations/default/0-1/{contact}")
    await crm.control("snapshot", {"file": str(tmp_path / "snapshot.jsonl")})
    events = msgspec.json.decode((tmp_path / "snapshot.jsonl").read_bytes())["ev"]
    async with running() as other:
        other.emulator.start_over(events)
        assert await other.state() == await crm.state()
        assert (await other.upsert("B-1")).body["results"][0]["id"] == booking
        assert int(await other.create()) > int(contact)
    assert (await crm.post("/_emulator/snapshot", {"file": "relative"})).status == 400


@pytest.mark.parametrize("header", [{"Origin": "https://evil.example"}, {"Host": "evil.example"}])
async def test_only_this_machine_may_control(crm, header):
    answer = await crm.post("/_emulator/reset", {}, headers=header)
    assert answer.status == 403


async def test_the_page_shows_records_calls_and_budget(crm):
    await crm.upsert("B-1")
    page = await crm.get("/")  # a browser is led to it
    assert (await crm.get("/favicon.ico")).status == 204
    assert (page.status, page.body) == (200, PAGE)
    seen = await crm.control("overview")
    assert {one["name"]: one["live"] for one in seen["records"]} == {"contacts": 0, "bookings": 1, "mock_exams": 0}
    assert sum(seen["calls_per_s"]) == 1
    assert seen["budget"]["app-1"]["remaining"] == 189
    assert seen["statuses"] == {"200": 1}


async def test_an_unknown_control_endpoint_names_the_known_ones(crm):
    answer = await crm.get("/_emulator/nope")
    assert answer.status == 404
    assert "GET /_emulator/state" in answer.body["error"]
