"""Reads every booking record of HubSpot for an operator's check, page by page within the budget; never writes."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, Final

import aiohttp
import msgspec

from lastseat.errors import Unavailable
from lastseat.evidence import PortalRecord, holds_seat
from lastseat.ports import RateBudget, Slot
from lastseat.settings import Settings
from lastseat.stores.hubspot_paths import Paths

PAGE: Final = 100  # Limit: HubSpot lists so many records a page.
WAIT_MOST_S: Final = 60.0


class _Listed(msgspec.Struct):
    id: str
    properties: dict[str, str | None]
    archived: bool = False


class _Next(msgspec.Struct):
    after: str


class _Paging(msgspec.Struct):
    next: _Next | None = None


class _Page(msgspec.Struct):
    results: list[_Listed]
    paging: _Paging | None = None


async def booking_records(settings: Settings, budget: RateBudget) -> AsyncGenerator[list[PortalRecord]]:
    """All booking records that are not archived, a page at a time; raise Unavailable in one line."""
    token = settings.hubspot_access_token
    headers = {"Authorization": f"Bearer {token.get_secret_value()}"} if token is not None else {}
    names = [settings.hubspot_booking_key, "mock_exam_id", "contact_id", "booking_status", "is_active"]
    query = {"limit": str(PAGE), "properties": ",".join(dict.fromkeys(names))}
    path = Paths(settings.hubspot_api_version).of("list", type=settings.hubspot_booking_type)
    timeout = aiohttp.ClientTimeout(total=settings.hubspot_timeout_s)
    async with aiohttp.ClientSession(settings.hubspot_base_url, headers=headers, timeout=timeout) as session:
        while True:
            page = await _page(session, path, query, await _slot(budget))
            yield [_record(listed, settings.hubspot_booking_key) for listed in page.results]
            if page.paging is None or page.paging.next is None:
                return
            query["after"] = page.paging.next.after


async def _slot(budget: RateBudget) -> Slot:
    """Wait for a call that bookings do not need."""
    while True:
        slot = await budget.reserve("doctor")
        if not isinstance(slot, float | int):
            return slot
        await asyncio.sleep(min(slot, WAIT_MOST_S))


async def _page(session: aiohttp.ClientSession, path: str, query: dict[str, str], slot: Slot) -> _Page:
    headers: dict[str, str] | None = None
    status: int | None = None
    try:
        async with session.get(path, params=query) as response:
            headers, status = {name.lower(): value for name, value in response.headers.items()}, response.status
            body = await response.read()
    except (aiohttp.ClientError, TimeoutError, OSError) as problem:
        raise Unavailable(f"HubSpot did not answer ({type(problem).__name__}). Check HUBSPOT_BASE_URL.") from problem
    finally:
        await asyncio.shield(slot.close(headers, status))
    if status != 200:
        raise Unavailable(f"HubSpot refused the list of bookings with {status}: {_said(body)}.")
    return msgspec.json.decode(body, type=_Page)


def _said(body: bytes) -> str:
    try:
        return str(msgspec.json.decode(body, type=dict[str, Any]).get("message", "no reason given")).rstrip(".")
    except msgspec.MsgspecError:
        return "no reason given"


def _record(listed: _Listed, key: str) -> PortalRecord:
    properties = listed.properties
    return PortalRecord(
        hubspot_id=listed.id,
        key=properties.get(key) or None,
        exam_id=properties.get("mock_exam_id") or None,
        contact_id=properties.get("contact_id") or None,
        holds=holds_seat(properties.get("booking_status"), properties.get("is_active")),
        archived=listed.archived,
    )
