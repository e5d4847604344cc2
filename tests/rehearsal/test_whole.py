"""The real thing, small: a rush on a stack of its own, the doctor over it, and a demo that comes and goes."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from lastseat.cli import main
from lastseat.cli.look import Look
from lastseat.embedded.folder import silent
from lastseat.embedded.ports import free_port
from lastseat.rehearsal.lines import ask
from lastseat.rehearsal.portal import TOKEN, Portal
from lastseat.rehearsal.rehearse import Rehearsal, rehearse
from lastseat.settings import Settings
from lastseat.stores.portal_view import booking_records

pytestmark = pytest.mark.embedded


async def test_a_small_rush_of_impatient_students_keeps_every_promise(tmp_path: Path):
    wanted = Rehearsal(
        students=24, seats=9, exams=2, processes=2, hubspot_latency_ms=20, double=True, hubspot_limit=500
    )
    report = await rehearse(wanted, tmp_path / "kept")
    assert report.passed, [f for verdict in report.verdicts for f in verdict.findings]
    total = report.total
    assert (total.booked + total.pending, total.refused, total.failed) == (9, 15, 0)
    assert total.hubspot_calls > 0
    assert all(verdict.looked_at for verdict in report.verdicts)

    doctor = CliRunner().invoke(main, ["doctor", "--data", str(tmp_path / "kept")])
    assert doctor.exit_code == 0, doctor.output
    state = json.loads((tmp_path / "kept" / "state.json").read_bytes())
    state["objects"]["2-50158943"].pop()
    (tmp_path / "kept" / "state.json").write_text(json.dumps(state))
    doctor = CliRunner().invoke(main, ["doctor", "--data", str(tmp_path / "kept")])
    assert doctor.exit_code == 1
    assert "HubSpot has no record" in doctor.output


class FreeSlot:
    """A budget that always says yes, and counts."""

    def __init__(self) -> None:
        self.reserved = self.closed = 0

    async def reserve(self, kind: str) -> "FreeSlot":
        self.reserved += 1
        return self

    async def free(self) -> int:
        return 1

    async def close(self, headers: dict[str, str] | None = None, status: int | None = None) -> None:
        self.closed += 1

    async def give_back(self) -> None:
        return


@pytest.fixture
async def portal(tmp_path: Path) -> AsyncIterator[Portal]:
    emulated = Portal(tmp_path / "hubspot", limit=100, latency_ms=0)
    await emulated.start()
    yield emulated
    emulated.stop()


def settings_of(portal: Portal, **more: object) -> Settings:
    return Settings(hubspot_base_url=portal.url, hubspot_access_token=TOKEN, **more)


async def test_the_doctor_reads_hubspot_to_the_last_page_within_the_budget(portal: Portal):
    rows = [
        {"booking_id": f"LS-{n}", "mock_exam_id": "7", "contact_id": str(n), "is_active": "Active" if n else "Failed"}
        for n in range(203)
    ]
    await portal.sow({"2-50158943": rows})
    budget = FreeSlot()
    found = [record async for page in booking_records(settings_of(portal), budget) for record in page]
    assert sorted(record.key or "" for record in found) == sorted(row["booking_id"] for row in rows)
    assert sum(record.holds for record in found) == 202
    assert (budget.reserved, budget.closed) == (3, 3)


async def test_the_doctor_looks_at_a_running_service(portal: Portal, schema_database_url: str, redis_url: str):
    (booking_id,) = (await portal.sow({"2-50158943": [{"booking_id": "LS-1", "is_active": "Active"}]}))["2-50158943"]
    settings = settings_of(
        portal,
        supabase_db_url=schema_database_url,
        redis_url=redis_url,
        hubspot_rate_window_s=0.1,
        hubspot_timeout_s=1.0,
    )
    seen = await Look(settings, hubspot=True, log_path=None, say=silent).evidence()
    assert [record.hubspot_id for record in seen.portal or ()] == [booking_id]
    assert (seen.exposed, seen.gates, seen.log_lines) == ([], [], None)
    unread = await Look(settings, hubspot=False, log_path=None, say=silent).evidence()
    assert unread.portal is None


def test_a_demo_opens_its_site_and_is_gone_after_one_ctrl_c(open_folder: Path):
    port = free_port()
    environment = {**os.environ, "LASTSEAT_DATA_DIR": str(open_folder / "demo"), "PYTHONUNBUFFERED": "1"}
    demo = subprocess.Popen(
        [sys.executable, "-m", "lastseat", "demo", "--no-rush", "--students", "3", "--port", str(port)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,
    )
    assert demo.stdout is not None
    try:
        output = ""
        while "/sign-in#token=" not in output:
            line = demo.stdout.readline()
            assert line, output
            output += line
        assert re.findall(r"http://127\.0\.0\.1:\d+", output)[0] == f"http://127.0.0.1:{port}"
        exams = json.loads(asyncio.run(ask(port, "GET", "/api/mock-exams/available")).body)
        assert exams["success"] is True
        assert len(exams["exams"]) > 10
        assert asyncio.run(ask(port, "GET", "/")).status == 200
        os.killpg(demo.pid, signal.SIGINT)
        os.killpg(demo.pid, signal.SIGINT)
        assert demo.wait(15) == 0
    finally:
        if demo.poll() is None:
            demo.kill()
        demo.stdout.close()
    left = subprocess.run(["pgrep", "-f", str(open_folder)], capture_output=True, text=True, check=False)
    assert left.stdout == ""
