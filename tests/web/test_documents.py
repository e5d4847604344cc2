"""What the documents say is what comes out: the reads against the contract's types, the page against the table."""

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lastseat.model import Booking, BookingId, ContactId, ExamId, Gate
from lastseat.ports import View
from lastseat.reads.bookings import FILTERS, BookingReads
from lastseat.reads.counts import SeatLooks
from lastseat.reads.exams import ExamReads
from lastseat.settings import Settings
from lastseat.web import contract
from lastseat.web.documents import Bookings, Capacity, Exams, OneBooking
from lastseat.web.openapi import operations
from lastseat.web.problems import STATUS
from lastseat.web.roles import PERMISSIONS
from tests.reads.fakes import Supabase

PAGE = (Path(__file__).parents[2] / "docs/http.md").read_text("utf-8")


class Passing:
    """Views, gates and a bulletin that keep nothing; `stale` marks what comes through."""

    def __init__(self, *, stale: bool) -> None:
        self.stale = stale

    def subscribe(self, listener: Callable[..., None]) -> None: ...

    async def look(self, exam_ids: Any) -> dict[ExamId, Gate]:
        return {}

    async def put(self, gates: Any) -> None: ...

    async def exams(self, fill: Callable[[], Awaitable[bytes]]) -> View:
        return View(body=await fill(), filled_at=0.0, stale=self.stale)

    async def bookings(self, contact_id: ContactId, fill: Callable[[], Awaitable[bytes]]) -> View:
        return await self.exams(fill)


@pytest.fixture
def supabase() -> Supabase:
    supabase = Supabase()
    supabase.add("9001", taken=3)
    ahead = datetime.now(UTC) + timedelta(days=9)
    [exam] = supabase.listed
    supabase.listed = [msgspec.structs.replace(exam, exam_date=ahead.date(), starts_at=ahead)]
    supabase.booked = [Booking(booking_id=BookingId("LS-1"), contact_id=ContactId("501"), is_active="Pending")]
    return supabase


def undocumented(said: Any, kind: Any) -> set[str]:
    """The names in an answer that its type does not have; nested lists and objects one level down."""
    fields = {field.name: field.type for field in msgspec.structs.fields(kind)}
    unknown = set(said) - set(fields)
    for name, value in said.items():
        inner = getattr(fields.get(name), "__args__", (fields.get(name),))[0]
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, dict) and isinstance(inner, type) and issubclass(inner, msgspec.Struct):
                unknown |= undocumented(part, inner)
    return unknown


def holds(body: bytes, kind: Any) -> None:
    msgspec.json.decode(body, type=kind)
    assert undocumented(msgspec.json.decode(body), kind) == set()


@pytest.mark.parametrize("stale", [False, True])
async def test_the_reads_answer_what_the_contract_documents(supabase: Supabase, stale: bool):
    through: Any = Passing(stale=stale)
    exams = ExamReads(supabase, SeatLooks(through, supabase), through, through, Settings())
    bookings = BookingReads(supabase, through, through, Settings())
    body = await exams.available()
    assert len(msgspec.json.decode(body)["exams"]) == 1
    holds(body, Exams)
    holds(await exams.capacity(ExamId("9001")), Capacity)
    holds(await bookings.list_for(ContactId("501"), filter="all", page=1, limit=5), Bookings)
    holds(await bookings.list_all(filter="all", page=1, limit=5), Bookings)
    holds(await bookings.of_exam(ExamId("9001"), page=1, limit=5), Bookings)
    holds(await bookings.one("LS-1", owner=ContactId("501")), OneBooking)
    holds(await bookings.one("LS-1", owner=None), OneBooking)


def test_an_undocumented_name_would_be_seen():
    body = {"success": True, "booking": {"booking_id": "1", "surprise": 1}, "extra": 2}
    assert undocumented(body, OneBooking) == {"surprise", "extra"}


def test_the_contract_takes_the_filters_and_pages_that_the_reads_know():
    assert set(contract.Filter.__args__) == set(FILTERS)


def test_the_page_names_every_endpoint_every_code_and_every_permission():
    endpoints = set(re.findall(r"^\| (GET|POST|DELETE|PUT) `([^`]+)`", PAGE, re.MULTILINE))
    assert endpoints == set(operations(demo=True))
    codes = {code: int(status) for code, status in re.findall(r"^\| `([A-Z_]+)` \| (\d{3}) \|", PAGE, re.MULTILINE)}
    assert codes == STATUS
    assert all(f"`{permission}`" in PAGE for permission in PERMISSIONS)


def test_the_page_names_every_spelling_of_every_field():
    for field in contract.CreateBody.model_fields.values():
        for name in field.validation_alias.choices:
            assert f"`{name}`" in PAGE
    for name in contract.READ_OVER:
        assert f"`{name}`" in PAGE or name != name.lower()
