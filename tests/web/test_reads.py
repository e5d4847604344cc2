"""Reading over HTTP: filters, pages, ETags, and that a bad question is answered with what is allowed."""

import gzip
from datetime import date

import msgspec
import pytest

from lastseat.web.answers import SharedBodies
from lastseat.web.documents import Bookings, Capacity, Exams, OneBooking
from tests.web.caller import Caller
from tests.web.fakes import BOOKING, EXAM, World, staff, student

AVAILABLE = "/api/mock-exams/available"


async def test_the_list_of_exams_is_public(caller: Caller, world: World):
    reply = await caller.get(AVAILABLE)
    assert reply.status == 200
    assert msgspec.json.decode(reply.body, type=Exams).exams[0].remaining == 3
    assert world.exams.asked == [{}]


async def test_filters_reach_the_list_and_empty_ones_do_not(caller: Caller, world: World):
    await caller.get(f"{AVAILABLE}?mock_type=Clinical%20Skills&location=&from=2031-03-05&to=2031-03-05&_=17")
    day = date(2031, 3, 5)
    assert world.exams.asked == [{"mock_type": "Clinical Skills", "location": None, "date_from": day, "date_to": day}]


BAD_EXAMS = [
    ("from=5.3.2031", "from"),
    ("to=2031-02-30", "to"),
    ("from=20310305", "from"),
    ("from=1700000000", "from"),
    ("from=2031-03-06&to=2031-03-05", "from"),
    ("mock_type=a%00b", "mock_type"),
    ("mock_type=" + "x" * 201, "mock_type"),
]


@pytest.mark.parametrize(("query", "field"), BAD_EXAMS)
async def test_a_bad_filter_is_422_naming_it(caller: Caller, world: World, query: str, field: str):
    reply = await caller.get(f"{AVAILABLE}?{query}")
    assert (reply.status, reply.code, reply.json["field"]) == (422, "INVALID", field)
    assert world.exams.asked == []


async def test_an_unchanged_list_is_304_without_a_body(caller: Caller, world: World):
    first = await caller.get(AVAILABLE)
    again = await caller.get(AVAILABLE, headers={"if-none-match": f'"x", {first.headers["etag"]}'})
    assert (again.status, again.body) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    world.exams.body = world.exams.body.replace(b'"remaining":3', b'"remaining":2')
    changed = await caller.get(AVAILABLE, headers={"if-none-match": first.headers["etag"]})
    assert changed.status == 200


async def test_a_copy_must_be_asked_about_before_it_is_shown(caller: Caller):
    assert (await caller.get(AVAILABLE)).headers["cache-control"] == "no-cache"


def test_a_shared_body_is_prepared_once_and_memory_is_bounded():
    shared = SharedBodies()
    body = b"x" * 1000
    assert shared.prepared(body) is shared.prepared(body)
    for number in range(1000):
        shared.prepared(b"%d" % number)
    assert len(shared._prepared) <= 64
    assert shared.prepared(bytes(bytearray(body))).tag == shared.prepared(body).tag


async def test_a_long_body_is_compressed_for_who_takes_it(caller: Caller, world: World):
    world.exams.body = msgspec.json.encode({"success": True, "exams": ["a place of many words"] * 100})
    plain = await caller.get(AVAILABLE)
    small = await caller.get(AVAILABLE, headers={"accept-encoding": "br, gzip"})
    assert gzip.decompress(small.body) == plain.body
    assert len(small.body) < len(plain.body) / 4
    assert small.headers["content-encoding"] == "gzip"
    assert small.headers["vary"] == "accept-encoding"
    assert small.headers["etag"] == plain.headers["etag"]
    assert "content-encoding" not in plain.headers


async def test_capacity_says_the_seats_of_one_exam(caller: Caller):
    reply = await caller.get(f"/api/mock-exams/{EXAM}/capacity")
    assert msgspec.json.decode(reply.body, type=Capacity).remaining == 3


@pytest.mark.parametrize("exam", ["404", "abc", "9001%00", "1" * 21, "%ff", "%ED%A0%80"])
async def test_capacity_of_an_unknown_exam_is_404(caller: Caller, exam: str):
    reply = await caller.get(f"/api/mock-exams/{exam}/capacity")
    assert (reply.status, reply.code) == (404, "EXAM_NOT_FOUND")


async def test_a_list_of_bookings_is_never_stored_on_the_way(caller: Caller, world: World):
    reply = await caller.get("/api/bookings/list?filter=upcoming&page=2&limit=5", token=student())
    assert msgspec.json.decode(reply.body, type=Bookings).pagination.page == 2
    assert reply.headers["cache-control"] == "no-store"
    assert world.bookings.asked == [("501", "upcoming", 2, 5)]


BAD_LISTS = [
    ("page=0", "page"),
    ("page=-1", "page"),
    ("page=1.5", "page"),
    ("page=99999999999999999999", "page"),
    ("limit=0", "limit"),
    ("limit=101", "limit"),
    ("limit=ten", "limit"),
    ("filter=mine", "filter"),
    ("contactId=abc", "contactId"),
    ("contactId=%00", "contactId"),
]


@pytest.mark.parametrize(("query", "field"), BAD_LISTS)
async def test_a_bad_page_is_422_naming_the_field_and_what_is_allowed(
    caller: Caller, world: World, query: str, field: str
):
    reply = await caller.get(f"/api/bookings/list?{query}", token=student())
    assert (reply.status, reply.code, reply.json["field"]) == (422, "INVALID", field)
    assert field in reply.json["error"]
    assert world.bookings.asked == []


async def test_one_booking_is_read_by_its_reference(caller: Caller):
    reply = await caller.get(f"/api/bookings/{BOOKING}", token=student())
    assert msgspec.json.decode(reply.body, type=OneBooking).booking.booking_id == BOOKING


@pytest.mark.parametrize("reference", ["a%20b", "LS-%00", "%ED%A0%80", "x" * 65, "%2e%2e"])
async def test_what_cannot_be_a_booking_is_404(caller: Caller, reference: str):
    reply = await caller.get(f"/api/bookings/{reference}", token=student())
    assert (reply.status, reply.code) == (404, "BOOKING_NOT_FOUND")


async def test_staff_sees_an_exams_bookings_page_by_page(caller: Caller, world: World):
    address = f"/api/admin/mock-exams/{EXAM}/bookings"
    reply = await caller.get(f"{address}?page=2&limit=5", token=staff("exams.edit"))
    await caller.get(address, token=staff("exams.edit"))
    assert len(msgspec.json.decode(reply.body, type=Bookings).bookings) == 2
    assert (reply.status, reply.headers["cache-control"]) == (200, "no-store")
    assert world.bookings.asked == [(EXAM, 2, 5), (EXAM, 1, 20)]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("777/bookings", 404, "EXAM_NOT_FOUND"),
        ("abc/bookings", 404, "EXAM_NOT_FOUND"),
        (f"{EXAM}/bookings?limit=0", 422, "INVALID"),
        (f"{EXAM}/bookings?limit=101", 422, "INVALID"),
        (f"{EXAM}/bookings?page=first", 422, "INVALID"),
    ],
)
async def test_a_wrong_question_about_an_exams_bookings_is_told(caller: Caller, path: str, status: int, code: str):
    reply = await caller.get(f"/api/admin/mock-exams/{path}", token=staff("bookings.view"))
    assert (reply.status, reply.code) == (status, code)
