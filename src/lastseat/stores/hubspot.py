"""Speaks to HubSpot: one HTTP call per method, one outcome per row; never resends, never searches, never batches."""

import asyncio
from collections.abc import Collection, Mapping, Sequence

import aiohttp
import msgspec

from lastseat.errors import Refused
from lastseat.model import OutboxKind, OutboxRow, Properties, Record, RowResult
from lastseat.ports import Slot
from lastseat.settings import Settings
from lastseat.stores.hubspot_answers import (
    Answer,
    NoAnswer,
    Sent,
    WireRecord,
    error_of,
    labels_read,
    link_results,
    object_results,
    records_read,
    unanswered,
)
from lastseat.stores.hubspot_codec import BOOKING_PROPERTIES, EXAM_PROPERTIES
from lastseat.stores.hubspot_paths import Paths

OBJECTS_MOST = 100  # Limit: HubSpot takes so many objects in a batch.
LINKS_MOST = 2_000  # Limit: and so many associations.
POLICY = "policy-name"
"""The key under which a 429's policy, which HubSpot puts in the body, reaches the budget with the headers."""


class LinkType(msgspec.Struct, frozen=True, kw_only=True):
    """The association type of a pair of object types; its id differs per portal."""

    category: str
    type_id: int


class HubSpotClient:
    """One aiohttp session to one portal.

    `link_types` (`"from>to"` → LinkType) may be filled from the ledger; `learn` fills what is missing.
    Reads raise Unavailable (nothing learnt) or Refused; writes raise nothing and answer for every row.
    """

    def __init__(self, settings: Settings, link_types: dict[str, LinkType] | None = None) -> None:
        self._settings = settings
        self._paths = Paths(settings.hubspot_api_version)
        self._session: aiohttp.ClientSession | None = None
        self.link_types: dict[str, LinkType] = {} if link_types is None else link_types

    async def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def upsert_bookings(self, slot: Slot, rows: Sequence[OutboxRow]) -> list[RowResult]:
        """Create or update by the unique property: the one write that may be sent again."""
        return await self._upsert(slot, self._settings.hubspot_booking_type, self._settings.hubspot_booking_key, rows)

    async def upsert_exams(self, slot: Slot, rows: Sequence[OutboxRow]) -> list[RowResult]:
        """Make exams, by the unique property that we gave them; safe to send again too."""
        return await self._upsert(slot, self._settings.hubspot_exam_type, self._settings.hubspot_exam_key, rows)

    async def _upsert(self, slot: Slot, object_type: str, name: str, rows: Sequence[OutboxRow]) -> list[RowResult]:
        inputs = [
            {
                "id": r.key,
                "idProperty": name,
                "objectWriteTraceId": _trace(r),
                "properties": {**r.properties, name: r.key},
            }
            for r in rows
        ]
        sent = [_sent(row, row.key) for row in rows]
        answer = await self._batch(slot, object_type, "upsert", {"inputs": inputs})
        results = object_results(sent, answer, lambda wire: str((wire.properties or {}).get(name) or ""))
        # An upsert cannot miss a record: "not found" is then about something else, and a refusal.
        return [msgspec.structs.replace(r, outcome="refused") if r.outcome == "missing" else r for r in results]

    async def update_bookings(self, slot: Slot, rows: Sequence[OutboxRow]) -> list[RowResult]:
        """Update by HubSpot's id. `missing`: the record is gone."""
        ids = [(row, row.hubspot_id or "", row.properties) for row in rows]
        return await self._update(slot, self._settings.hubspot_booking_type, ids)

    async def update_exams(self, slot: Slot, rows: Sequence[OutboxRow]) -> list[RowResult]:
        """Update exams by HubSpot's id. `missing`: the record is gone."""
        ids = [(row, row.exam_id or "", row.properties) for row in rows]
        return await self._update(slot, self._settings.hubspot_exam_type, ids)

    async def archive_exams(self, slot: Slot, rows: Sequence[OutboxRow]) -> list[RowResult]:
        """Archive exams by HubSpot's id. HubSpot: one that is archived or unknown is no error (2026)."""
        sent = [_sent(row, row.exam_id or "") for row in rows]
        body = {"inputs": [{"id": row.exam_id or ""} for row in rows]}
        answer = await self._batch(slot, self._settings.hubspot_exam_type, "archive", body)
        results = unanswered(sent, answer)
        if results is not None:
            return results
        # HubSpot: 204 without a body is the success (2026); another 2xx proves nothing.
        done = isinstance(answer, Answer) and answer.status == 204
        return [RowResult(key=row.key, outcome="written" if done else "unknown") for row in rows]

    async def read_exams(self, slot: Slot, names: Sequence[str], *, by_key: bool) -> list[Record]:
        """The exams that exist now, by the unique property or by HubSpot's id."""
        settings = self._settings
        key = settings.hubspot_exam_key if by_key else None
        known = {settings.hubspot_exam_key, *EXAM_PROPERTIES}
        return await self._records(slot, settings.hubspot_exam_type, names, known, key)

    async def read_bookings(self, slot: Slot, names: Sequence[str], *, by_key: bool = True) -> list[Record]:
        """The bookings that exist now, by the unique property or HubSpot's id. HubSpot: a search would lag."""
        settings = self._settings
        key = settings.hubspot_booking_key if by_key else None
        known = {settings.hubspot_booking_key, *BOOKING_PROPERTIES}
        return await self._records(slot, settings.hubspot_booking_type, names, known, key)

    async def _records(
        self, slot: Slot, object_type: str, names: Sequence[str], known: Collection[str], key: str | None
    ) -> list[Record]:
        # HubSpot: the same id twice in a batch is a 400 for the whole batch.
        names = list(dict.fromkeys(names))
        body: dict[str, object] = {"inputs": [{"id": name} for name in names], "properties": sorted(known)}
        if key is not None:
            body["idProperty"] = key
        return records_read(names, await self._batch(slot, object_type, "read", body))

    async def link(self, slot: Slot, kind: OutboxKind, rows: Sequence[OutboxRow]) -> list[RowResult]:
        """Associate bookings with their contacts or exams; the pair's type must be known (`knows`)."""
        pair = self._pair(kind)
        link_type = self.link_types[">".join(pair)]
        types = [{"associationCategory": link_type.category, "associationTypeId": link_type.type_id}]
        ends = [(row, row.hubspot_id or "", _other_end(kind, row)) for row in rows]
        inputs = [{"from": {"id": a}, "to": {"id": b}, "types": types} for _, a, b in ends]
        sent = [
            Sent(key=row.key, ident=f"{a}>{b}", names=frozenset((("fromObjectId", a), ("toObjectId", b))))
            for row, a, b in ends
        ]
        path = self._paths.of("link", from_type=pair[0], to_type=pair[1], verb="create")
        return link_results(sent, await self._call(slot, "POST", path, {"inputs": inputs}))

    def knows(self, kind: OutboxKind) -> bool:
        """True when the association type of these links is known."""
        return ">".join(self._pair(kind)) in self.link_types

    async def learn(self, slot: Slot, kind: OutboxKind) -> LinkType:
        """Discover the association type of these links; also a cheap first call that brings the rate headers."""
        pair = self._pair(kind)
        path = self._paths.of("labels", from_type=pair[0], to_type=pair[1])
        labels = labels_read(await self._call(slot, "GET", path))
        if not labels:
            raise Refused(f"HubSpot has no association type from {pair[0]} to {pair[1]}.", code="SETUP")
        # HubSpot: several types may join a pair; the one without a label is the plain association.
        plain = min(labels, key=lambda label: (label.label is not None, label.type_id))
        found = LinkType(category=plain.category, type_id=plain.type_id)
        self.link_types[">".join(pair)] = found
        return found

    def _pair(self, kind: OutboxKind) -> tuple[str, str]:
        settings = self._settings
        to_type = settings.hubspot_contact_type if kind == "link_contact" else settings.hubspot_exam_type
        return settings.hubspot_booking_type, to_type

    async def _update(
        self, slot: Slot, object_type: str, ids: Sequence[tuple[OutboxRow, str, Properties]]
    ) -> list[RowResult]:
        inputs = [
            {"id": hubspot_id, "objectWriteTraceId": _trace(row), "properties": properties}
            for row, hubspot_id, properties in ids
        ]
        sent = [_sent(row, hubspot_id) for row, hubspot_id, _ in ids]
        answer = await self._batch(slot, object_type, "update", {"inputs": inputs})
        return object_results(sent, answer, _id_of, by_id=True)

    async def _batch(self, slot: Slot, object_type: str, verb: str, body: object) -> Answer | NoAnswer:
        return await self._call(slot, "POST", self._paths.of("batch", type=object_type, verb=verb), body)

    async def _call(self, slot: Slot, method: str, path: str, body: object = None) -> Answer | NoAnswer:
        """The one place that sends. The slot is closed whatever happens, with the reply's headers if there is one."""
        headers: dict[str, str] | None = None
        status: int | None = None
        unused = False
        try:
            data = None if body is None else msgspec.json.encode(body)
            async with self._opened().request(method, path, data=data, allow_redirects=False) as response:
                headers, status = _lowered(response.headers), response.status
                answer = Answer(status=status, body=await response.read())
                if status == 429 and (policy := error_of(answer.body).policy_name):
                    headers[POLICY] = policy
                return answer
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as error:
            unused = True
            return NoAnswer(sent=False, reason=f"HubSpot could not be reached ({type(error).__name__}).")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return NoAnswer(sent=True, reason=f"HubSpot's answer was lost ({type(error).__name__}).")
        finally:
            # Race: a caller may be cancelled here; the slot must still be told, or it is held too long.
            await asyncio.shield(slot.give_back() if unused else slot.close(headers, status))

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            settings = self._settings
            token = settings.hubspot_access_token
            headers = {"Content-Type": "application/json", "User-Agent": "lastseat"}
            if token is not None:
                headers["Authorization"] = f"Bearer {token.get_secret_value()}"
            self._session = aiohttp.ClientSession(
                settings.hubspot_base_url,
                headers=headers,
                # Limit: none on connections; the rate budget is the limit, and a queue here would outlive a lease.
                connector=aiohttp.TCPConnector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(
                    total=settings.hubspot_timeout_s, sock_connect=settings.hubspot_connect_timeout_s
                ),
            )
            # aiohttp sends a GET twice when a kept connection breaks: a call the budget would not know of.
            self._session._retry_connection = False  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # no public switch
        return self._session


def _sent(row: OutboxRow, ident: str) -> Sent:
    names = (("objectWriteTraceId", _trace(row)), ("ids", ident), ("id", ident))
    return Sent(key=row.key, ident=ident, names=frozenset(names))


def _trace(row: OutboxRow) -> str:
    return f"row-{row.outbox_id}"


def _other_end(kind: OutboxKind, row: OutboxRow) -> str:
    return (row.contact_id if kind == "link_contact" else row.exam_id) or ""


def _id_of(wire: WireRecord) -> str:
    return str(wire.id)


def _lowered(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
