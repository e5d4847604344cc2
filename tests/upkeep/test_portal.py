"""A portal is checked with nothing written, and set up so that the same check then finds nothing."""

import json

import pytest
from click.testing import CliRunner, Result

from hubspot_emulator.accounts import Accounts
from hubspot_emulator.definitions import define
from hubspot_emulator.standard import DEFAULT_PORTAL_ID, first_events
from lastseat.cli import main
from lastseat.ports import PropertyShape
from lastseat.settings import Settings
from lastseat.stores.hubspot import HubSpotClient
from lastseat.stores.hubspot_portal import HubSpotPortal
from lastseat.upkeep.calls import Calls
from lastseat.upkeep.portal import PortalCheck, findings
from lastseat.upkeep.portal_needs import faults_of_properties, needed_of
from lastseat.writes.delivery import Delivery
from tests.hubspot_client.doubles import (
    BOOKINGS,
    EXAMS,
    FakeBudget,
    FakeSlot,
    Portal,
    booking,
    link,
    running_portal,
    settings_for,
)

BASE = f"/crm/v3/properties/{BOOKINGS}"


class Office:
    """A portal and who looks at it."""

    def __init__(self, portal: Portal) -> None:
        self.portal = portal
        self.opened: list[HubSpotPortal] = []

    def check(self, **settings: str) -> PortalCheck:
        given = settings_for(self.portal.url, **{"hubspot_exam_key": "mock_exam_name_key", **settings})
        self.opened.append(HubSpotPortal(given))
        return PortalCheck(self.opened[-1], Calls(FakeBudget(), given, "portal", patience_s=0.1), given)

    async def findings(self, **settings: str) -> list[str]:
        check = self.check(**settings)
        return [f"{one.subject} {one.fault}" for one in findings(await check.look(), check.settings)]

    async def set_up(self, **settings: str) -> tuple[PortalCheck, dict[str, str]]:
        check = self.check(**settings)
        _, plan = await check.prepared()
        await check.make(plan)
        return check, plan.settings

    def start_over(self, which: str) -> None:
        self.portal.emulator.start_over(first_events(which, DEFAULT_PORTAL_ID))

    def give_exams_their_key(self) -> None:
        ctx = self.portal.emulator.context()
        define(ctx, ctx.portal.types[EXAMS], spec("mock_exam_name_key", hasUniqueValue=True))


def spec(name: str, **more: object) -> dict[str, object]:
    return {"name": name, "label": name, "type": "string", "fieldType": "text", "groupName": "g", **more}


@pytest.fixture
async def office():
    async with running_portal(calls=100_000) as portal:
        found = Office(portal)
        yield found
        for client in found.opened:
            await client.close()


@pytest.fixture
def whole(office: Office) -> Office:
    office.give_exams_their_key()
    return office


async def test_a_portal_that_has_everything_has_no_findings_and_is_not_written_to(whole: Office):
    before = len(whole.portal.emulator.store.portal.types[BOOKINGS].records)
    assert await whole.findings() == []
    assert len(whole.portal.emulator.store.portal.types[BOOKINGS].records) == before
    assert not any(call.committed for call in whole.portal.calls)
    assert len(whole.portal.calls) <= 10


async def test_a_wrong_token_is_the_only_finding(whole: Office):
    assert await whole.findings(hubspot_access_token="pat-wrong") == [
        "HUBSPOT_ACCESS_TOKEN is not accepted by HubSpot"
    ]


async def test_each_missing_scope_is_named(whole: Office):
    kept = ["crm.objects.custom.read", "crm.schemas.custom.read", "crm.schemas.contacts.read"]
    whole.portal.emulator.accounts = Accounts([f"pat-demo={','.join(kept)}"])
    lacking = ["crm.objects.contacts.write", "crm.objects.custom.write"]
    assert await whole.findings() == [f"scope {scope} is missing" for scope in lacking]
    whole.portal.emulator.accounts = Accounts(["pat-demo=crm.objects.custom.read"])
    found = await whole.findings()
    assert set(found) == {f"scope crm.schemas.{kind}.read is missing" for kind in ("contacts", "custom")}


async def test_a_wrong_object_type_is_told_with_the_right_one(whole: Office):
    check = whole.check(hubspot_booking_type="2-1")
    [finding] = findings(await check.look(), check.settings)
    assert finding.subject == "HUBSPOT_BOOKING_TYPE=2-1"
    assert finding.fix == f"Set HUBSPOT_BOOKING_TYPE={BOOKINGS}."


async def test_what_is_missing_or_unfit_is_told_by_name(office: Office):
    office.start_over("empty")
    await office.set_up()
    kinds = {kind.name: kind for kind in office.portal.emulator.store.portal.types.values()}
    bookings = kinds["bookings"]
    bookings.properties.pop("dominant_hand")
    bookings.properties["exam_date"].type = "datetime"
    office.portal.emulator.store.portal.labels.pop((bookings.id, "0-1"))
    found = await office.findings(hubspot_booking_type=bookings.id, hubspot_exam_type=kinds["mock_exams"].id)
    assert found == [
        "bookings property dominant_hand is missing",
        "bookings property exam_date has the type datetime",
        "association from bookings to contacts has no type",
    ]


def test_options_that_do_not_allow_what_is_written_are_told():
    settings = Settings()
    there = [one for one in needed_of(settings, "bookings") if one.name != "is_active"]
    narrow = PropertyShape(name="is_active", type="enumeration", options=["Active", "Completed"])
    [finding] = faults_of_properties(settings, "bookings", [*there, narrow])
    assert (finding.fault, finding.fix) == ("does not allow Cancelled", "Add Cancelled to its options in HubSpot.")
    wide = PropertyShape(name="is_active", type="enumeration", options=["Active", "Cancelled"])
    assert faults_of_properties(settings, "bookings", [*there, wide]) == []
    read_only = PropertyShape(name="is_active", read_only=True)
    assert [one.fault for one in faults_of_properties(settings, "bookings", [*there, read_only])] == ["is read-only"]


async def test_an_empty_portal_is_set_up_and_then_nothing_is_missing(office: Office):
    office.start_over("empty")
    found = await office.findings()
    assert [one.split(" ")[0] for one in found[:2]] == [
        f"HUBSPOT_EXAM_TYPE={EXAMS}",
        f"HUBSPOT_BOOKING_TYPE={BOOKINGS}",
    ]
    check, settings = await office.set_up()
    assert set(settings) == {"HUBSPOT_EXAM_TYPE", "HUBSPOT_BOOKING_TYPE"}
    assert findings(await check.look(), check.settings) == []
    calls = len(office.portal.calls)
    again, settings = await office.set_up(
        hubspot_booking_type=check.settings.hubspot_booking_type, hubspot_exam_type=check.settings.hubspot_exam_type
    )
    assert settings == {}
    assert not any(call.committed for call in list(office.portal.calls)[calls:])
    # Run with the old settings, it finds by their names what it made before.
    _, settings = await office.set_up()
    assert settings["HUBSPOT_BOOKING_TYPE"] == again.settings.hubspot_booking_type


async def test_a_portal_that_was_set_up_takes_bookings_and_links(office: Office):
    office.start_over("empty")
    check, _ = await office.set_up()
    client = HubSpotClient(check.settings)
    try:
        delivery = Delivery(client, FakeBudget(), check.settings)
        assert await delivery.prepare() is None
        [result] = await delivery.create(FakeSlot(), [booking(1, properties={"dominant_hand": "left"})], lambda: True)
        assert result.outcome == "written"
        contact = await office.portal.make("0-1", email="a@b.example")
        [linked] = await delivery.link(
            FakeSlot(), "link_contact", [link(2, result.record.hubspot_id, contact)], lambda: True
        )
        assert linked.outcome == "written"
    finally:
        await client.close()


async def test_a_key_that_is_not_unique_gets_another_one_and_keeps_its_values(office: Office):
    office.give_exams_their_key()
    kind = office.portal.emulator.store.portal.types[BOOKINGS]
    kind.properties["booking_id"].has_unique_value = False
    assert await office.findings() == ["bookings property booking_id is not unique"]
    check, settings = await office.set_up()
    assert settings == {"HUBSPOT_BOOKING_KEY": "lastseat_id"}
    assert kind.properties["lastseat_id"].has_unique_value
    assert findings(await check.look(), check.settings) == []
    _, settings = await office.set_up()
    assert settings == {"HUBSPOT_BOOKING_KEY": "lastseat_id"}
    assert await office.findings(hubspot_booking_key="lastseat_id") == []


async def test_a_broken_set_up_goes_on_where_it_broke(office: Office):
    office.start_over("empty")
    office.portal.faults("502-before@schema_create=1x")
    with pytest.raises(Exception, match="HubSpot"):
        await office.set_up()
    office.portal.faults("drop@schema_create=1x")
    with pytest.raises(Exception, match="lost"):
        await office.set_up()
    check, _ = await office.set_up()
    assert findings(await check.look(), check.settings) == []
    names = [kind.name for kind in office.portal.emulator.store.portal.types.values()]
    assert sorted(names) == ["bookings", "contacts", "mock_exams"]


def shell(portal: Portal, *arguments: str, **more: str) -> Result:
    """The command line over a portal."""
    environment = {
        "HUBSPOT_BASE_URL": portal.url,
        "HUBSPOT_ACCESS_TOKEN": "pat-demo",
        "HUBSPOT_RATE_LIMIT": "10000",
        "HUBSPOT_EXAM_KEY": "mock_exam_name_key",
        "REDIS_URL": "redis://127.0.0.1:1",
        **more,
    }
    return CliRunner().invoke(main, ["portal", *arguments], env=environment, prog_name="lastseat")


def test_the_command_checks_asks_and_sets_up(portal_beside: Portal):
    office = Office(portal_beside)
    office.start_over("empty")
    found = shell(office.portal, "check", "--json")
    said = json.loads(found.stdout)
    assert (found.exit_code, said["complete"], len(said["findings"])) == (1, False, 3)
    assert all(one["fix"] for one in said["findings"])
    asked = shell(office.portal, "setup")
    assert (asked.exit_code, asked.stdout) == (1, "")
    assert "To make: object type mock_exams with its properties" in asked.stderr
    assert not any(call.committed for call in office.portal.calls)
    made = shell(office.portal, "setup", "--yes")
    assert made.exit_code == 0, made.output
    settings = dict(line.split("=") for line in made.stdout.split())
    assert set(settings) == {"HUBSPOT_EXAM_TYPE", "HUBSPOT_BOOKING_TYPE"}
    whole = shell(office.portal, "check", **settings)
    assert whole.exit_code == 0
    assert whole.stdout.startswith("Nothing is missing.")


def test_the_command_says_in_one_line_what_it_cannot_do(portal_beside: Portal):
    wrong = shell(portal_beside, "check", HUBSPOT_ACCESS_TOKEN="pat-wrong")
    assert (wrong.exit_code, len(wrong.stdout.splitlines())) == (1, 1)
    assert "HUBSPOT_ACCESS_TOKEN is not accepted" in wrong.stdout
    assert "pat-wrong" not in wrong.output
    setup = shell(portal_beside, "setup", "--yes", HUBSPOT_ACCESS_TOKEN="pat-wrong")
    assert (setup.exit_code, len(setup.stderr.splitlines())) == (2, 1)
    away = shell(portal_beside, "check", HUBSPOT_ACCESS_TOKEN="")
    assert away.exit_code != 0


async def test_the_emulators_standard_portal_has_everything(office: Office):
    assert await office.findings(hubspot_exam_key="lastseat_exam_id") == []
