"""Tells a subscriber about changed properties of custom objects, never more reliably than HubSpot does."""

import asyncio
import base64
import hashlib
import hmac
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

import aiohttp
import msgspec

from hubspot_emulator.clock import Clock
from hubspot_emulator.context import Change
from hubspot_emulator.faults import Faults, dice_for
from hubspot_emulator.settings import Webhook

EVENTS_MAX = 99
ANSWER_WITHIN_S = 5.0
RETRIES = 10
COLLECT_S = 0.02

Send = Callable[[str, bytes, Mapping[str, str]], Awaitable[int]]
log = logging.getLogger(__name__)


def signature_v1(secret: str, body: bytes) -> str:
    """Hex SHA-256 of secret and body: documented for private apps."""
    return hashlib.sha256(secret.encode() + body).hexdigest()


def signature_v3(secret: str, method: str, uri: str, body: bytes, timestamp_ms: int) -> str:
    """Base64 HMAC-SHA256 of method, full URI, raw body and timestamp."""
    text = method.encode() + uri.encode() + body + str(timestamp_ms).encode()
    return base64.b64encode(hmac.new(secret.encode(), text, hashlib.sha256).digest()).decode()


class Webhooks:
    """The deliveries to one subscriber: batches without order, with duplicates, retried."""

    def __init__(self, settings: Webhook, faults: Faults, clock: Clock, seed: int = 0) -> None:
        self.settings = settings
        self._faults = faults
        self._clock = clock
        self._dice = dice_for(seed, "webhooks")
        self._waiting: list[dict[str, Any]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None
        self.send: Send = self._post
        self.given_up = 0

    def notice(self, portal_id: int, changes: list[Change], at: float, source: str) -> None:
        """Queues one event per changed property; without a URL nothing is queued."""
        if not self.settings.url:
            return
        before = len(self._waiting)
        for change in changes:
            # HubSpot: custom objects only here, and our own writes fire too.
            if change.type_id.startswith("2-"):
                self._waiting += self._events(portal_id, change, at, source)
        if before == 0 and self._waiting:
            self._begin(self._collect())

    def _events(self, portal_id: int, change: Change, at: float, source: str) -> list[dict[str, Any]]:
        wanted = self.settings.properties
        found: list[dict[str, Any]] = []
        for name, value in change.values.items():
            if change.before.get(name, "") == value or (name not in wanted if wanted else name[:3] == "hs_"):
                continue
            event = {
                # HubSpot: `eventId` is not unique, so it is drawn from few.
                "eventId": self._dice.randrange(1, 5_000),
                "subscriptionId": self.settings.subscription_id,
                "portalId": portal_id,
                "appId": self.settings.app_id,
                "occurredAt": int(at * 1000),
                "subscriptionType": "object.propertyChange",
                "attemptNumber": 0,
                "objectTypeId": change.type_id,
                "objectId": int(change.record_id),
                "propertyName": name,
                "propertyValue": value,
                "changeSource": source,
                "isSensitive": False,
            }
            found.append(event)
            if self._faults.webhook("webhook-duplicate", self._dice):
                found.append(event)
        return found

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _collect(self) -> None:
        await self._clock.sleep(COLLECT_S)
        waiting, self._waiting = self._waiting, []
        if self._faults.webhook("webhook-reorder", self._dice):
            self._dice.shuffle(waiting)
        for start in range(0, len(waiting), EVENTS_MAX):
            self._begin(self._deliver(waiting[start : start + EVENTS_MAX]))

    async def _deliver(self, events: list[dict[str, Any]]) -> None:
        for attempt in range(1 + RETRIES):
            if attempt:
                await self._clock.sleep(self.settings.retry_over_s * 2 ** (attempt - 1) / (2**RETRIES - 1))
            body = msgspec.json.encode([event | {"attemptNumber": attempt} for event in events])
            taken = await self._taken(body)
            if taken and not self._faults.webhook("webhook-fail", self._dice):
                return
        self.given_up += len(events)

    async def _taken(self, body: bytes) -> bool:
        try:
            async with self._clock.limit(ANSWER_WITHIN_S):
                status = await self.send(self.settings.url, body, self._headers(body))
        except (TimeoutError, aiohttp.ClientError, OSError) as problem:
            log.info("webhook not delivered: %s", type(problem).__name__)
            return False
        return 200 <= status < 300

    def _headers(self, body: bytes) -> dict[str, str]:
        settings = self.settings
        headers = {"Content-Type": "application/json"}
        if settings.signature == "v1":
            headers["X-HubSpot-Signature-Version"] = "v1"
            headers["X-HubSpot-Signature"] = signature_v1(settings.secret, body)
        else:
            now_ms = int(self._clock.now() * 1000)
            headers["X-HubSpot-Request-Timestamp"] = str(now_ms)
            headers["X-HubSpot-Signature-v3"] = signature_v3(settings.secret, "POST", settings.url, body, now_ms)
        return headers

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        if self._session is None:
            self._session = aiohttp.ClientSession()
        async with self._session.post(url, data=body, headers=headers) as answer:
            return answer.status

    async def close(self) -> None:
        """Stops all deliveries."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
