"""The emulator driven by HubSpot's own two SDKs, over both path families: they are the judges of its shapes."""

import asyncio
from contextlib import contextmanager

import hubspot
import hubspot_sdk
import pytest
from hubspot.crm import objects as sync_objects
from hubspot.crm import properties as sync_properties
from hubspot.crm import schemas as sync_schemas
from hubspot.crm.associations import v4 as sync_links
from hubspot.discovery.discovery_base import DiscoveryBase
from hubspot.utils.signature import Signature

from hubspot_emulator.settings import Webhook
from hubspot_emulator.webhooks import signature_v1, signature_v3
from tests.emulator.crm import BOOKINGS, CONTACTS, FULL_NAME, running

UNIQUE = "booking_id"


@pytest.fixture
async def crm():
    async with running(calls=1000, switches={"search_lag_ms": 0, "echo_trace_ids": True}) as found:
        yield found


@contextmanager
def sync_client(crm):
    """The sync SDK; it opens a pool for every `.batch_api` it hands out, so all of them are closed here."""
    made = []

    def factory(package, name, config):
        made.append(DiscoveryBase._default_api_factory(package, name, config))
        return made[-1]

    try:
        yield hubspot.Client.create(access_token="pat-demo", host=crm.url, api_factory=factory)
    finally:
        for api in made:
            api.api_client.rest_client.pool_manager.clear()
            api.api_client.close()


def async_client(crm, retries=0):
    """The async SDK, told to refuse every answer that does not fit HubSpot's published schema."""
    return hubspot_sdk.AsyncHubSpot(
        access_token="pat-demo", base_url=crm.url, max_retries=retries, _strict_response_validation=True
    )


def sync_upsert(*names, **values):
    one = sync_objects.SimplePublicObjectBatchInputUpsert
    inputs = [
        one(id=n, id_property=UNIQUE, object_write_trace_id=f"t-{n}", properties={UNIQUE: n, **values}) for n in names
    ]
    return sync_objects.BatchInputSimplePublicObjectBatchInputUpsert(inputs=inputs)


def upserts(*names, **values):
    return [
        {"id": n, "id_property": UNIQUE, "object_write_trace_id": f"t-{n}", "properties": {UNIQUE: n, **values}}
        for n in names
    ]


async def test_sync_sdk_writes_and_reads_batches(crm):
    def drive(client):
        batch = client.crm.objects.batch_api
        made = batch.upsert(BOOKINGS, sync_upsert("B-1", "B-2", exam_date="2026-12-05"))
        again = batch.upsert(FULL_NAME, sync_upsert("B-1", attendance="Yes"))
        ids = [sync_objects.SimplePublicObjectId(id=name) for name in ("B-1", "B-2", "B-3")]
        asked = sync_objects.BatchReadInputSimplePublicObjectId(
            inputs=ids, id_property=UNIQUE, properties=[UNIQUE, "exam_date"], properties_with_history=[]
        )
        read = batch.read(BOOKINGS, asked)
        gone = sync_objects.BatchInputSimplePublicObjectId(
            inputs=[sync_objects.SimplePublicObjectId(id=made.results[0].id)]
        )
        batch.archive(BOOKINGS, gone)
        return made, again, read

    with sync_client(crm) as client:
        made, again, read = await asyncio.to_thread(drive, client)
    assert {one.properties[UNIQUE] for one in made.results} == {"B-1", "B-2"}
    assert [one.new for one in again.results] == [False]
    assert {one.object_write_trace_id for one in made.results} == {"t-B-1", "t-B-2"}
    assert type(read).__name__ == "BatchResponseSimplePublicObjectWithErrors"
    assert (read.num_errors, read.errors[0].category) == (1, "OBJECT_NOT_FOUND")
    assert {one.properties["exam_date"] for one in read.results} == {"2026-12-05"}
    assert len(await crm.names()) == 1


async def test_sync_sdk_reads_a_207(crm):
    with sync_client(crm) as client:
        batch = sync_upsert("good", "bad")
        batch.inputs[1].properties["exam_date"] = "soon"
        answer = await asyncio.to_thread(client.crm.objects.batch_api.upsert, BOOKINGS, batch)
    assert type(answer).__name__ == "BatchResponseSimplePublicUpsertObjectWithErrors"
    assert answer.errors[0].context["objectWriteTraceId"] == ["t-bad"]
    assert [one.properties[UNIQUE] for one in answer.results] == ["good"]


async def test_sync_sdk_does_single_records_lists_and_search(crm):
    def drive(client):
        basic = client.crm.objects.basic_api
        new = sync_objects.SimplePublicObjectInputForCreate(properties={UNIQUE: "B-1"}, associations=[])
        made = basic.create(BOOKINGS, new)
        change = sync_objects.SimplePublicObjectInput(properties={"attendance": "Yes"})
        basic.update(BOOKINGS, made.id, change)
        read = basic.get_by_id(BOOKINGS, made.id, properties=["attendance"])
        page = basic.get_page(BOOKINGS, limit=1, properties=[UNIQUE])
        everything = client.crm.objects.get_all(BOOKINGS)
        one = sync_objects.Filter(property_name=UNIQUE, operator="EQ", value="B-1")
        request = sync_objects.PublicObjectSearchRequest(
            filter_groups=[sync_objects.FilterGroup(filters=[one])], limit=10, properties=[UNIQUE], sorts=[UNIQUE]
        )
        found = client.crm.objects.search_api.do_search(BOOKINGS, request)
        basic.archive(BOOKINGS, made.id)
        archived = basic.get_page(BOOKINGS, archived=True)
        return made, read, page, everything, found, archived

    with sync_client(crm) as client:
        made, read, page, everything, found, archived = await asyncio.to_thread(drive, client)
    assert read.properties["attendance"] == "Yes"
    assert [one.id for one in page.results] == [one.id for one in everything] == [made.id]
    assert (found.total, found.results[0].id) == (1, made.id)
    assert [one.id for one in archived.results] == [made.id]


async def test_sync_sdk_links_records(crm):
    booking, contact = await crm.create(), await crm.create("contacts")

    def drive(client):
        label = client.crm.associations.v4.schema.definitions_api.get_all(BOOKINGS, CONTACTS).results[0]
        batch = client.crm.associations.v4.batch_api
        spec = sync_links.AssociationSpec(association_category=label.category, association_type_id=label.type_id)
        ends = {"_from": sync_links.PublicObjectId(id=booking), "to": sync_links.PublicObjectId(id=contact)}
        link = sync_links.PublicAssociationMultiPost(types=[spec], **ends)
        made = batch.create(BOOKINGS, CONTACTS, sync_links.BatchInputPublicAssociationMultiPost(inputs=[link]))
        one = sync_links.PublicFetchAssociationsBatchRequest(id=booking)
        asked = sync_links.BatchInputPublicFetchAssociationsBatchRequest(inputs=[one])
        read = batch.get_page(BOOKINGS, CONTACTS, asked)
        end = sync_links.PublicAssociationMultiArchive(_from=ends["_from"], to=[ends["to"]])
        batch.archive(BOOKINGS, CONTACTS, sync_links.BatchInputPublicAssociationMultiArchive(inputs=[end]))
        return label, made, read, batch.get_page(BOOKINGS, CONTACTS, asked)

    with sync_client(crm) as client:
        label, made, read, after = await asyncio.to_thread(drive, client)
    assert label.category == "USER_DEFINED"
    assert (made.results[0].from_object_id, made.results[0].to_object_id) == (booking, contact)
    assert read.results[0].to[0].to_object_id == contact
    assert after.errors[0].context["fromObjectId"] == [booking]


async def test_sync_sdk_defines_properties_and_objects(crm):
    def drive(client):
        core = client.crm.properties.core_api
        new = sync_properties.PropertyCreate(
            name="lastseat_id",
            label="Id",
            type="string",
            field_type="text",
            group_name="bookings_information",
            has_unique_value=True,
        )
        made = core.create(BOOKINGS, new)
        names = {one.name for one in core.get_all(BOOKINGS).results}
        core.archive(BOOKINGS, "lastseat_id")
        schema = sync_schemas.ObjectSchemaEgg(
            name="rooms",
            labels=sync_schemas.ObjectTypeDefinitionLabels(singular="Room", plural="Rooms"),
            required_properties=[],
            properties=[
                sync_schemas.ObjectTypePropertyCreate(name="number", label="No", type="string", field_type="text")
            ],
            associated_objects=[BOOKINGS],
        )
        room = client.crm.schemas.core_api.create(schema)
        return made, names, room, client.crm.schemas.core_api.get_all().results

    with sync_client(crm) as client:
        made, names, room, everything = await asyncio.to_thread(drive, client)
    assert made.has_unique_value is True
    assert {"lastseat_id", "exam_date"} <= names
    assert {one.name for one in everything} == {"bookings", "mock_exams", "rooms"}
    assert room.associations[0].to_object_type_id


async def test_sync_sdk_sees_refusals_as_refusals(crm):
    await crm.limits(calls=0)
    with sync_client(crm) as client, pytest.raises(sync_objects.ApiException) as refused:
        await asyncio.to_thread(client.crm.objects.basic_api.get_page, BOOKINGS)
    assert refused.value.status == 429
    assert "TEN_SECONDLY_ROLLING" in refused.value.body


async def test_async_sdk_writes_and_reads_batches(crm):
    async with async_client(crm) as client:
        custom = client.crm.objects.custom
        made = await custom.batch.upsert(BOOKINGS, inputs=upserts("B-1", "B-2", exam_date="2026-12-05"))
        assert {one.properties[UNIQUE] for one in made.results} == {"B-1", "B-2"}
        assert all(one.new for one in made.results)
        read = await custom.batch.get(
            FULL_NAME,
            inputs=[{"id": "B-1"}],
            id_property=UNIQUE,
            properties=["exam_date"],
            properties_with_history=[],
        )
        assert read.results[0].properties["exam_date"] == "2026-12-05"
        ref = {"id": read.results[0].id}
        changed = await custom.batch.update(BOOKINGS, inputs=[ref | {"properties": {"attendance": "Yes"}}])
        assert changed.results[0].properties["attendance"] == "Yes"
        await custom.batch.delete(BOOKINGS, inputs=[ref])
    assert await crm.names() == ["B-2"]


async def test_async_sdk_does_single_records_lists_and_search(crm):
    async with async_client(crm) as client:
        custom = client.crm.objects.custom
        made = await custom.create(BOOKINGS, properties={UNIQUE: "B-1"}, associations=[])
        await custom.update(made.id, object_type=BOOKINGS, properties={"attendance": "Yes"})
        read = await custom.get(made.id, object_type=BOOKINGS, properties=["attendance"])
        assert read.properties["attendance"] == "Yes"
        one = {"property_name": UNIQUE, "operator": "EQ", "value": "B-1"}
        found = await custom.search(
            BOOKINGS, filter_groups=[{"filters": [one]}], limit=10, properties=[UNIQUE], sorts=[], after="0"
        )
        assert (found.total, found.results[0].id) == (1, made.id)
        await custom.delete(made.id, object_type=BOOKINGS)
    assert await crm.names() == []


async def test_async_sdk_links_records(crm):
    booking, contact = await crm.create(), await crm.create("contacts")
    pair = {"from_object_type": BOOKINGS}
    async with async_client(crm) as client:
        label = (await client.crm.associations_schema.labels.list_labels(CONTACTS, **pair)).results[0]
        types = [{"association_category": label.category, "association_type_id": label.type_id}]
        batch = client.crm.associations.batch
        link = {"from": {"id": booking}, "to": {"id": contact}, "types": types}
        made = await batch.create(CONTACTS, **pair, inputs=[link])
        assert made.results[0].to_object_id == contact
        read = await batch.get(CONTACTS, **pair, inputs=[{"id": booking}])
        assert read.results[0].to[0].association_types[0].type_id == label.type_id
        await batch.delete(CONTACTS, **pair, inputs=[{"from": {"id": booking}, "to": [{"id": contact}]}])
        default = {"from": {"id": booking}, "to": {"id": contact}}
        assert (await batch.create_default(CONTACTS, **pair, inputs=[default])).results[0].to.id == contact


async def test_async_sdk_reads_definitions(crm):
    async with async_client(crm) as client:
        found = {one.name: one for one in (await client.crm.properties.list(BOOKINGS)).results}
        assert found[UNIQUE].has_unique_value is True
        schema = await client.crm.object_schemas.get(BOOKINGS)
        assert schema.fully_qualified_name == FULL_NAME


async def test_async_sdk_silently_resends_a_create_whose_answer_was_lost(crm):
    """hubspot.md: `hubspot-sdk` … silently resends POST batch/create after a 502; so it is a test driver only."""
    await crm.faults("502@batch_create=1x")
    async with async_client(crm, retries=2) as client:
        new = {"properties": {"attendance": "Yes"}, "associations": []}
        await client.crm.objects.custom.batch.create(BOOKINGS, inputs=[new])
    assert len(await crm.names()) == 2


def test_signatures_are_those_of_hubspots_own_library():
    """Signature v3: base64 HMAC-SHA256(secret, method + full URI + raw body + timestamp); v1: hex SHA-256."""
    secret, body, url, stamp = Webhook().secret, '[{"objectId":1}]', "https://example.com/hook", 1_790_000_000_000
    v1 = Signature.get_signature(secret, body, "v1")
    v3 = Signature.get_signature(secret, body, "v3", url, "POST", str(stamp))
    assert signature_v1(secret, body.encode()) == v1
    assert signature_v3(secret, "POST", url, body.encode(), stamp) == v3
