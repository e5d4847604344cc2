"""What the client needs of HubSpot, on the emulator always and on a live portal when asked: docs/live-portal.md.

Each test says the rule of HubSpot's that it checks.
"""

from datetime import UTC, datetime

import pytest

from lastseat.errors import SetupError
from lastseat.model import BookingId, Record
from lastseat.stores.hubspot import OBJECTS_MOST
from lastseat.stores.hubspot_codec import Codec
from lastseat.stores.hubspot_portal import HubSpotPortal
from lastseat.stores.rate_window import heard
from tests.contract.portals import LIVE_URL, Emulated, Live, NotOurs, Visit, targets, visiting
from tests.emulator.crm import BOOKINGS, running
from tests.hubspot_client.doubles import outcomes

TARGETS = targets()


@pytest.fixture(params=TARGETS)
async def visit(request: pytest.FixtureRequest):
    async with TARGETS[request.param].visit() as found:
        yield found


def always() -> bool:
    return True


async def test_an_upsert_makes_a_new_row_and_changes_a_known_one(visit: Visit):
    """Results add `new: bool` … Upsert by a unique property is the safe resend."""
    [first] = await visit.upsert(visit.row(1))
    rows = [visit.row(1, attendance="Yes"), visit.row(2)]
    status, body = await visit.batch("upsert", [visit.untraced(row) for row in rows])
    name = visit.settings.hubspot_booking_key
    assert status == 200
    assert {one["properties"][name]: one["new"] for one in body["results"]} == {
        visit.key(1): False,
        visit.key(2): True,
    }
    assert await visit.upsert(visit.row(1)) == [first]
    assert (await visit.read(1))[1]["attendance"] == "Yes"


async def test_results_in_any_order_reach_their_own_rows(visit: Visit):
    """Results are **not in input order** …: match by unique property or trace id, never by position."""
    rows = [visit.row(number) for number in range(12)]
    results = await visit.client.upsert_bookings(await visit.slot(), rows)
    assert outcomes(results) == ["written"] * 12
    for row, result in zip(rows, results, strict=True):
        assert result.record is not None
        assert result.record.properties[visit.settings.hubspot_booking_key] == row.key
    there = await visit.read(*range(12))
    assert {number: found["student_name"] for number, found in there.items()} == {
        number: f"Student {number}" for number in range(12)
    }


async def test_trace_ids_write_the_good_rows_beside_a_poison_row(visit: Visit):
    """`objectWriteTraceId` turns one bad row … into "207, good rows written"; `date` = `YYYY-MM-DD` or epoch ms."""
    rows = [visit.row(1), visit.row(2, exam_date="soon"), visit.row(3)]
    results = await visit.delivery.create(await visit.slot(), rows, always)
    assert outcomes(results) == ["written", "refused", "written"]
    assert results[1].reason
    assert visit.client.sent == 1, "the poison row was not found by its trace id"
    assert set(await visit.read(1, 2, 3)) == {1, 3}


async def test_without_trace_ids_a_poison_row_keeps_its_neighbours_out(visit: Visit):
    """… one bad row from "400, nothing written": this is why the client sends trace ids."""
    rows = [visit.row(1), visit.row(2, exam_date="soon")]
    status, _ = await visit.batch("upsert", [visit.untraced(row) for row in rows])
    assert status == 400
    assert await visit.read(1, 2) == {}


async def test_an_id_that_is_twice_in_a_batch_refuses_all_of_it(visit: Visit):
    """A duplicate id inside one batch is 400 for the whole request, trace ids or not (L). Dedupe first."""
    rows = [visit.row(1), visit.row(1, attendance="Yes"), visit.row(2)]
    results = await visit.client.upsert_bookings(await visit.slot(), rows)
    assert outcomes(results) == ["portal"] * 3
    assert all(result.together for result in results)
    assert await visit.read(1, 2) == {}
    assert outcomes(await visit.delivery.create(await visit.slot(), rows, always)) == ["written"] * 3
    assert (await visit.read(1))[1]["attendance"] == "Yes"


async def test_one_row_more_than_a_batch_takes_is_refused(visit: Visit):
    """Object batches take at most **100** inputs."""
    inputs = [visit.untraced(visit.row(number)) for number in range(OBJECTS_MOST + 1)]
    assert (await visit.batch("upsert", inputs))[0] == 400
    assert await visit.read(0, OBJECTS_MOST) == {}


async def test_a_read_back_by_the_unique_property_finds_what_is_there_at_once(visit: Visit):
    """To resolve an unknown outcome use `batch/read` with `idProperty`; **never search** (it lags)."""
    [hubspot_id] = await visit.upsert(visit.row(1))
    records = await visit.client.read_bookings(await visit.slot(), [BookingId(visit.key(n)) for n in (2, 1)])
    assert [record.hubspot_id for record in records] == [hubspot_id]
    assert await visit.read(2) == {}


async def test_a_taken_over_row_is_read_back_and_not_sent_again(visit: Visit):
    """There is **no idempotency key** … after any failed batch, each row's outcome is unknown until read back."""
    [hubspot_id] = await visit.upsert(visit.row(1))
    before = visit.client.sent
    row = visit.row(1)
    again = type(row)(**{name: getattr(row, name) for name in row.__struct_fields__} | {"taken_over": True})
    [result] = await visit.delivery.create(await visit.slot(), [again], always)
    assert result.record is not None
    assert (result.outcome, result.record.hubspot_id) == ("written", hubspot_id)
    assert visit.client.sent == before + 1


async def test_a_cancel_updates_by_hubspots_own_id(visit: Visit):
    """batch … update: `{id, properties}`; Values are strings on the wire."""
    [hubspot_id] = await visit.upsert(visit.row(1))
    cancel = {"is_active": "Cancelled", "booking_status": "cancelled"}
    rows = [visit.change("cancel", 1, hubspot_id, properties=cancel)]
    assert outcomes(await visit.delivery.cancel(await visit.slot(), rows, always)) == ["written"]
    found = (await visit.read(1))[1]
    assert {name: found[name] for name in cancel} == cancel
    assert found["student_name"] == "Student 1"


async def test_a_record_that_is_gone_does_not_stop_its_neighbours(visit: Visit):
    """read/update/upsert 200, any of them **207** on partial success; batch archive 204."""
    gone, there = await visit.upsert(visit.row(1), visit.row(2))
    await visit.archive(gone)
    cancel = {"is_active": "Cancelled"}
    rows = [visit.change("cancel", n, one, properties=cancel) for n, one in ((1, gone), (2, there))]
    assert outcomes(await visit.client.update_bookings(await visit.slot(), rows)) == ["missing", "written"]
    assert outcomes(await visit.delivery.cancel(await visit.slot(), rows, always)) == ["written"] * 2
    assert set(await visit.read(1, 2)) == {2}
    read = await visit.client.read(await visit.slot(), "bookings", [gone, there])
    assert [record.hubspot_id for record in read.records] == [there]


async def test_an_unknown_property_is_the_portals_fault(visit: Visit):
    """Unknown or read-only property: 400 `PROPERTY_DOESNT_EXIST`, `READ_ONLY_VALUE`."""
    bad = visit.row(1, lstest_no_such_property="x")
    status, body = await visit.batch("upsert", [visit.untraced(bad)])
    assert status == 400
    assert "PROPERTY_DOESNT_EXIST" in str(body)
    assert outcomes(await visit.client.upsert_bookings(await visit.slot(), [bad])) == ["portal"]
    assert await visit.read(1) == {}


async def test_a_property_without_a_value_is_null_or_not_there(visit: Visit):
    """`""` clears; unset reads back as null or is absent (**?**: treat absent = null = "")."""
    await visit.upsert(visit.row(1, attending_location="Calgary"))
    await visit.upsert(visit.row(1, attending_location=""))
    found = (await visit.read(1))[1]
    assert not found.get("attendance")
    assert not found.get("attending_location")


async def test_a_date_is_the_day_in_both_its_forms(visit: Visit):
    """`date` = `YYYY-MM-DD` or epoch ms at midnight UTC: compute the date in the business time zone first."""
    codec = Codec("America/Toronto", visit.settings.hubspot_booking_key)
    evening = datetime(2031, 3, 6, 4, 30, tzinfo=UTC)
    text = codec.encode({"exam_date": codec.business_date(evening)})
    number = str(int(datetime(2031, 3, 5, tzinfo=UTC).timestamp() * 1000))
    await visit.upsert(visit.row(1, **text), visit.row(2, exam_date=number))
    for properties in (await visit.read(1, 2)).values():
        assert codec.booking_facts(Record(hubspot_id="1", properties=properties)).fields["exam_date"] == "2031-03-05"


async def test_a_record_says_when_it_was_made_and_changed(visit: Visit):
    """System properties: … custom objects `hs_createdate`, `hs_lastmodifieddate`."""
    await visit.upsert(visit.row(1))
    [record] = await visit.client.read_bookings(await visit.slot(), [BookingId(visit.key(1))])
    assert record.created_at is not None
    assert record.updated_at is not None
    assert record.updated_at >= record.created_at


@pytest.mark.parametrize("kind", ["link_contact", "link_exam"])
async def test_links_are_discovered_made_and_seen_from_the_booking(visit: Visit, kind):
    """Association type ids of custom-object pairs are `USER_DEFINED` and differ per portal: discover them."""
    first, second = await visit.upsert(visit.row(1), visit.row(2))
    to = "contacts" if kind == "link_contact" else "exams"
    end = await (visit.make_contact() if to == "contacts" else visit.make_exam())
    assert (await visit.client.learn(await visit.slot(), kind)).category == "USER_DEFINED"
    row = visit.change(kind, 1, first, contact_id=end, exam_id=end)
    for _ in range(2):
        assert outcomes(await visit.delivery.link(await visit.slot(), kind, [row], always)) == ["written"]
    # Reading the associations of a record that has none gives a benign 207 row `NO_ASSOCIATIONS_FOUND` (L).
    assert await visit.client.ends(await visit.slot(), [first, second], to) == {first: [end], second: []}


async def test_the_bookings_of_an_exam_are_seen_from_the_exam(visit: Visit):
    """associations batch create, read: both ends know the link."""
    [booking], exam = await visit.upsert(visit.row(1)), await visit.make_exam()
    assert await visit.client.bookings_of(await visit.slot(), exam, None) == ([], None)
    row = visit.change("link_exam", 1, booking, exam_id=exam)
    assert outcomes(await visit.delivery.link(await visit.slot(), "link_exam", [row], always)) == ["written"]
    assert await visit.client.bookings_of(await visit.slot(), exam, None) == ([booking], None)


async def test_an_exams_count_is_written_by_its_id(visit: Visit):
    """Exam properties: … capacity, total_bookings"""
    exam = await visit.make_exam()
    row = visit.change("count", 1, "", exam_id=exam, properties={"total_bookings": "7"})
    assert outcomes(await visit.delivery.count(await visit.slot(), [row], always)) == ["written"]
    [record] = await visit.client.read_exams(await visit.slot(), [exam], by_key=False)
    assert record.properties["total_bookings"] == "7"


async def test_the_key_of_bookings_is_unique_in_the_portal(visit: Visit):
    """`idProperty` must name a property with `hasUniqueValue`."""
    await visit.client.need_key(await visit.slot())


async def test_replies_tell_how_full_the_window_is(visit: Visit):
    """Headers …: `X-HubSpot-RateLimit-Max`, `-Remaining`, `-Interval-Milliseconds`, `-Daily`, `-Daily-Remaining`."""
    await visit.upsert(visit.row(1))
    news = heard(visit.headers)
    assert news.max is not None
    assert news.remaining is not None
    assert 0 <= news.remaining < news.max
    assert news.interval_s == 10
    assert (await visit.budget.status())["known"] is True


async def test_a_token_that_is_none_is_refused_in_words(visit: Visit):
    """401/403: stop and say which scope is missing. Every error field is optional."""
    async with visit.client_with("pat-not-a-token") as other:
        [result] = await other.upsert_bookings(await visit.slot(), [visit.row(1)])
        answer = await other._call(await visit.slot(), "GET", visit.paths.of("schemas"))
    assert result.outcome == "portal"
    assert result.reason
    assert "pat-not-a-token" not in result.reason
    assert answer.status == 401
    assert await visit.read(1) == {}


async def test_a_custom_objects_bare_name_is_refused(visit: Visit):
    """A custom object's bare name is refused: 400 "Unable to infer object type from: …" (L)."""
    portal = HubSpotPortal(visit.settings)
    shapes = await portal.objects(await visit.slot())
    await portal.close()
    [name] = [shape.name for shape in shapes if shape.type_id == visit.settings.hubspot_booking_type]
    status, body = await visit.call("GET", visit.paths.of("list", type=name))
    assert status == 400
    assert "Unable to infer object type from" in body["message"]


async def test_lists_are_paged_by_an_opaque_after(visit: Visit):
    """List page: default 10, max 100, opaque `after`."""
    await visit.upsert(visit.row(1), visit.row(2), visit.row(3))
    path = visit.paths.of("list", type=visit.settings.hubspot_booking_type)
    _, first = await visit.call("GET", f"{path}?limit=2")
    _, second = await visit.call("GET", f"{path}?limit=2&after={first['paging']['next']['after']}")
    assert len(first["results"]) == 2
    assert {one["id"] for one in first["results"]}.isdisjoint(one["id"] for one in second["results"])
    assert (await visit.call("GET", f"{path}?limit=101"))[0] == 400
    page = await visit.client.page(await visit.slot(), "bookings", after=None, archived=False)
    # Other visits of the same portal come and go, so only the shape of the whole page is sure.
    assert page.unreadable == 0
    assert 3 <= len({record.hubspot_id for record in page.records}) == len(page.records) <= 100


async def test_the_archived_list_holds_archived_records_only(visit: Visit):
    """`archived=true` lists archived records only."""
    gone, _ = await visit.upsert(visit.row(1), visit.row(2))
    await visit.archive(gone)
    page = await visit.client.page(await visit.slot(), "bookings", after=None, archived=True)
    assert page.records
    assert all(record.archived for record in page.records)


# How a live portal is kept safe.


def test_without_a_live_token_there_is_no_live_portal():
    assert set(targets({})) == {"emulator-v3", "emulator-dated"}
    assert set(targets({"HUBSPOT_LIVE_TOKEN": "x"})) == {"emulator-v3", "emulator-dated", "live"}


def test_a_live_portal_needs_its_object_types_named():
    with pytest.raises(SetupError, match="HUBSPOT_BOOKING_TYPE and HUBSPOT_EXAM_TYPE"):
        _ = Live({"HUBSPOT_LIVE_TOKEN": "x"}).settings


def test_a_live_portal_is_hubspot_itself_at_a_slow_pace():
    given = Live({"HUBSPOT_LIVE_TOKEN": "x", "HUBSPOT_BOOKING_TYPE": "2-1", "HUBSPOT_EXAM_TYPE": "2-2"})
    assert given.settings.hubspot_base_url == LIVE_URL
    assert given.budget is given.budget
    assert given.budget._share == 20


async def foreign_and_visit_on(crm):
    foreign = await crm.create(booking_id="B-1", student_name="Ada")
    return foreign, visiting(Emulated("v3").settings(crm.url))


async def use_and_fail(a_visit, crm):
    async with a_visit as visit:
        await visit.upsert(visit.row(1))
        await visit.make_contact()
        await visit.make_exam()
        await crm.faults("drop=1x")
        lost = await visit.client.upsert_bookings(await visit.slot(), [visit.row(2)])
        assert outcomes(lost) == ["unknown"]
        assert len(await crm.names()) == 3
        raise ZeroDivisionError


async def test_a_visit_leaves_nothing_and_touches_nobody_else():
    """Also after a failure, and also the record of an answer that never came."""
    async with running(calls=1000) as crm:
        foreign, a_visit = await foreign_and_visit_on(crm)
        before = (await crm.state())["objects"]
        with pytest.raises(ZeroDivisionError):
            await use_and_fail(a_visit, crm)
        objects = (await crm.state())["objects"]
        there = [one for records in objects.values() for one in records if not one["archived"]]
        assert there == before[BOOKINGS]
        assert [one["id"] for one in there] == [foreign]
        assert sum(len(records) for records in objects.values()) == 5


@pytest.mark.parametrize("attempt", ["update", "archive", "upsert", "link", "create", "search", "delete"])
async def test_a_write_to_a_record_of_others_is_never_sent(attempt):
    async with running(calls=1000) as crm:
        foreign, a_visit = await foreign_and_visit_on(crm)
        async with a_visit as visit:
            one = f"/crm/v3/objects/{BOOKINGS}"
            input_ = {"id": foreign, "properties": {"booking_id": "B-1"}, "idProperty": "booking_id"}
            pair = {"inputs": [{"from": {"id": foreign}, "to": {"id": "1"}, "types": []}]}
            method, path, body = {
                "link": ("POST", f"/crm/v4/associations/{BOOKINGS}/0-1/batch/create", pair),
                "create": ("POST", one, {"properties": {"booking_id": "B-2"}}),
                "search": ("POST", f"{one}/search", {}),
                "delete": ("DELETE", f"{one}/{foreign}", None),
            }.get(attempt, ("POST", f"{one}/batch/{attempt}", {"inputs": [input_]}))
            before = len(await crm.log())
            with pytest.raises(NotOurs):
                await visit.call(method, path, body)
            assert len(await crm.log()) == before
