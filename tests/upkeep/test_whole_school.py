"""A school's years of bookings, read by the real command, killed twice and gone on with; and a rush meanwhile."""

import asyncio
import itertools
import json
import math
import os
import signal
import sys
from typing import Any

import pytest

from hubspot_emulator.definitions import define
from hubspot_emulator.seeding import Seed, SeedEnd, SeedLink
from lastseat.cli.upkeep import AGAIN
from lastseat.stores.hubspot import HubSpotClient
from lastseat.stores.rate_budget import SharedBudget
from lastseat.stores.redis import RedisTrips
from tests.hubspot_client.doubles import BOOKINGS, CONTACTS, EXAMS, booking, running_portal
from tests.upkeep.world import EXAM, World, world_of

pytestmark = pytest.mark.embedded
STATES = ({"is_active": "Active"}, {"is_active": "Active"}, {"is_active": "Cancelled"}, {"is_active": "Completed"})
COLUMNS = ("booking_id", "student_name", "is_active", "booking_status", "dominant_hand")


class School:
    """40 exams, 3,000 contacts and 10,500 bookings in HubSpot; 10,200 of them changed in the same millisecond."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.portal = world.portal.emulator.store.portal
        bookings = self.portal.types[BOOKINGS]
        bookings.properties["booking_id"].has_unique_value = False
        ctx = world.portal.emulator.context()
        unique = {"name": "lastseat_id", "label": "x", "type": "string", "fieldType": "text", "groupName": "g"}
        define(ctx, bookings, unique | {"hasUniqueValue": True})
        self.exams = world.sow("exams", *({**EXAM, "capacity": str(5 + 10 * n)} for n in range(40)))
        self.contacts = world.sow(
            "contacts", *({"email": f"t{n}@s.example", "student_id": f"T{n}"} for n in range(3_000))
        )
        self.bookings = world.sow("bookings", *(self._booking(n) for n in range(10_200)))
        self.bookings += world.sow("bookings", *(self._booking(n) for n in range(10_200, 10_260)), archived=True)
        self.bookings += self._only_associated(240)
        assert len(self.bookings) == 10_500

    def _booking(self, n: int) -> dict[str, str]:
        contact = self.contacts[n * 7 % 3_000] if n % 50 else f"9{n}"  # of unknown contacts
        return {
            "booking_id": f"Mini-mock-T{n - n % 3}",  # as older apps wrote it: not unique
            "mock_exam_id": self.exams[n % 40],
            "contact_id": contact,
            "student_name": f"Zoë O'Brien {n}",
            "booking_status": "confirmed",
            "dominant_hand": "left" if n % 2 else "right",
            **STATES[n % 4],
        } | ({"lastseat_id": f"LS-{n}"} if n % 5 == 0 else {})

    def _only_associated(self, count: int) -> list[str]:
        found = self.world.sow("bookings", *({"booking_id": f"x{n}", "is_active": "Active"} for n in range(count)))
        links = [
            SeedLink(from_=SeedEnd(type=BOOKINGS, id=one), to=SeedEnd(type=kind, id=other))
            for n, one in enumerate(found)
            for kind, other in ((EXAMS, self.exams[n % 40]), (CONTACTS, self.contacts[n]))
        ]
        self.world.portal.emulator.sow(Seed(associations=links))
        return found

    @property
    def least_calls(self) -> int:
        """Every page of every list, live and archived, and the associations of those that have nothing else."""
        pages = 0
        for kind in (EXAMS, CONTACTS, BOOKINGS):
            for archived in (False, True):
                count = sum((r.archived_at is not None) == archived for r in self.portal.types[kind].records.values())
                pages += max(1, math.ceil(count / 100))
        return pages + 2

    def expected(self, record: Any) -> dict[str, Any]:
        """A booking as the mirror must have it, worked out without any of the code under test."""
        said = record.properties
        ends = self.portal.links.get((BOOKINGS, record.id), {})
        row: dict[str, Any] = {name: said.get(name) or None for name in COLUMNS}
        row["mock_exam_id"] = said.get("mock_exam_id") or next(iter(ends.get(EXAMS, {})), None)
        row["contact_id"] = said.get("contact_id") or next(iter(ends.get(CONTACTS, {})), None)
        row["booking_key"] = said.get("lastseat_id") or None
        row["archived"] = record.archived_at is not None
        row["updated_at"] = said["hs_lastmodifieddate"]
        return row


def shown(row: Any) -> dict[str, Any]:
    found = {name: row[name] for name in (*COLUMNS, "mock_exam_id", "contact_id", "booking_key")}
    at = row["updated_at"].isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return found | {"archived": row["archived_at"] is not None, "updated_at": at}


class Command:
    """`lastseat backfill` as a process."""

    def __init__(self, world: World, redis_url: str) -> None:
        settings = world.settings
        self.environment = {
            **os.environ,
            "SUPABASE_DB_URL": world.url,
            "REDIS_URL": redis_url,
            "HUBSPOT_BASE_URL": settings.hubspot_base_url,
            "HUBSPOT_ACCESS_TOKEN": "pat-demo",
            "HUBSPOT_RATE_LIMIT": str(settings.hubspot_rate_limit),
            "HUBSPOT_BOOKING_KEY": settings.hubspot_booking_key,
        }

    async def start(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "lastseat", "backfill", "--json", env=self.environment,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip

    async def stop_after(self, world: World, calls: int, number: signal.Signals) -> tuple[int, str]:
        """Send it a signal once HubSpot has seen so many calls in all."""
        process = await self.start()
        while world.calls() < calls:
            assert process.returncode is None, (await process.communicate())[1]
            await asyncio.sleep(0.01)
        process.send_signal(number)
        _, err = await process.communicate()
        return process.returncode or 0, err.decode()


async def test_ten_thousand_bookings_killed_twice_end_equal_row_by_row(schema_database_url, redis_url):
    settings = {"hubspot_rate_limit": 100_000, "hubspot_booking_key": "lastseat_id"}
    async with running_portal(calls=100_000) as portal, world_of(portal, schema_database_url, **settings) as world:
        school, command = School(world), Command(world, redis_url)
        assert (await command.stop_after(world, 25, signal.SIGKILL))[0] == -signal.SIGKILL
        assert (await command.stop_after(world, 90, signal.SIGKILL))[0] == -signal.SIGKILL
        process = await command.start()
        out, err = await process.communicate()
        assert (process.returncode, err) == (0, b"")
        report = json.loads(out)
        assert report["resumed"]
        assert report["calls"] <= world.calls()
        assert world.calls() <= 1.1 * school.least_calls
        assert not [call for call in world.portal.calls if call.status >= 400 or call.search]
        await equal_row_by_row(world, school, report)


async def equal_row_by_row(world: World, school: School, report: dict[str, Any]) -> None:
    records = school.portal.types[BOOKINGS].records
    rows = await world.rows("bookings")
    assert {i: shown(row) for i, row in rows.items()} == {i: school.expected(r) for i, r in records.items()}
    assert set(await world.rows("contacts")) == set(school.contacts)
    seats: dict[str, int] = dict.fromkeys(school.exams, 0)
    for record in records.values():
        row = school.expected(record)
        seats[row["mock_exam_id"]] += not row["archived"] and row["is_active"] in ("Active", "Completed")
    exams = await world.rows("exams")
    assert {i: row["seats_taken"] for i, row in exams.items()} == seats
    assert report["read"]["bookings"] == {"live": 10_440, "archived": 60}
    survey = report["survey"]
    assert survey["oversold"]["count"] == sum(seats[i] > row["capacity"] for i, row in exams.items()) > 0
    unknown = [
        r
        for r in records.values()
        if r.archived_at is None and str(r.properties.get("contact_id", "")).startswith("9")
    ]
    assert survey["unknown_contacts"]["count"] == len(unknown)
    held = [(r["contact_id"], r["mock_exam_id"]) for r in map(school.expected, records.values())
            if not r["archived"] and r["is_active"] in ("Active", "Completed")]  # fmt: skip
    doubles = [pair for pair, same in itertools.groupby(sorted(held)) if len(list(same)) > 1]
    assert survey["doubles"]["count"] == len(doubles) > 0


async def test_while_bookings_want_every_call_the_backfill_waits_and_nobody_is_refused(
    schema_database_url, redis_url
):
    limits = {"hubspot_rate_limit": 12, "hubspot_rate_window_s": 0.5, "hubspot_timeout_s": 0.5}
    async with (
        running_portal(calls=12, window_ms=500) as portal,
        world_of(portal, schema_database_url, **limits) as world,
    ):
        world.sow("contacts", *({"email": f"t{n}@s.example"} for n in range(1_000)))
        trips = [RedisTrips(redis_url, timeout_s=1.0) for _ in range(2)]
        students, world.budget = (SharedBudget(one, world.settings) for one in trips)
        reading = asyncio.create_task(world.backfill().run())
        await asyncio.sleep(0.2)
        booked = await rush(world, students, for_s=1.5)
        meanwhile = world.calls("list")
        assert (await reading).read["contacts"]["live"] == 1_000
        assert booked >= 2 * meanwhile
        assert not portal.refused_by_limit
        for one in trips:
            await one.close()


async def rush(world: World, budget: SharedBudget, *, for_s: float) -> int:
    """Bookings that take every call they can get; how many they got."""
    client, made, loop = HubSpotClient(world.settings), 0, asyncio.get_running_loop()
    ends_at = loop.time() + for_s
    while loop.time() < ends_at:
        slot = await budget.reserve("create")
        if isinstance(slot, float | int):
            await asyncio.sleep(min(slot, 0.02))
            continue
        [result] = await client.upsert_bookings(slot, [booking(made)])
        made += result.outcome == "written"
    await client.close()
    return made


async def test_ctrl_c_stops_in_order_and_the_next_run_goes_on(schema_database_url, redis_url):
    async with running_portal(calls=100_000) as portal, world_of(portal, schema_database_url) as world:
        world.sow("contacts", *({"email": f"t{n}@s.example"} for n in range(300)))
        portal.faults("slow@reads:0.1")
        code, err = await Command(world, redis_url).stop_after(world, 6, signal.SIGINT)
        assert (code, err.splitlines()) == (130, ["Stopping …", AGAIN])
        portal.faults("")
        report = await world.backfill().run()
        assert report.resumed
        assert report.read["contacts"]["live"] == 300
