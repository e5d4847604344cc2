"""Where HubSpot's behaviour is unconfirmed, our side of it is right under every value of every switch."""

import asyncio
from itertools import product
from typing import Literal, get_args, get_origin

import msgspec
import pytest
from msgspec.structs import replace

from hubspot_emulator.settings import Switches
from lastseat.stores.hubspot import HubSpotClient
from lastseat.stores.rate_budget import SharedSlot
from lastseat.writes.delivery import Delivery
from tests.hubspot_client.doubles import BOOKINGS, FakeBudget, FakeSlot, booking, running_portal, settings_for
from tests.hubspot_client.office import first, taken
from tests.hubspot_client.test_under_faults import settled

GONE, POISON = "LS-0005", "LS-0037"


def values(field):
    """What a switch may say; of a duration, none and a long one."""
    if get_origin(field.type) is Literal:
        return get_args(field.type)
    return (True, False) if field.type is bool else (0, 30_000)


ONE_BY_ONE = [{field.name: value} for field in msgspec.structs.fields(Switches) for value in values(field)]
# These decide together what a refused batch has written.
TOGETHER = [
    {"heed_trace_ids": heed, "conflict_rolls_back": rolls_back, "archived_holds_unique": holds}
    for heed, rolls_back, holds in product((True, False), repeat=3)
]


def always() -> bool:
    return True


async def brought(delivery, rows):
    """What the relay does, without a ledger: again and again, each time with a row of its own time; the outcomes."""
    ended, left = {}, list(rows)
    for number in range(900, 910):
        batch = [*left, booking(number)]
        again = []
        for row, result in zip(batch, await delivery.create(FakeSlot(), batch, always), strict=True):
            if result.outcome in ("written", "refused"):
                ended[row.key] = result.outcome
            elif row in left:
                again.append(replace(row, attempts=row.attempts + 1, taken_over=result.uncertain))
        left = again
        if not left:
            return ended
    raise AssertionError(f"{len(left)} rows came to no end")


@pytest.mark.parametrize("fault", ["", "drop=1x", "502-before=1x"])
@pytest.mark.parametrize("switches", [*ONE_BY_ONE, *TOGETHER], ids=str)
async def test_good_rows_are_written_once_and_bad_ones_refused(portal, client, switches, fault):
    portal.switch(**switches)
    delivery = Delivery(client, FakeBudget(), settings_for(portal.url))
    [made] = await delivery.create(FakeSlot(), [booking(5)], always)
    await portal.archive(BOOKINGS, made.record.hubspot_id)
    rows = [booking(number) for number in range(100)]
    rows[37] = booking(37, properties={"exam_date": "soon"})
    portal.faults(fault)
    ended = await brought(delivery, rows)
    refused = {POISON, GONE} if switches.get("archived_holds_unique") else {POISON}
    assert {key for key, outcome in ended.items() if outcome == "refused"} == refused
    assert set(portal.bookings()) == set(ended) - refused
    assert {row.key for row in rows} <= set(ended)


async def test_where_trace_ids_are_ignored_a_bad_row_is_sifted_out_in_few_calls(portal, client):
    portal.switch(heed_trace_ids=False)
    delivery = Delivery(client, FakeBudget(), settings_for(portal.url))
    rows = [booking(number) for number in range(100)]
    rows[37] = booking(37, properties={"exam_date": "soon"})
    results = await delivery.create(FakeSlot(), rows, always)
    assert [result.key for result in results if result.outcome != "written"] == [POISON]
    assert "INVALID_DATE" in (results[37].reason or "")
    assert 3 < len(portal.calls) <= 3 + 2 * 7


RETRY_AFTER = [one["retry_after"] for one in ONE_BY_ONE if "retry_after" in one]
WINDOW_S = 1.0


def world(office, portal):
    """Budget, client and delivery of one process."""
    given = {
        "hubspot_rate_window_s": WINDOW_S,
        "hubspot_daily_pause_s": 0.2,
        "hubspot_timeout_s": 5.0,
        "store_timeout_s": 1.0,
    }
    budget = office.budget(10, **given)
    settings = settings_for(portal.url, hubspot_rate_limit=10, **given)
    client = HubSpotClient(settings)
    return budget, client, Delivery(client, budget, settings)


def filled_by_another(portal):
    """Another process uses the same token and takes all that is left of the window after a call of ours."""
    emulator = portal.emulator
    for _ in range(9):
        emulator.budget.count("app-1", emulator.clock.now(), search=False)


@pytest.mark.parametrize("counts", [True, False])
@pytest.mark.parametrize("retry_after", RETRY_AFTER)
async def test_a_full_window_costs_one_429_and_the_rows_follow_when_it_opens(office, retry_after, counts):
    limits = {"calls": 10, "window_ms": int(WINDOW_S * 1000)}
    async with running_portal(f"retry_after={retry_after},refused_calls_count={counts}", **limits) as portal:
        budget, client, delivery = world(office, portal)
        await client.learn(await first(budget), "link_contact")
        [slot] = await taken(budget, most=1)
        await asyncio.sleep(WINDOW_S / 3)  # so our first call leaves the window before the others' calls do
        filled_by_another(portal)
        rows = [booking(1), booking(2)]
        assert [one.outcome for one in await delivery.create(slot, rows, always)] == ["not_sent"] * 2
        assert not isinstance(await budget.reserve("create"), SharedSlot)
        await settled(delivery, budget, rows)
        await client.close()
        assert len(portal.bookings()) == 2
        assert len(portal.refused_by_limit) == 1


@pytest.mark.parametrize("retry_after", RETRY_AFTER)
async def test_a_day_used_up_by_others_pauses_for_our_time_and_not_until_midnight(office, retry_after):
    async with running_portal(f"retry_after={retry_after}", calls=10, daily=100) as portal:
        budget, client, delivery = world(office, portal)
        await client.learn(await first(budget), "link_contact")
        [slot] = await taken(budget, most=1)
        portal.emulator.budget.day_count = 100
        rows = [booking(1)]
        assert [one.outcome for one in await delivery.create(slot, rows, always)] == ["not_sent"]
        told = await budget.status()
        assert "DAILY" in str(told["detail"])
        assert 0 < told["paused_s"] <= 0.2
        portal.emulator.budget.day_count = 0
        await settled(delivery, budget, rows)
        await client.close()
        assert [call.policy for call in portal.refused_by_limit] == ["DAILY"]


@pytest.mark.parametrize("retry_after", RETRY_AFTER)
async def test_a_search_too_many_pauses_searches_and_no_booking(office, retry_after):
    async with running_portal(f"retry_after={retry_after}", calls=10, search_per_s=0) as portal:
        budget, client, delivery = world(office, portal)
        await client.learn(await first(budget), "link_contact")
        [slot] = await taken(budget, "search", most=1)
        await client._call(slot, "POST", f"/crm/v3/objects/{BOOKINGS}/search", {})
        assert [call.policy for call in portal.refused_by_limit] == ["SECONDLY"]
        assert not isinstance(await budget.reserve("search"), SharedSlot)
        await settled(delivery, budget, [booking(1)])
        await client.close()
        assert len(portal.bookings()) == 1
