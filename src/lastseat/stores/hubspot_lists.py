"""Reads HubSpot by lists, by ids and by associations, one call per method; never searches and never writes."""

from collections.abc import Sequence
from typing import Final, Literal, TypeVar, cast
from urllib.parse import urlencode

import msgspec

from lastseat.errors import LastseatError, Refused, SetupError, Unavailable
from lastseat.model import ExamId, Record
from lastseat.ports import ListPage, ReadById, RecordKind, Slot
from lastseat.settings import Settings
from lastseat.stores.hubspot import HubSpotClient, LinkType
from lastseat.stores.hubspot_answers import Answer, NoAnswer, WireRecord, record_of
from lastseat.stores.hubspot_codec import BOOKING_PROPERTIES, CONTACT_PROPERTIES, EXAM_PROPERTIES
from lastseat.stores.hubspot_faults import fault_of
from lastseat.stores.hubspot_paths import Paths

PAGE: Final = 100  # Limit: HubSpot lists so many records a page, and reads so many by id.
ENDS_MOST: Final = 1_000  # Limit: and the associations of so many records.
CHECK: Final = "Run `lastseat portal check`: it says what is missing."
SETUP: Final = "Run `lastseat portal setup`: it makes what is missing."
NEW_KEY: Final = (
    "HubSpot can make values unique only in a new property: run `lastseat portal setup`, then set "
    "HUBSPOT_BOOKING_KEY to the property that it makes."
)
TYPE_SETTING: Final[dict[RecordKind, str]] = {
    "exams": "HUBSPOT_EXAM_TYPE",
    "contacts": "HUBSPOT_CONTACT_TYPE",
    "bookings": "HUBSPOT_BOOKING_TYPE",
}
T = TypeVar("T")


class _Next(msgspec.Struct):
    after: str


class _Paging(msgspec.Struct):
    next: _Next | None = None


class _Listed(msgspec.Struct):
    results: list[msgspec.Raw]
    paging: _Paging | None = None


class _End(msgspec.Struct, rename="camel"):
    to_object_id: str | int


class _From(msgspec.Struct):
    id: str | int


class _Ends(msgspec.Struct):
    from_: _From = msgspec.field(name="from")
    to: list[_End] = []
    paging: _Paging | None = None


class _Context(msgspec.Struct, rename="camel"):
    ids: list[str | int] = []
    from_object_id: list[str | int] = []


class _RowError(msgspec.Struct, rename="camel"):
    category: str | None = None
    sub_category: str | None = None
    message: str | None = None
    context: _Context = msgspec.field(default_factory=_Context)


class _Batch(msgspec.Struct):
    results: list[msgspec.Raw]
    errors: list[_RowError] = []


class _Property(msgspec.Struct, rename="camel"):
    name: str
    has_unique_value: bool = False


class HubSpotLists(HubSpotClient):
    """Port Lists, on the session of the client that it is."""

    def __init__(self, settings: Settings, link_types: dict[str, LinkType] | None = None) -> None:
        super().__init__(settings, link_types)
        self._places = Paths(settings.hubspot_api_version)
        self._types: dict[RecordKind, str] = {
            "exams": settings.hubspot_exam_type,
            "contacts": settings.hubspot_contact_type,
            "bookings": settings.hubspot_booking_type,
        }
        self._names: dict[RecordKind, list[str]] = {
            "exams": sorted({settings.hubspot_exam_key, *EXAM_PROPERTIES}),
            "contacts": sorted(CONTACT_PROPERTIES),
            "bookings": sorted({settings.hubspot_booking_key, *BOOKING_PROPERTIES}),
        }

    async def page(self, slot: Slot, kind: RecordKind, *, after: str | None, archived: bool) -> ListPage:
        """One page of at most 100 records; an answer without a list is no empty list."""
        query = {"limit": str(PAGE), "properties": ",".join(self._names[kind])}
        query |= {"archived": "true"} if archived else {}
        query |= {"after": after} if after else {}
        path = f"{self._places.of('list', type=self._types[kind])}?{urlencode(query)}"
        listed = self._read(await self._call(slot, "GET", path), _Listed, kind)
        records = _records(listed.results)
        following = listed.paging.next if listed.paging else None
        return ListPage(
            records=records,
            after=following.after if following else None,
            unreadable=len(listed.results) - len(records),
        )

    async def read(self, slot: Slot, kind: RecordKind, ids: Sequence[str]) -> ReadById:
        """Records by id, at most 100. HubSpot: a merged record comes back under the id it was merged into."""
        path = self._places.of("batch", type=self._types[kind], verb="read")
        body = {"inputs": [{"id": one} for one in ids], "properties": self._names[kind]}
        batch = self._read(await self._call(slot, "POST", path, body), _Batch, kind)
        records = _records(batch.results)
        named = {str(one) for error in batch.errors if _is_gone(error) for one in error.context.ids}
        gone = named & set(ids)
        if len(ids) == 1 and (records[0].hubspot_id != ids[0] if records else any(map(_is_gone, batch.errors))):
            gone = set(ids)
        if len(ids) == 1 and not records and not gone:
            raise Unavailable("HubSpot's answer does not speak of this record.")
        return ReadById(records=records, gone=sorted(gone))

    async def ends(
        self, slot: Slot, booking_ids: Sequence[str], to: Literal["exams", "contacts"]
    ) -> dict[str, list[str]]:
        """The exams or contacts of bookings, at most 1,000. Only bookings that the answer speaks of are in it."""
        path = self._places.of("link", from_type=self._types["bookings"], to_type=self._types[to], verb="read")
        body = {"inputs": [{"id": one} for one in booking_ids]}
        batch = self._read(await self._call(slot, "POST", path, body), _Batch, "bookings")
        # HubSpot: a record without associations is a row of a 207, NO_ASSOCIATIONS_FOUND; that is no fault (2026).
        found: dict[str, list[str]] = {
            str(one): [] for error in batch.errors if _is_gone(error) for one in error.context.from_object_id
        }
        for raw in batch.results:
            ends = msgspec.json.decode(raw, type=_Ends)
            found[str(ends.from_.id)] = list(dict.fromkeys(str(end.to_object_id) for end in ends.to))
        return found

    async def bookings_of(self, slot: Slot, exam_id: ExamId, after: str | None) -> tuple[list[str], str | None]:
        """The bookings of one exam by association; more of them by `after`."""
        path = self._places.of("link", from_type=self._types["exams"], to_type=self._types["bookings"], verb="read")
        wanted: dict[str, str] = {"id": exam_id} | ({"after": after} if after else {})
        batch = self._read(await self._call(slot, "POST", path, {"inputs": [wanted]}), _Batch, "exams")
        if not batch.results:
            if any(map(_is_gone, batch.errors)):
                return [], None
            raise Unavailable("HubSpot's answer does not speak of this exam's bookings.")
        ends = msgspec.json.decode(batch.results[0], type=_Ends)
        following = ends.paging.next if ends.paging else None
        return [str(end.to_object_id) for end in ends.to], following.after if following else None

    async def need_key(self, slot: Slot) -> None:
        """The token works, bookings are there, and their key is unique: one call tells."""
        name = self._settings.hubspot_booking_key
        path = self._places.of("property", type=self._types["bookings"], name=name)
        answer = await self._call(slot, "GET", path)
        if isinstance(answer, Answer) and answer.status == 404:
            raise SetupError(f"Bookings in HubSpot have no property {name} (HUBSPOT_BOOKING_KEY).", way_out=SETUP)
        if not self._read(answer, _Property, "bookings").has_unique_value:
            raise SetupError(f"The booking property {name} (HUBSPOT_BOOKING_KEY) is not unique.", way_out=NEW_KEY)

    def _read(self, answer: Answer | NoAnswer, shape: type[T], kind: RecordKind) -> T:
        if not isinstance(answer, Answer) or not 200 <= answer.status < 300:
            raise self._explained(fault_of(answer), kind)
        try:
            return msgspec.json.decode(answer.body, type=shape)
        except msgspec.MsgspecError as error:
            # HubSpot: a 2xx without its list happens; an error is not an empty list.
            raise Unavailable("HubSpot's answer cannot be read.") from error

    def _explained(self, error: LastseatError, kind: RecordKind) -> LastseatError:
        if not isinstance(error, Refused):
            return error
        said = error.message.rstrip(".")
        if error.code == "FORBIDDEN":
            scopes = ", ".join(cast("list[str]", error.details.get("scopes"))) or "a scope"
            return SetupError(f"HUBSPOT_ACCESS_TOKEN lacks {scopes}.", way_out="Add it to the app in HubSpot.")
        if error.code == "NOT_FOUND":
            where = f"{TYPE_SETTING[kind]}={self._types[kind]}"
            return SetupError(f"{where} is no object type of this portal ({said}).", way_out=CHECK)
        return SetupError(f"{said}.", way_out=CHECK)


def _records(raws: Sequence[msgspec.Raw]) -> list[Record]:
    found: list[Record] = []
    for raw in raws:
        try:
            found.append(record_of(msgspec.json.decode(raw, type=WireRecord)))
        except msgspec.MsgspecError:
            continue  # counted by the caller: the answer held more rows than are returned
    return found


def _is_gone(error: _RowError) -> bool:
    # HubSpot: a record that has no associations is told like one that is not there (2026).
    return "NO_ASSOCIATIONS_FOUND" in (error.sub_category or "") or error.category == "OBJECT_NOT_FOUND"
