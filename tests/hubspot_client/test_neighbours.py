"""The budget among neighbours on the account, while Redis loses its window again and again: no 429 is ours."""

import asyncio

import pytest

from lastseat.stores.hubspot import HubSpotClient
from lastseat.stores.keys import budget_window
from lastseat.stores.rate_budget import SharedBudget, SharedSlot
from tests.hubspot_client.doubles import booking, outcomes, running_portal, settings_for

CALLS, LIMIT, SPAN_S = 60, 14, 0.5
# Two other apps have windows of their own; two processes with our token use ours, at times twice as fast.
APPS = {"other_calls_per_s": 40.0, "other_search_per_s": 4.0}
TOKEN = {"same_token_calls_per_s": 6.0}


class Rush:
    """Many small batches through one client; an accident of Redis befalls every few of them."""

    def __init__(self, office, url: str, headroom: int) -> None:
        given = settings_for(
            url,
            hubspot_rate_limit=LIMIT,
            hubspot_rate_window_s=SPAN_S,
            hubspot_headroom=headroom,
            hubspot_timeout_s=5.0,
        )
        office.budget()
        self.office = office
        self.client = HubSpotClient(given)
        self.budget = SharedBudget(office.trips[0], given)
        self.todo = list(range(CALLS))
        self.older: bytes | None = None

    async def run(self) -> None:
        await asyncio.gather(*(self._work() for _ in range(LIMIT)))
        await self.client.close()

    async def _work(self) -> None:
        while self.todo:
            slot = await self.budget.reserve("create")
            if not isinstance(slot, SharedSlot):
                await asyncio.sleep(min(slot, 0.01))
                continue
            if not self.todo:
                return await slot.give_back()
            number = self.todo.pop()
            if number % 10 == 0:
                await self._accident(number)
            results = await self.client.upsert_bookings(slot, [booking(number)])
            if outcomes(results) != ["written"]:
                self.todo.append(number)
        return None

    async def _accident(self, number: int) -> None:
        """Redis is emptied, or comes back with a window of long ago."""
        if number % 20 == 0 and self.older is not None:
            await self.office.redis("SET", budget_window(), self.older)
            return
        self.older = await self.office.redis("GET", budget_window())
        await self.office.redis("FLUSHALL")


@pytest.mark.parametrize(
    ("neighbours", "headroom", "clean"),
    [(APPS, 0, True), (TOKEN, 6, True), ({"same_token_calls_per_s": 24.0}, 0, False)],
    ids=["other apps", "same token with headroom", "same token without headroom"],
)
async def test_neighbours_and_accidents_of_redis_together_cause_no_429_of_ours(office, neighbours, headroom, clean):
    """The last case is the control: without headroom, a call of theirs takes the place that was free a moment ago."""
    async with running_portal(
        calls=LIMIT, window_ms=int(SPAN_S * 1000), latency_ms=40, jitter_ms=8, search_per_s=5, **neighbours
    ) as portal:
        await Rush(office, portal.url, headroom).run()
        assert len(portal.bookings()) == CALLS
        assert (portal.refused_by_limit == []) is clean
