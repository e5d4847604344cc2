"""One call, one outcome per row: what the client makes of every kind of answer."""

import asyncio
import re
import socket

import msgspec
import pytest

from hubspot_emulator.faults import NAMES, WEBHOOKS
from lastseat.errors import Refused, SetupError, Unavailable
from lastseat.model import BookingId
from lastseat.stores.hubspot import HubSpotClient, LinkType
from lastseat.stores.hubspot_paths import Paths
from tests.hubspot_client.doubles import (
    BOOKINGS,
    CONTACTS,
    EXAMS,
    FakeSlot,
    booking,
    cancel,
    count,
    link,
    outcomes,
    running_portal,
    settings_for,
)


@pytest.mark.parametrize("version", ["v3", "v4", "2026-09"])
async def test_every_method_works_in_both_families_of_paths(portal, version):
    client = HubSpotClient(settings_for(portal.url, hubspot_api_version=version))
    contact_id = await portal.make(CONTACTS, email="a@example.org")
    exam_id = await portal.make(EXAMS, mock_exam_name="May", capacity="3")
    made = await client.upsert_bookings(FakeSlot(), [booking(1), booking(2)])
    ids = [result.record.hubspot_id for result in made]
    await client.learn(FakeSlot(), "link_contact")
    linked = await client.link(FakeSlot(), "link_contact", [link(1, ids[0], contact_id)])
    counted = await client.update_exams(FakeSlot(), [count(3, exam_id, 2)])
    cancelled = await client.update_bookings(FakeSlot(), [cancel(1, ids[0])])
    found = await client.read_bookings(FakeSlot(), [BookingId("LS-0001"), BookingId("LS-0009")])
    await client.close()
    assert outcomes([*made, *linked, *counted, *cancelled]) == ["written"] * 5
    assert [(record.hubspot_id, record.properties["is_active"]) for record in found] == [(ids[0], "Cancelled")]
    assert found[0].updated_at is not None
    assert found[0].updated_at.tzinfo is not None


def test_an_unknown_version_is_named():
    with pytest.raises(SetupError, match="v5"):
        Paths("v5")


def test_no_value_can_leave_its_place_in_a_path():
    assert Paths("v3").of("one", type="0-1", id="../../admin") == "/crm/v3/objects/0-1/..%2F..%2Fadmin"


@pytest.mark.parametrize("echo", [True, False])
@pytest.mark.parametrize("order", ["shuffled", "reversed", "input"])
async def test_results_in_any_order_reach_their_own_rows(portal, client, order, echo):
    portal.switch(upsert_order=order, echo_trace_ids=echo)
    rows = [booking(number) for number in range(40)]
    results = await client.upsert_bookings(FakeSlot(), rows)
    assert [result.key for result in results] == [row.key for row in rows]
    names = [result.record.properties["student_name"] for result in results]
    assert names == [row.properties["student_name"] for row in rows]


async def test_matching_by_position_would_mix_rows(portal, client):
    """Negative control: the order of the answer is really another one."""
    portal.switch(upsert_order="reversed")
    rows = [booking(number) for number in range(5)]
    results = await client.upsert_bookings(FakeSlot(), rows)
    by_creation = sorted(results, key=lambda result: int(result.record.hubspot_id))
    assert [result.key for result in by_creation] == [row.key for row in rows]
    body = await raw_answer(portal, rows)
    assert [one["properties"]["booking_id"] for one in body["results"]] == [row.key for row in reversed(rows)]


async def raw_answer(portal, rows):
    import aiohttp

    inputs = [{"id": r.key, "idProperty": "booking_id", "properties": {"is_active": "Active"}} for r in rows]
    async with (
        aiohttp.ClientSession(portal.url, headers={"Authorization": "Bearer pat-demo"}) as session,
        session.post(f"/crm/v3/objects/{BOOKINGS}/batch/upsert", json={"inputs": inputs}) as answer,
    ):
        return await answer.json()


UNKNOWN, PORTAL, NOT_SENT, WRITTEN = (["unknown"] * 2, ["portal"] * 2, ["not_sent"] * 2, ["written"] * 2)
FAULTS = {
    "drop": (UNKNOWN, True),
    "drop-before": (UNKNOWN, False),
    "late=1:0.02": (UNKNOWN, True),
    "stall=1:0.3": (UNKNOWN, True),
    "empty": (UNKNOWN, True),
    "empty-before": (UNKNOWN, False),
    **dict.fromkeys(("500", "502", "503", "504", "521", "523", "524"), (UNKNOWN, True)),
    **{f"{status}-before": (UNKNOWN, False) for status in ("500", "502", "503", "504", "521", "523", "524")},
    "401": (PORTAL, False),
    "403": (PORTAL, False),
    "scope-lost": (PORTAL, False),
    "property-gone=1:student_name": (PORTAL, False),
    "423": (NOT_SENT, False),
    "429": (NOT_SENT, False),
    "429-daily": (NOT_SENT, False),
    "429-search": (NOT_SENT, False),
    "477": (NOT_SENT, False),
    "partial": (["refused", "written"], True),
    "short": (["unknown", "written"], True),
    "shuffle": (WRITTEN, True),
    "slow=1:0.05": (WRITTEN, True),
    "terse,504": (UNKNOWN, True),
    "html,502-before": (UNKNOWN, False),
}
"""What two good rows come to, in sorted order, and whether any of them is in HubSpot in the end."""


def test_every_fault_of_a_call_has_a_case():
    assert {re.split("[=:,]", fault)[0] for fault in FAULTS} == set(NAMES) - set(WEBHOOKS)


@pytest.mark.parametrize("fault", FAULTS)
async def test_every_fault_has_its_outcome(portal, fault):
    expected, lands = FAULTS[fault]
    timeout_s = 0.2 if fault.startswith("stall") else 5.0
    client = HubSpotClient(settings_for(portal.url, hubspot_timeout_s=timeout_s))
    portal.faults(fault)
    slot = FakeSlot()
    results = await client.upsert_bookings(slot, [booking(1), booking(2)])
    await client.close()
    assert sorted(outcomes(results)) == expected
    assert slot.ends == ["closed"]
    for _ in range(100):
        if bool(portal.bookings()) is lands:
            break
        await asyncio.sleep(0.01)
    assert bool(portal.bookings()) is lands


async def test_a_result_left_out_is_unknown_and_not_success(portal, client):
    portal.faults("short")
    results = await client.upsert_bookings(FakeSlot(), [booking(number) for number in range(5)])
    assert sorted(outcomes(results)) == ["unknown", *["written"] * 4]
    assert len(portal.bookings()) == 5


async def test_a_bad_row_is_refused_in_hubspots_words_and_its_neighbours_are_written(portal, client):
    rows = [booking(number) for number in range(100)]
    rows[37] = booking(37, properties={"exam_date": "soon"})
    results = await client.upsert_bookings(FakeSlot(), rows)
    assert [result.key for result in results if result.outcome == "refused"] == ["LS-0037"]
    assert "INVALID_DATE" in (results[37].reason or "")
    assert outcomes(results).count("written") == 99
    assert len(portal.bookings()) == 99


async def test_a_refused_connection_was_not_sent_and_costs_no_call():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        client = HubSpotClient(settings_for(f"http://127.0.0.1:{unused.getsockname()[1]}"))
        slot = FakeSlot()
        assert outcomes(await client.upsert_bookings(slot, [booking(1)])) == ["not_sent"]
        await client.close()
    assert slot.ends == ["given back"]


async def test_a_name_that_does_not_resolve_was_not_sent():
    client = HubSpotClient(settings_for("http://hubspot.invalid"))
    assert outcomes(await client.upsert_bookings(FakeSlot(), [booking(1)])) == ["not_sent"]
    await client.close()


async def test_the_policy_of_a_429_reaches_the_budget(portal, client):
    portal.faults("429-daily")
    slot = FakeSlot()
    await client.upsert_bookings(slot, [booking(1)])
    assert slot.status == 429
    assert slot.headers is not None
    assert slot.headers["policy-name"] == "DAILY"
    assert slot.headers["x-hubspot-ratelimit-max"] == "190"


async def test_a_call_is_never_sent_twice_by_the_http_library(portal, client):
    """A kept connection that breaks makes HTTP libraries resend a GET behind our back."""
    await client.learn(FakeSlot(), "link_exam")
    before = len(portal.calls)
    portal.faults("drop")
    with pytest.raises(Unavailable):
        await client.learn(FakeSlot(), "link_contact")
    assert len(portal.calls) == before + 1


async def test_a_cancelled_caller_still_closes_the_slot(portal, client):
    portal.faults("stall=1:0.5")
    slot = FakeSlot()
    calling = asyncio.create_task(client.upsert_bookings(slot, [booking(1)]))
    await asyncio.sleep(0.1)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert slot.ends == ["closed"]


async def test_association_types_are_discovered_and_kept(portal, client):
    assert not client.knows("link_contact")
    found = await client.learn(FakeSlot(), "link_contact")
    assert found.category == "USER_DEFINED"
    assert client.knows("link_contact")
    again = HubSpotClient(settings_for(portal.url), {f"{BOOKINGS}>{CONTACTS}": found})
    assert again.knows("link_contact")
    assert not again.knows("link_exam")


async def test_a_pair_without_association_type_is_a_setup_fault(portal):
    client = HubSpotClient(settings_for(portal.url, hubspot_contact_type=BOOKINGS))
    with pytest.raises(Refused, match="no association type"):
        await client.learn(FakeSlot(), "link_contact")
    await client.close()


async def test_a_link_to_a_contact_that_is_gone_is_refused_alone(portal, client):
    contact_id = await portal.make(CONTACTS, email="a@example.org")
    made = await client.upsert_bookings(FakeSlot(), [booking(1), booking(2)])
    first, second = (result.record.hubspot_id for result in made)
    await client.learn(FakeSlot(), "link_contact")
    results = await client.link(FakeSlot(), "link_contact", [link(1, first, "999"), link(2, second, contact_id)])
    assert outcomes(results) == ["missing", "written"]


async def test_an_association_type_of_another_portal_is_refused_together(portal, client):
    client.link_types[f"{BOOKINGS}>{CONTACTS}"] = LinkType(category="USER_DEFINED", type_id=1)
    results = await client.link(FakeSlot(), "link_contact", [link(1, "1", "2"), link(2, "3", "4")])
    assert outcomes(results) == ["portal", "portal"]
    assert all(result.together for result in results)


async def test_an_update_of_a_record_that_is_gone_says_missing(portal, client):
    made = await client.upsert_bookings(FakeSlot(), [booking(1), booking(2)])
    first, second = (result.record.hubspot_id for result in made)
    await portal.archive(BOOKINGS, first)
    results = await client.update_bookings(FakeSlot(), [cancel(1, first), cancel(2, second)])
    assert outcomes(results) == ["missing", "written"]


@pytest.mark.parametrize("unset", ["null", "absent"])
async def test_a_record_holds_only_what_the_answer_held(portal, client, unset):
    portal.switch(unset=unset)
    await client.upsert_bookings(FakeSlot(), [booking(1)])
    [record] = await client.read_bookings(FakeSlot(), [BookingId("LS-0001")])
    assert record.properties["booking_id"] == "LS-0001"
    assert record.properties.get("attendance") is None
    assert ("attendance" in record.properties) is (unset == "null")


@pytest.mark.parametrize("fault", ["empty", "short", "502", "drop", "429"])
async def test_a_read_back_that_tells_nothing_is_no_absence(portal, client, fault):
    await client.upsert_bookings(FakeSlot(), [booking(1), booking(2)])
    portal.faults(fault)
    with pytest.raises(Unavailable):
        await client.read_bookings(FakeSlot(), [BookingId("LS-0001"), BookingId("LS-0002")])


async def test_a_read_back_without_permission_is_refused(portal, client):
    portal.faults("403")
    with pytest.raises(Refused):
        await client.read_bookings(FakeSlot(), [BookingId("LS-0001")])


async def test_a_read_back_never_searches():
    async with running_portal() as portal:
        client = HubSpotClient(settings_for(portal.url))
        await client.read_bookings(FakeSlot(), [BookingId("LS-0001")])
        await client.close()
        assert [call.operation for call in portal.calls] == ["batch_read"]


async def test_the_token_is_in_no_answer(portal, client):
    portal.faults("401")
    results = await client.upsert_bookings(FakeSlot(), [booking(1)])
    assert "pat-demo" not in msgspec.json.encode(results).decode()
