"""The portals that the client's suite visits; on each, it writes only to records that the visit itself has made."""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cached_property
from typing import Any

import msgspec
from pydantic import SecretStr

from lastseat.errors import SetupError, Unavailable
from lastseat.model import BookingId, ContactId, ExamId, HubspotId, OutboxKind, OutboxRow
from lastseat.ports import Slot
from lastseat.settings import Settings, load
from lastseat.stores.hubspot_answers import Answer, NoAnswer
from lastseat.stores.hubspot_lists import HubSpotLists
from lastseat.stores.hubspot_paths import Paths
from lastseat.stores.rate_budget import SharedBudget
from lastseat.writes.delivery import Delivery
from tests.emulator.crm import BOOKINGS, CONTACTS, EXAMS, running

OURS = "LSTEST-"
LIVE_URL = "https://api.hubapi.com"
LIVE_CALLS = 40  # per 10 s; without Redis the budget uses half of it
NAMED = ("HUBSPOT_BOOKING_TYPE", "HUBSPOT_EXAM_TYPE")
"""Their defaults are another portal's ids, so on a live portal they must be said."""


class NotOurs(AssertionError):
    """The suite was about to write to a record that it did not make."""


class NoRedis:
    """The budget works alone: cautiously, and by the headers of each reply."""

    async def script(self, name: str, keys: Sequence[str], args: Sequence[str | bytes]) -> object:
        raise Unavailable("This suite needs no Redis.")


class Watched(HubSpotLists):
    """The client as it is; what it sends is looked at first, and what it made is remembered."""

    def __init__(self, settings: Settings, prefix: str, made: dict[str, set[str]]) -> None:
        super().__init__(settings)
        self.prefix = prefix
        self.made = made
        self.keys: set[str] = set()
        self.sent = 0
        types = (settings.hubspot_booking_type, settings.hubspot_exam_type, settings.hubspot_contact_type)
        of = Paths(settings.hubspot_api_version).of
        self._verbs = {of("list", type=one): ("make", one, one) for one in types}
        for verb in ("read", "upsert", "update", "archive"):
            self._verbs |= {of("batch", type=one, verb=verb): (verb, one, one) for one in types}
        for verb, word in (("create", "link"), ("read", "read")):
            pairs = [(one, other) for one in types for other in types if one != other]
            self._verbs |= {of("link", from_type=a, to_type=b, verb=verb): (word, a, b) for a, b in pairs}

    async def _call(self, slot: Slot, method: str, path: str, body: Any = None) -> Answer | NoAnswer:
        verb, object_type, other = self._verbs.get(path, ("", "", "")) if method == "POST" else (method, "", "")
        try:
            self.guard(verb, object_type, other, body)
        except NotOurs:
            await slot.give_back()
            raise
        self.sent += 1
        answer = await super()._call(slot, method, path, body)
        if verb in ("make", "upsert") and isinstance(answer, Answer) and answer.status < 300:
            self._remember(object_type, msgspec.json.decode(answer.body or b"{}"))
        return answer

    def guard(self, verb: str, object_type: str, other: str, body: Any) -> None:
        """Raise NotOurs for anything but a read and a write to what this visit made."""
        inputs = body.get("inputs", []) if isinstance(body, dict) else []
        match verb:
            case "GET" | "read":
                good = True
            case "make":
                good = any(self._is_ours(value) for value in body["properties"].values())
            case "upsert":
                self.keys |= {one["id"] for one in inputs}
                name = self._settings.hubspot_booking_key
                good = object_type == self._settings.hubspot_booking_type and all(
                    one["idProperty"] == name and self._is_ours(one["id"]) and self._is_ours(one["properties"][name])
                    for one in inputs
                )
            case "update" | "archive":
                good = all(one["id"] in self.made.get(object_type, ()) for one in inputs)
            case "link":
                good = all(
                    one[end]["id"] in self.made.get(kind, ())
                    for one in inputs
                    for end, kind in (("from", object_type), ("to", other))
                )
            case _:
                good = False
        if not good:
            raise NotOurs(f"{verb or 'an unknown write'} on {object_type}: not a record of this visit")

    def _remember(self, object_type: str, answer: dict[str, Any]) -> None:
        name = self._settings.hubspot_booking_key
        made = [one for one in answer.get("results") or [] if self._is_ours((one.get("properties") or {}).get(name))]
        found = {str(one["id"]) for one in [*made, answer] if "id" in one}
        self.made.setdefault(object_type, set()).update(found)

    def _is_ours(self, value: Any) -> bool:
        return isinstance(value, str) and value.upper().startswith(self.prefix)


class Visit:
    """One test's stay at one portal: the client, its deliveries and budget, and records with names of its own."""

    def __init__(self, settings: Settings, budget: SharedBudget) -> None:
        self.settings = settings
        self.budget = budget
        self.prefix = f"{OURS}{uuid.uuid4().hex[:10].upper()}-"
        self.made: dict[str, set[str]] = {}
        self.client = Watched(settings, self.prefix, self.made)
        self.delivery = Delivery(self.client, self, settings)
        self.headers: dict[str, str] = {}
        self.paths = Paths(settings.hubspot_api_version)

    async def slot(self, kind: OutboxKind | str = "create") -> "Noted":
        """The right to one call, as soon as the budget gives it."""
        granted = await self.reserve(kind)
        if isinstance(granted, float):
            await asyncio.sleep(granted)
            return await self.slot(kind)
        return granted

    async def reserve(self, kind: OutboxKind | str) -> "Noted | float":
        granted = await self.budget.reserve(kind)
        return float(granted) if isinstance(granted, int | float) else Noted(granted, self)

    async def free(self) -> int:
        return await self.budget.free()

    def key(self, number: int) -> str:
        return f"{self.prefix}{number}"

    def row(self, number: int, **properties: str) -> OutboxRow:
        """A booking to create."""
        key = self.key(number)
        properties = {"student_name": f"Student {number}", "is_active": "Active", **properties}
        return OutboxRow(
            outbox_id=number, kind="create", attempts=1, key=key, booking_id=BookingId(key), properties=properties
        )

    def change(self, kind: OutboxKind, number: int, hubspot_id: str, **more: Any) -> OutboxRow:
        """A cancel or a link of a booking."""
        given = HubspotId(hubspot_id)
        return OutboxRow(outbox_id=number, kind=kind, attempts=1, key=self.key(number), hubspot_id=given, **more)

    async def upsert(self, *rows: OutboxRow) -> list[str]:
        """Write bookings with the client; their HubSpot ids, in the order of the rows."""
        results = await self.client.upsert_bookings(await self.slot(), rows)
        assert {result.outcome for result in results} == {"written"}, results
        return [result.record.hubspot_id for result in results if result.record]

    async def read(self, *numbers: int) -> dict[int, dict[str, str | None]]:
        """The properties of those bookings that are there."""
        keys = {self.key(number): number for number in numbers}
        records = await self.client.read_bookings(await self.slot(), [BookingId(key) for key in keys])
        name = self.settings.hubspot_booking_key
        return {keys[record.properties[name] or ""]: record.properties for record in records}

    async def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """A raw call with the client's session: status and body."""
        answer = await self.client._call(await self.slot(), method, path, body)
        assert isinstance(answer, Answer), answer
        return answer.status, msgspec.json.decode(answer.body) if answer.body else None

    async def batch(self, verb: str, inputs: list[Any], **more: Any) -> tuple[int, Any]:
        """A raw batch of bookings."""
        path = self.paths.of("batch", type=self.settings.hubspot_booking_type, verb=verb)
        return await self.call("POST", path, {"inputs": inputs, **more})

    def untraced(self, row: OutboxRow) -> dict[str, Any]:
        """An upsert's input without a trace id."""
        name = self.settings.hubspot_booking_key
        return {"id": row.key, "idProperty": name, "properties": {**row.properties, name: row.key}}

    async def archive(self, *ids: str) -> None:
        status, _ = await self.batch("archive", [{"id": one} for one in ids])
        assert status == 204

    async def make_contact(self) -> ContactId:
        return ContactId(await self._make(self.settings.hubspot_contact_type, email=f"{self.key(1)}@example.com"))

    async def make_exam(self) -> ExamId:
        """It has no date, no seats and is not active, so no site offers it."""
        return ExamId(await self._make(self.settings.hubspot_exam_type, mock_exam_name=f"{self.key(1)} test"))

    async def _make(self, object_type: str, **properties: str) -> str:
        status, body = await self.call("POST", self.paths.of("list", type=object_type), {"properties": properties})
        assert status == 201, body
        return str(body["id"])

    @asynccontextmanager
    async def client_with(self, token: str) -> AsyncIterator[Watched]:
        """The same client with another token."""
        settings = self.settings.model_copy(update={"hubspot_access_token": SecretStr(token)})
        other = Watched(settings, self.prefix, self.made)
        try:
            yield other
        finally:
            await other.close()

    async def tidy(self) -> None:
        """Archive all that this visit made, also what an answer that never came had made."""
        try:
            keys = sorted(self.client.keys)
            for first in range(0, len(keys), 100):
                found = await self.client.read_bookings(await self.slot(), [BookingId(k) for k in keys[first:][:100]])
                self.made.setdefault(self.settings.hubspot_booking_type, set()).update(r.hubspot_id for r in found)
        finally:
            for object_type, ids in self.made.items():
                inputs = [{"id": one} for one in sorted(ids)]
                path = self.paths.of("batch", type=object_type, verb="archive")
                for first in range(0, len(inputs), 100):
                    status, body = await self.call("POST", path, {"inputs": inputs[first:][:100]})
                    assert status == 204, f"{self.prefix}… is still in the portal: {body}"


class Noted:
    """A slot whose reply's headers the visit keeps."""

    def __init__(self, slot: Slot, visit: Visit) -> None:
        self._slot = slot
        self._visit = visit

    async def close(self, headers: dict[str, str] | None = None, status: int | None = None) -> None:
        self._visit.headers = headers or {}
        await self._slot.close(headers, status)

    async def give_back(self) -> None:
        await self._slot.give_back()


@asynccontextmanager
async def visiting(settings: Settings, budget: SharedBudget | None = None):
    """A visit that tidies up, whatever happens in it."""
    visit = Visit(settings, budget or SharedBudget(NoRedis(), settings))
    try:
        yield visit
    finally:
        try:
            await visit.tidy()
        finally:
            await visit.client.close()


class Emulated:
    """The emulator in this process, with its own choice where HubSpot's behaviour is not confirmed."""

    def __init__(self, version: str, **switches: Any) -> None:
        self.version = version
        self.switches = switches

    def settings(self, url: str) -> Settings:
        return load(
            hubspot_base_url=url,
            hubspot_access_token="pat-demo",
            hubspot_api_version=self.version,
            hubspot_booking_type=BOOKINGS,
            hubspot_exam_type=EXAMS,
            hubspot_contact_type=CONTACTS,
            hubspot_booking_key="booking_id",
            hubspot_rate_limit=1000,
            hubspot_headroom=0,
        )

    @asynccontextmanager
    async def visit(self):
        async with (
            running(calls=1000, switches=self.switches) as crm,
            visiting(self.settings(crm.url)) as one,
        ):
            yield one


class Live:
    """A real portal, at a fifth of the smallest plan's pace; the settings are read from the environment."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment

    @cached_property
    def settings(self) -> Settings:
        missing = [name for name in NAMED if not self.environment.get(name)]
        if missing:
            raise SetupError(f"A live portal needs {' and '.join(missing)}.", way_out="See docs/live-portal.md.")
        return load(
            hubspot_base_url=LIVE_URL,
            hubspot_access_token=self.environment["HUBSPOT_LIVE_TOKEN"],
            hubspot_rate_limit=LIVE_CALLS,
            hubspot_headroom=0,
            hubspot_timeout_s=15.0,
            hubspot_extra_wait_s=15.0,
            lease_s=60.0,
        )

    @cached_property
    def budget(self) -> SharedBudget:
        """One for all tests of this process."""
        return SharedBudget(NoRedis(), self.settings)

    @asynccontextmanager
    async def visit(self):
        async with visiting(self.settings, self.budget) as one:
            yield one


def targets(environment: Mapping[str, str] = os.environ) -> dict[str, Emulated | Live]:
    """The emulator over both path families, and a live portal when it is asked for."""
    dated = Emulated("2026-09", unset="absent", echo_trace_ids=True, upsert_order="reversed")
    found: dict[str, Emulated | Live] = {"emulator-v3": Emulated("v3"), "emulator-dated": dated}
    return found | ({"live": Live(environment)} if environment.get("HUBSPOT_LIVE_TOKEN") else {})
