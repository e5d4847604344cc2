"""The parts that a demon harms come back as they were, and a control takes away just the guard that it names."""

import asyncio
import os
from pathlib import Path

import pytest

from lastseat.errors import SetupError
from lastseat.rehearsal import controls
from lastseat.rehearsal.fleet import Fleet, _holder
from lastseat.rehearsal.portal import Portal
from lastseat.settings import Settings, load
from lastseat.stores.hubspot_codec import Codec
from lastseat.stores.ledger import Ledger
from lastseat.stores.postgres import PostgresDatabase
from lastseat.writes.relay import Relay
from tests.ledger.test_claims import exam_record, wish
from tests.torture.test_found import Standing


async def test_a_killed_emulator_comes_back_on_its_port_with_its_records(tmp_path: Path):
    portal = Portal(tmp_path / "hubspot", limit=100, latency_ms=0)
    await portal.start()
    try:
        url = portal.url
        await portal.sow({"0-1": [{"email": "a@students.example"}]})
        await portal.spoil("502=1", 3)
        portal.kill()
        await portal.start()
        assert portal.url == url
        assert b"a@students.example" in await portal.state()
        assert portal.journal()
    finally:
        portal.stop()


@pytest.mark.embedded
async def test_without_the_row_lock_seats_are_sold_twice_and_only_that_is_changed(schema_database_url: str):
    await controls.take_away(controls.VERIFY, schema_database_url)
    database = PostgresDatabase(schema_database_url, connections=8, timeout_s=5)
    ledger = Ledger(database, Codec("America/Toronto"), timezone="America/Toronto", verify_after_s=60)
    await ledger.mirror(exams=[exam_record("501", capacity=1), exam_record("502", capacity=1)])

    async def won(exam_id: str) -> int:
        answers = await asyncio.gather(*(ledger.claim([wish(str(n), exam_id)]) for n in range(6)))
        return sum(answer[0].outcome == "won" for answer in answers)

    assert await won("501") == 1
    await controls.take_away(controls.ROW_WAIT, schema_database_url)
    assert await won("502") > 1
    await database.close()


@pytest.mark.embedded
async def test_a_control_says_when_the_guard_is_no_longer_where_it_was(schema_database_url: str):
    await controls.take_away(controls.ROW_WAIT, schema_database_url)
    with pytest.raises(SetupError, match="not as this control knows it"):
        await controls.take_away(controls.ROW_WAIT, schema_database_url)


def test_the_second_look_is_far_away_but_a_setting_that_servers_take():
    names = {
        name.lower().removeprefix("lastseat_"): value for name, value in controls.settings_without("verify").items()
    }
    assert load(**names).verify_after_s == controls.NEVER_S
    assert controls.settings_without("") == controls.settings_without("row-lock") == {}


@pytest.mark.embedded
async def test_the_lease_names_the_process_that_holds_it(schema_database_url: str):
    assert await _holder(schema_database_url) is None
    database = PostgresDatabase(schema_database_url, connections=1, timeout_s=5)
    outbox = Standing()
    relay = Relay(ledger=outbox, delivery=outbox, budget=outbox, bulletin=outbox, settings=Settings())
    await Ledger(database, Codec("America/Toronto"), timezone="America/Toronto", verify_after_s=60).take_lease(
        relay._holder, 8
    )
    assert await _holder(schema_database_url) == os.getpid()
    await database.close()


def test_servers_of_a_fleet_keep_logs_of_their_own(tmp_path: Path):
    fleet = Fleet(2, {}, tmp_path)
    assert [server.site.log_path.name for server in fleet.servers] == ["server-0.log", "server-1.log"]
    assert not any(server.owns(os.getpid()) for server in fleet.servers)
    fleet.stop()
