"""Webhooks: each test says its rule, HubSpot's or (`issue:`) the emulator's."""

import asyncio
import base64
import hashlib
import hmac

import msgspec
import pytest
from aiohttp import web

from hubspot_emulator.settings import Webhook
from tests.emulator.crm import BOOKINGS, running, settle

URL = "http://127.0.0.1:9/hubspot"
DAY_S = 86_400


class Subscriber:
    """Takes deliveries in place of the network and answers what the test says."""

    def __init__(self, crm):
        self.crm = crm
        self.deliveries = []
        self.headers = []
        self.bodies = []
        self.status = 200
        crm.emulator.webhooks.send = self.take

    async def take(self, url, body, headers):
        assert url == URL
        self.deliveries.append(msgspec.json.decode(body))
        self.bodies.append(body)
        self.headers.append(headers)
        return self.status

    @property
    def events(self):
        return [event for delivery in self.deliveries for event in delivery]

    async def wait(self, delay_s=0.05):
        await settle()
        await self.crm.clock.advance(delay_s)
        await settle()


@pytest.fixture
async def world(request):
    options = getattr(request, "param", {})
    async with running(webhook=Webhook(url=URL, **options)) as crm:
        yield crm, Subscriber(crm)


async def test_a_changed_property_is_told_as_hubspot_tells_it(world):
    """a JSON array (< 100 events) of `subscriptionType "object.propertyChange"`, `objectTypeId "2-…"`, `objectId`,
    `propertyName`, `propertyValue`, `occurredAt`, `changeSource`, `attemptNumber`. Our own writes also fire."""
    crm, subscriber = world
    await crm.upsert("B-1", attendance="Yes")
    await subscriber.wait()
    record = (await crm.state())["objects"][BOOKINGS][0]["id"]
    told = {one["propertyName"]: one for one in subscriber.events}
    assert set(told) == {"booking_id", "is_active", "attendance"}
    one = told["attendance"]
    assert one["subscriptionType"] == "object.propertyChange"
    assert (one["objectTypeId"], one["objectId"]) == (BOOKINGS, int(record))
    assert (one["propertyValue"], one["changeSource"], one["attemptNumber"]) == ("Yes", "INTEGRATION", 0)
    assert one["occurredAt"] == int(crm.emulator.store.calls[0].arrived_at * 1000)


async def test_only_real_changes_of_custom_objects_are_told(world):
    """Custom objects on legacy private apps only (beta)"""
    crm, subscriber = world
    await crm.create("contacts", email="a@b.ca")
    await crm.upsert("B-1", attendance="Yes")
    await subscriber.wait()
    before = len(subscriber.events)
    await crm.upsert("B-1", attendance="Yes")
    await crm.upsert("B-1", attendance="")
    await subscriber.wait()
    assert [(one["propertyName"], one["propertyValue"]) for one in subscriber.events[before:]] == [("attendance", "")]


async def test_an_edit_in_hubspots_pages_fires_too(world):
    """Push is a hint; polling is the truth."""
    crm, subscriber = world
    await crm.control("seed", {"objects": {"bookings": [{"properties": {"booking_id": "by hand"}}]}})
    await subscriber.wait()
    assert subscriber.events[0]["changeSource"] == "CRM_UI"


async def test_a_delivery_holds_fewer_than_100_events(world):
    """a JSON array (< 100 events)"""
    crm, subscriber = world
    await crm.upsert(*(f"B-{number}" for number in range(100)))
    await subscriber.wait()
    assert len(subscriber.events) == 200
    assert max(len(delivery) for delivery in subscriber.deliveries) == 99


async def test_a_failed_delivery_is_sent_again_up_to_10_times(world):
    """retried up to 10 times over 24 h"""
    crm, subscriber = world
    subscriber.status = 500
    await crm.upsert("B-1")
    await subscriber.wait()
    began = crm.clock.at
    while not crm.emulator.webhooks.given_up:
        await subscriber.wait(60)
    assert [delivery[0]["attemptNumber"] for delivery in subscriber.deliveries] == list(range(11))
    assert crm.clock.at - began == pytest.approx(DAY_S, abs=60)
    await subscriber.wait(2 * DAY_S)
    assert (len(subscriber.deliveries), crm.emulator.webhooks.given_up) == (11, 2)


@pytest.mark.parametrize(("after_s", "in_time"), [(4.9, True), (5.1, False)])
async def test_a_subscriber_must_answer_within_5_s(world, after_s, in_time):
    """Answer within 5 s"""
    crm, subscriber = world
    await crm.upsert("B-1")

    async def slowly(url, body, headers):
        await crm.clock.sleep(after_s)
        return await subscriber.take(url, body, headers)

    crm.emulator.webhooks.send = slowly
    await subscriber.wait()
    await subscriber.wait(after_s)
    assert len(subscriber.deliveries) == in_time
    crm.emulator.webhooks.send = subscriber.take
    await subscriber.wait(DAY_S)
    assert [delivery[0]["attemptNumber"] for delivery in subscriber.deliveries] == [0 if in_time else 1]


async def test_duplicates_and_reordering_come_on_demand(world):
    """no order; duplicates; `eventId` not unique: dedupe on (subscriptionId, objectId, propertyName, occurredAt)"""
    crm, subscriber = world
    await crm.faults("webhook-duplicate,webhook-reorder")
    await crm.upsert("a", "b", "c")
    await subscriber.wait()
    keys = [
        (one["subscriptionId"], one["objectId"], one["propertyName"], one["occurredAt"]) for one in subscriber.events
    ]
    assert len(keys) == 12
    assert len(set(keys)) == 6
    assert keys != sorted(keys)


async def test_an_accepted_delivery_may_come_again(world):
    """retried up to 10 times over 24 h; duplicates"""
    crm, subscriber = world
    await crm.faults("webhook-fail=1x")
    await crm.control("webhook", {"retry_over_s": 1_023})
    await crm.upsert("B-1")
    await subscriber.wait()
    await subscriber.wait(1)
    assert len(subscriber.deliveries) == 2


async def test_signature_v3_covers_method_uri_body_and_time(world):
    """Signature v3: base64 HMAC-SHA256(secret, method + full URI + raw body + timestamp) in `X-HubSpot-Signature-v3`
    with `X-HubSpot-Request-Timestamp` in ms"""
    crm, subscriber = world
    await crm.upsert("B-1")
    await subscriber.wait()
    headers = subscriber.headers[0]
    stamp = headers["X-HubSpot-Request-Timestamp"]
    assert abs(int(stamp) / 1000 - crm.clock.now()) < 1
    signed = b"POST" + URL.encode() + subscriber.bodies[0] + stamp.encode()
    expected = base64.b64encode(hmac.new(b"emulator-secret", signed, hashlib.sha256).digest()).decode()
    assert headers["X-HubSpot-Signature-v3"] == expected


@pytest.mark.parametrize("world", [{"signature": "v1", "secret": "s3"}], indirect=True)
async def test_signature_v1_covers_secret_and_body(world):
    """private apps are documented with v1: hex SHA-256(secret + body) in `X-HubSpot-Signature`"""
    crm, subscriber = world
    await crm.upsert("B-1")
    await subscriber.wait()
    expected = hashlib.sha256(b"s3" + subscriber.bodies[0]).hexdigest()
    assert subscriber.headers[0]["X-HubSpot-Signature"] == expected


async def test_a_delivery_goes_over_real_http():
    """a JSON array … `objectTypeId "2-…"`"""
    taken = asyncio.Queue()

    async def take(request):
        await taken.put(await request.read())
        return web.Response()

    runner = web.ServerRunner(web.Server(take))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with running() as crm:
        await crm.control("webhook", {"url": f"http://127.0.0.1:{runner.addresses[0][1]}/hook"})
        await crm.upsert("B-1")
        await crm.clock.until_asleep()
        await crm.clock.advance(1)
        events = msgspec.json.decode(await asyncio.wait_for(taken.get(), 3))
        assert events[0]["objectTypeId"] == BOOKINGS
    await runner.cleanup()
