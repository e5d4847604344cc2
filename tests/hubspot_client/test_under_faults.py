"""Client, budget and delivery together, on an emulator that misbehaves: every booking once, and no 429 of ours."""

import asyncio

import pytest
from msgspec.structs import replace

from hubspot_emulator.faults import OUTCOMES
from lastseat.stores.hubspot import HubSpotClient
from lastseat.stores.rate_budget import SharedBudget, SharedSlot
from lastseat.writes.delivery import Delivery
from tests.hubspot_client.doubles import booking, running_portal, settings_for

FAULTS = [
    "drop=0.3,502=0.2,late=0.1:0.1,shuffle,terse,html",
    "drop-before=0.2,504=0.2,empty=0.1,short=0.2,shuffle",
    "429=0.2,stall=0.2:0.2,empty-before=0.1,echo_trace_ids=true",
    "500-before=0.2,slow=0.2:0.05,drop=0.2,refused_calls_count=true,upsert_order=reversed",
]


async def settled(delivery: Delivery, budget: SharedBudget, rows) -> None:
    """What the relay does, without a ledger: deliver until every row is written."""
    waiting = list(rows)
    for _ in range(400):
        if not waiting:
            return
        slot = await budget.reserve("create")
        if not isinstance(slot, SharedSlot):
            await asyncio.sleep(min(slot, 0.05))
            continue
        batch, waiting = waiting[:100], waiting[100:]
        for row, result in zip(batch, await delivery.create(slot, batch, lambda: True), strict=True):
            assert result.outcome != "refused", result
            if result.outcome != "written":
                waiting.append(replace(row, attempts=row.attempts + 1, taken_over=result.uncertain))
    raise AssertionError(f"{len(waiting)} rows are not written")


@pytest.mark.parametrize("faults", FAULTS)
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_every_booking_ends_in_hubspot_once_and_no_429_is_ours(office, faults, seed):
    limit, window_s = 10, 0.3
    office.budget()
    async with running_portal(
        faults, seed, calls=limit, window_ms=int(window_s * 1000), latency_ms=10, jitter_ms=10
    ) as portal:
        given = settings_for(
            portal.url,
            hubspot_rate_limit=limit,
            hubspot_rate_window_s=window_s,
            hubspot_timeout_s=0.15,
            hubspot_extra_wait_s=0.2,
        )
        budget = SharedBudget(office.trips[0], given)
        client = HubSpotClient(given)
        delivery = Delivery(client, budget, given)
        rows = [booking(number) for number in range(250)]
        await asyncio.gather(*(settled(delivery, budget, rows[part::3]) for part in range(3)))
        await asyncio.sleep(0.2)
        await client.close()
        assert len(portal.bookings()) == 250
        ours = [call for call in portal.refused_by_limit if not call.fault]
        assert ours == []


BRIEFLY = {"late": "0.1", "stall": "0.3", "477": "0"}
PAUSES = {"hubspot_daily_pause_s": 0.1, "hubspot_busy_pause_s": 0.1, "hubspot_move_pause_s": 0.1}


@pytest.mark.parametrize("name", sorted(set(OUTCOMES) - {"partial"}))
async def test_one_accident_of_each_kind_on_a_write_or_its_read_back_costs_no_booking_and_doubles_none(office, name):
    """`partial` is no accident but a refusal of a good row: tests/hubspot_client/test_client.py has it."""
    arg = f":{BRIEFLY[name]}" if name in BRIEFLY else ""
    async with running_portal(f"{name}@batch_upsert=1x{arg},{name}@batch_read=1x{arg}") as portal:
        given = {"hubspot_timeout_s": 0.2, "hubspot_rate_limit": 190, "hubspot_rate_window_s": 10.0, **PAUSES}
        budget = office.budget(190, **given)
        settings = settings_for(portal.url, **given)
        client = HubSpotClient(settings)
        await settled(Delivery(client, budget, settings), budget, [booking(number) for number in range(5)])
        for _ in range(100):
            if not portal.emulator.landing and not portal.emulator.in_flight:
                break
            await asyncio.sleep(0.02)
        await client.close()
        assert len(portal.bookings()) == 5
        assert next(call.fault for call in portal.calls if call.operation == "batch_upsert") == name
