"""What these tests share: an emulator in this process, rows, slots that remember, and settings in miniature."""

from collections.abc import Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from hubspot_emulator.faults import Faults, split
from hubspot_emulator.pipeline import Emulator
from hubspot_emulator.server import Server
from hubspot_emulator.settings import Limits, Switches, with_changes
from hubspot_emulator.standard import DEFAULT_PORTAL_ID, first_events
from hubspot_emulator.store import Store
from lastseat.model import BookingId, ContactId, ExamId, HubspotId, OutboxRow, RowResult
from lastseat.settings import Settings
from lastseat.stores.hubspot import HubSpotClient
from lastseat.writes.exam_delivery import FullDelivery

BOOKINGS, EXAMS, CONTACTS = "2-50158943", "2-50158913", "0-1"


def settings_for(url: str = "http://127.0.0.1:9", **more: Any) -> Settings:
    given: dict[str, Any] = {
        "hubspot_base_url": url,
        "hubspot_access_token": "pat-demo",
        "hubspot_timeout_s": 1.0,
        "hubspot_connect_timeout_s": 0.3,
        "hubspot_extra_wait_s": 0.5,
        "store_timeout_s": 0.02,
    }
    return Settings(**(given | more))


def booking(number: int, **more: Any) -> OutboxRow:
    key = f"LS-{number:04d}"
    properties = more.pop("properties", {})
    return OutboxRow(
        outbox_id=number,
        kind="create",
        attempts=more.pop("attempts", 1),
        key=key,
        booking_id=BookingId(key),
        properties={"student_name": f"Student {number}", "is_active": "Active", **properties},
        **more,
    )


def cancel(number: int, hubspot_id: str) -> OutboxRow:
    return OutboxRow(
        outbox_id=number,
        kind="cancel",
        attempts=1,
        key=f"LS-{number:04d}",
        hubspot_id=HubspotId(hubspot_id),
        properties={"is_active": "Cancelled", "booking_status": "cancelled"},
    )


def link(number: int, hubspot_id: str, contact_id: str) -> OutboxRow:
    return OutboxRow(
        outbox_id=number,
        kind="link_contact",
        attempts=1,
        key=f"LS-{number:04d}",
        hubspot_id=HubspotId(hubspot_id),
        contact_id=ContactId(contact_id),
    )


def count(number: int, exam_id: str, total: int) -> OutboxRow:
    properties = {"total_bookings": str(total)}
    return OutboxRow(
        outbox_id=number, kind="count", attempts=1, key=exam_id, exam_id=ExamId(exam_id), properties=properties
    )


def outcomes(results: Sequence[RowResult]) -> list[str]:
    return [result.outcome for result in results]


class FakeSlot:
    """Remembers how it ended."""

    def __init__(self) -> None:
        self.ends: list[str] = []
        self.headers: dict[str, str] | None = None
        self.status: int | None = None

    async def close(self, headers: dict[str, str] | None = None, status: int | None = None) -> None:
        self.ends.append("closed")
        self.headers, self.status = headers, status

    async def give_back(self) -> None:
        self.ends.append("given back")


class FakeBudget:
    """Grants `slots` calls, then asks to wait; remembers every slot."""

    def __init__(self, slots: int = 1000, wait_s: float = 60.0) -> None:
        self.left = slots
        self.wait_s = wait_s
        self.slots: list[FakeSlot] = []

    async def reserve(self, kind: str) -> FakeSlot | float:
        del kind
        if self.left < 1:
            return self.wait_s
        self.left -= 1
        self.slots.append(FakeSlot())
        return self.slots[-1]

    async def free(self) -> int:
        return self.left

    @property
    def calls(self) -> int:
        return sum(slot.ends == ["closed"] for slot in self.slots)


class Portal:
    """A running emulator and what it holds."""

    def __init__(self, url: str, emulator: Emulator) -> None:
        self.url = url
        self.emulator = emulator

    def faults(self, text: str, seed: int = 0) -> None:
        self.emulator.set_faults(text, seed)

    def switch(self, **values: Any) -> None:
        self.emulator.set_switches(with_changes(self.emulator.switches, values))

    @property
    def calls(self) -> list[Any]:
        return self.emulator.store.calls

    @property
    def refused_by_limit(self) -> list[Any]:
        return [call for call in self.calls if call.status == 429]

    def bookings(self) -> dict[str, dict[str, str]]:
        records = self.emulator.store.portal.types[BOOKINGS].records.values()
        live = [record for record in records if record.archived_at is None]
        assert len({record.properties["booking_id"] for record in live}) == len(live), "a booking is there twice"
        return {record.properties["booking_id"]: record.properties for record in live}

    async def make(self, object_type: str, **properties: str) -> str:
        return await self._post(f"/crm/v3/objects/{object_type}", {"properties": properties})

    async def archive(self, object_type: str, record_id: str) -> None:
        await self._post(f"/crm/v3/objects/{object_type}/batch/archive", {"inputs": [{"id": record_id}]})

    async def merge(self, object_type: str, gone: str, into: str) -> None:
        """What staff does with two records of one thing: the one goes on under the id of the other."""
        body = {"primaryObjectId": into, "objectIdToMerge": gone}
        await self._post(f"/crm/v3/objects/{object_type}/merge", body)

    async def _post(self, path: str, body: Any) -> str:
        headers = {"Authorization": "Bearer pat-demo"}
        async with (
            aiohttp.ClientSession(self.url, headers=headers) as session,
            session.post(path, json=body) as answer,
        ):
            assert answer.status < 300, await answer.text()
            return "" if answer.status == 204 else (await answer.json())["id"]


def always() -> bool:
    return True


class Desk:
    """A delivery over the emulator, with a budget that counts."""

    def __init__(self, portal, slots: int = 1000, **settings) -> None:
        given = settings_for(portal.url, **{"hubspot_timeout_s": 5.0, **settings})
        self.portal = portal
        self.client = HubSpotClient(given)
        self.budget = FakeBudget(slots)
        self.delivery = FullDelivery(self.client, self.budget, given)

    async def create(self, *rows, may_start=always):
        self.portal.emulator.store.calls.clear()
        return await self.delivery.create(FakeSlot(), rows, may_start)

    @property
    def operations(self):
        return [call.operation for call in sorted(self.portal.calls, key=lambda call: call.seq)]


@asynccontextmanager
async def running_portal(faults: str = "", seed: int = 0, **limits: Any):
    rules, switches = split(faults)
    with Store(None) as store:
        emulator = Emulator(
            store,
            limits=with_changes(Limits(), limits),
            switches=with_changes(Switches(), dict(switches)),
            faults=Faults(rules, seed),
            seed=seed,
        )
        emulator.start_over(first_events("standard", DEFAULT_PORTAL_ID))
        server = Server(emulator)
        url = await server.start()
        try:
            yield Portal(url, emulator)
        finally:
            await server.stop()
