"""Each guard of the client, once on and once off, on the real emulator: on, nothing comes of its attack."""

import pytest

from lastseat.model import RowResult
from lastseat.stores import hubspot_answers
from lastseat.stores.hubspot import HubSpotClient
from lastseat.writes.delivery import Errand
from tests.hubspot_client.doubles import BOOKINGS, booking, outcomes

GUARDED = pytest.mark.parametrize("guarded", [True, False], ids=["on", "off"])


@GUARDED
async def test_an_upsert_sent_again_makes_no_second_record(desk, monkeypatch, guarded):
    """The answer is lost after HubSpot has written. Off: plain creates, which carry no unique value."""
    batch = HubSpotClient._batch

    async def creates(self, slot, object_type, verb, body):
        if verb != "upsert":
            return await batch(self, slot, object_type, verb, body)
        plain = [
            {"properties": {name: value for name, value in one["properties"].items() if name != "booking_id"}}
            for one in body["inputs"]
        ]
        return await batch(self, slot, object_type, "create", {"inputs": plain})

    if not guarded:
        monkeypatch.setattr(HubSpotClient, "_batch", creates)
    desk.portal.faults("drop=1x")
    await desk.create(booking(1))
    assert (len(desk.portal.emulator.store.portal.types[BOOKINGS].records) == 1) is guarded


@GUARDED
async def test_results_are_matched_by_name_and_not_by_position(desk, monkeypatch, guarded):
    def in_order(rows, told):
        pairs = zip(rows, told, strict=False)
        return {row.ident: RowResult(key=row.key, outcome="written", record=record) for row, (_, record) in pairs}

    if not guarded:
        monkeypatch.setattr(hubspot_answers, "_written", in_order)
    desk.portal.switch(upsert_order="reversed")
    rows = [booking(number) for number in range(4)]
    results = await desk.create(*rows)
    names = [result.record.properties["student_name"] for result in results]
    assert (names == [row.properties["student_name"] for row in rows]) is guarded


@GUARDED
async def test_one_bad_row_costs_its_99_neighbours_nothing(desk, monkeypatch, guarded):
    """HubSpot refuses the batch as a whole and names nobody. Off: the batch is not parted."""

    async def stays_whole(self, rows):
        return None

    if not guarded:
        monkeypatch.setattr(Errand, "_part", stays_whole)
    desk.portal.switch(heed_trace_ids=False)
    rows = [booking(number) for number in range(99)] + [booking(99, properties={"exam_date": "soon"})]
    results = await desk.create(*rows)
    assert outcomes(results).count("written") == len(desk.portal.bookings()) == (99 if guarded else 0)
