"""Budgets of several processes on one Valkey, and ways to take their slots."""

import asyncio

from lastseat.stores.rate_budget import SharedBudget, SharedSlot
from lastseat.stores.redis import RedisTrips
from tests.hubspot_client.doubles import settings_for
from tests.hubspot_client.meter import Meter

WINDOW_S = 0.3


class Office:
    """Budgets of several processes on one Valkey."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.trips: list[RedisTrips] = []

    def budget(self, limit: int = 10, **more) -> SharedBudget:
        given = {"hubspot_rate_limit": limit, "hubspot_rate_window_s": WINDOW_S, "hubspot_timeout_s": 0.2, **more}
        self.trips.append(RedisTrips(self.url, timeout_s=1.0))
        return SharedBudget(self.trips[-1], settings_for(**given))

    async def redis(self, *command):
        return await self.trips[0].execute(*command)

    async def close(self) -> None:
        for trips in self.trips:
            await trips.close()


def in_s(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


async def taken(budget, kind: str = "create", most: int = 100) -> list[SharedSlot]:
    """Every slot that can be had now."""
    slots: list[SharedSlot] = []
    while len(slots) < most and isinstance(slot := await budget.reserve(kind), SharedSlot):
        slots.append(slot)
    return slots


async def first(budget) -> SharedSlot:
    """The first slot, after the moment in which others may tell of their calls."""
    for _ in range(20):
        slot = await budget.reserve("create")
        if isinstance(slot, SharedSlot):
            return slot
        await asyncio.sleep(slot)
    raise AssertionError("no slot came free")


async def known(budget, meter: Meter) -> None:
    """One call, whose headers tell how full the window is."""
    slot = await first(budget)
    status, headers = meter.arrive()
    await slot.close(headers, status)
