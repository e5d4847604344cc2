"""Every question mark of hubspot.md is a switch, tested both ways; never one way only."""

import pytest

from hubspot_emulator.settings import Switches
from tests.emulator.crm import BOOKINGS, running, upsert_input

LIST = f"/crm/v3/objects/{BOOKINGS}"


@pytest.mark.parametrize("echo", [True, False])
async def test_results_may_or_may_not_echo_the_trace_id(crm, echo):
    """Whether results echo the trace id: **?**."""
    await crm.switch(echo_trace_ids=echo)
    result = (await crm.upsert("B-1")).body["results"][0]
    assert result.get("objectWriteTraceId") == ("t-B-1" if echo else None)


@pytest.mark.parametrize("rolls_back", [True, False])
async def test_a_unique_conflict_may_or_may_not_roll_back_its_neighbours(crm, rolls_back):
    """Whether such a 400 rolls back its neighbours: **?**. Client rule: after any failed batch, each row's outcome is
    unknown until read back."""
    await crm.switch(conflict_rolls_back=rolls_back)
    await crm.upsert("held")
    rows = [{"properties": {"booking_id": name}} for name in ("new-1", "held", "new-2")]
    assert (await crm.batch("create", rows)).status == 400
    assert await crm.names() == (["held"] if rolls_back else ["held", "new-1", "new-2"])
    assert (await crm.log())[-1]["committed"] is not rolls_back


@pytest.mark.parametrize(("unset", "there"), [("null", True), ("absent", False)])
async def test_unset_reads_back_as_null_or_is_absent(crm, unset, there):
    """unset reads back as null or is absent (**?**: treat absent = null = "")"""
    await crm.faults(f"unset={unset}")
    record = await crm.create(booking_id="B-1")
    values = (await crm.get(f"{LIST}/{record}?properties=attendance")).body["properties"]
    assert ("attendance" in values) is there
    assert values.get("attendance") is None


@pytest.mark.parametrize(("mode", "fewest", "most"), [("never", 0, 0), ("sometimes", 1, 19), ("always", 20, 20)])
async def test_retry_after_on_429_is_not_always_there(mode, fewest, most):
    """`Retry-After` on 429 is not documented and not always there."""
    async with running(calls=0, switches={"retry_after": mode}) as crm:
        answers = [await crm.get(LIST) for _ in range(20)]
        assert fewest <= sum("Retry-After" in one.headers for one in answers) <= most


async def test_retry_after_tells_when_a_place_is_free():
    """`Retry-After` on 429 is not documented and not always there."""
    async with running(calls=1, switches={"retry_after": "always"}) as crm:
        await crm.get(LIST)
        await crm.clock.advance(3.5)
        assert (await crm.get(LIST)).headers["Retry-After"] == "7"


async def test_retry_after_of_the_daily_limit_tells_when_the_day_ends():
    """`Retry-After` on 429 is not documented and not always there."""
    async with running(daily=0, switches={"retry_after": "always"}) as crm:
        answer = await crm.get(LIST)
        assert answer.body["policyName"] == "DAILY"
        assert int(answer.headers["Retry-After"]) == 86_400 - crm.clock.at % 86_400
        await crm.clock.advance(0.5)
        assert int((await crm.get(LIST)).headers["Retry-After"]) == 86_400 - int(crm.clock.at) % 86_400


async def test_retry_after_of_the_search_limit_is_its_second():
    """`Retry-After` on 429 is not documented and not always there; the search limit counts seconds."""
    async with running(search_per_s=0, switches={"retry_after": "always"}) as crm:
        answer = await crm.post(f"{LIST}/search", {})
        assert (answer.body["policyName"], answer.headers["Retry-After"]) == ("SECONDLY", "1")


@pytest.mark.parametrize("heed", [True, False])
async def test_trace_ids_may_or_may_not_part_a_bad_row_from_its_neighbours(crm, heed):
    """`objectWriteTraceId` … turns one bad row from "400, nothing written" into "207, good rows written" (L for
    upsert)."""
    await crm.switch(heed_trace_ids=heed)
    rows = [upsert_input("a"), upsert_input("bad", exam_date="soon"), upsert_input("b")]
    assert (await crm.batch("upsert", rows)).status == (207 if heed else 400)
    assert await crm.names() == (["a", "b"] if heed else [])


@pytest.mark.parametrize("count", [True, False])
async def test_refused_calls_may_or_may_not_count(count):
    """a hard rolling limit counted at arrival: whether a refused call counts is not documented"""
    async with running(calls=1, switches={"refused_calls_count": count}) as crm:
        await crm.get(LIST)
        await crm.clock.advance(6)
        assert (await crm.get(LIST)).status == 429
        await crm.clock.advance(4)
        assert (await crm.get(LIST)).status == (429 if count else 200)


@pytest.mark.parametrize("holds", [True, False])
async def test_an_archived_record_may_or_may_not_hold_its_unique_value(crm, holds):
    """issue: archived records and unique values"""
    await crm.switch(archived_holds_unique=holds)
    record = await crm.create(booking_id="B-1")
    await crm.call("DELETE", f"{LIST}/{record}")
    answer = await crm.upsert("B-1")
    assert answer.status == (207 if holds else 200)
    assert await crm.names() == ([] if holds else ["B-1"])


@pytest.mark.parametrize(("order", "expected"), [("input", "abc"), ("reversed", "cba")])
async def test_upsert_results_come_in_any_order(crm, order, expected):
    """Results … are **not in input order**"""
    await crm.switch(upsert_order=order)
    results = (await crm.upsert("a", "b", "c")).body["results"]
    assert "".join(one["properties"]["booking_id"] for one in results) == expected


@pytest.mark.parametrize("counts", [True, False])
async def test_search_may_or_may_not_count_in_the_rolling_window(counts):
    """**Search: 5 per second per account** …, no rate-limit headers on its answers"""
    async with running(calls=1, switches={"search_counts_in_window": counts}) as crm:
        assert (await crm.post(f"{LIST}/search", {})).status == 200
        assert (await crm.get(LIST)).status == (429 if counts else 200)


def test_every_switch_is_tested_both_ways():
    """**?** unconfirmed or contradictory: make those a switch in the emulator and be right under both."""
    tested = {
        "heed_trace_ids",
        "echo_trace_ids",
        "conflict_rolls_back",
        "unset",
        "retry_after",
        "refused_calls_count",
        "archived_holds_unique",
        "upsert_order",
        "search_counts_in_window",
        "search_lag_ms",  # test_search.py
    }
    assert set(Switches.__struct_fields__) == tested


async def test_a_wrong_switch_is_named(crm):
    """A switch that does not exist, or a value it cannot have, changes nothing."""
    for wrong in ({"echo": True}, {"unset": "none"}, {"search_lag_ms": -1}):
        assert (await crm.post("/_emulator/switches", wrong)).status == 400
    assert (await crm.batch("upsert", [upsert_input("a")])).status == 200
