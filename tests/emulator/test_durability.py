"""What was acknowledged survives `kill -9`; the real process, its real files."""

import asyncio
import itertools
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import msgspec
import pytest

from hubspot_emulator.store import JOURNAL, REQUESTS, Store
from tests.emulator.crm import BOOKINGS, running, upsert_input

HEADERS = {"Authorization": "Bearer pat-demo"}
UPSERT = f"/crm/v3/objects/{BOOKINGS}/batch/upsert"


class Process:
    """One emulator as its users start it."""

    def __init__(self, folder: Path, *options: str) -> None:
        ready = folder.parent / f"{folder.name}.ready"
        ready.unlink(missing_ok=True)
        command = [sys.executable, "-m", "hubspot_emulator", "--port", "0", "--data", str(folder)]
        command += ["--ready-file", str(ready), *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 20
        while not ready.exists():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        self.url = ready.read_text().strip()

    def kill(self) -> tuple[str, str]:
        self.process.kill()
        return self.process.communicate(timeout=10)

    def stop(self, number: int = signal.SIGTERM) -> tuple[str, str]:
        self.process.send_signal(number)
        return self.process.communicate(timeout=10)


@contextmanager
def started(folder, *options):
    process = Process(folder, *options)
    try:
        yield process
    finally:
        if process.process.poll() is None:
            process.kill()


def refused(folder, *options):
    """The one line of an emulator that does not start."""
    command = [sys.executable, "-m", "hubspot_emulator", "--port", "0", "--data", str(folder), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode != 0
    return done.stderr.strip()


async def hammered(process, acknowledged, seconds):
    """Writes from several connections until the process is killed under them."""
    numbers = itertools.count()

    async def one(session):
        while True:
            names = [f"B-{next(numbers)}" for _ in range(20)]
            body = {"inputs": [upsert_input(name) for name in names]}
            try:
                async with session.post(process.url + UPSERT, json=body) as answer:
                    await answer.read()
                    assert answer.status == 200
            except aiohttp.ClientError:
                return
            acknowledged.append(names)

    async with aiohttp.ClientSession(headers=HEADERS) as session:
        writers = [asyncio.create_task(one(session)) for _ in range(4)]
        await asyncio.sleep(seconds)
        process.kill()
        await asyncio.gather(*writers)


def lines(path):
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]


async def test_every_acknowledged_write_survives_kill_9(tmp_path):
    folder, acknowledged = tmp_path / "data", []
    with started(folder, "--limit", "1000000") as process:
        await hammered(process, acknowledged, 0.5)
    assert len(acknowledged) > 10
    with Store(folder) as store:
        kept = store.portal.types[BOOKINGS].unique["booking_id"]
        assert {name for names in acknowledged for name in names} <= set(kept)
        logged = {call.seq: call for call in store.calls}
    answered = {tuple(call.keys) for call in logged.values() if call.status == 200}
    assert {tuple(names) for names in acknowledged} <= answered
    # Every committed call has its line after a restart, also one that was killed before its answer.
    assert {entry["seq"] for entry in lines(folder / JOURNAL) if entry.get("seq")} <= set(logged)


async def test_a_restart_goes_on_where_the_kill_was(tmp_path):
    folder = tmp_path / "data"
    with started(folder) as process:
        async with aiohttp.ClientSession(headers=HEADERS) as session:
            async with session.post(process.url + UPSERT, json={"inputs": [upsert_input("B-1")]}) as answer:
                before = (await answer.json())["results"][0]
            process.kill()
    with started(folder, "--limit", "2") as process:
        async with aiohttp.ClientSession(headers=HEADERS) as session:
            async with session.post(process.url + UPSERT, json={"inputs": [upsert_input("B-1")]}) as answer:
                again = (await answer.json())["results"][0]
            # The window belongs to the account: the call before the kill still counts.
            async with session.post(process.url + UPSERT, json={"inputs": [upsert_input("B-1")]}) as answer:
                assert answer.status == 429
            async with session.get(process.url + "/_emulator/requests") as answer:
                assert [one["seq"] for one in (await answer.json())["requests"]] == [1, 2, 3]
        assert process.stop()[0].startswith("hubspot-emulator listening on http://127.0.0.1:")
        assert process.process.returncode == 0
    assert (again["id"], again["new"]) == (before["id"], False)


@pytest.mark.parametrize("name", [JOURNAL, REQUESTS])
async def test_a_torn_last_line_is_dropped_and_said(tmp_path, capsys, name):
    async with running(folder=tmp_path) as crm:
        await crm.upsert("B-1")
        await crm.upsert("B-2")
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[:-10])
    async with running(folder=tmp_path) as crm:
        assert await crm.names() == (["B-1"] if name == JOURNAL else ["B-1", "B-2"])
        assert [call["seq"] for call in await crm.log()] == [1, 2]
        await crm.upsert("B-2")
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "torn last line" in said
    async with running(folder=tmp_path) as crm:
        assert await crm.names() == ["B-1", "B-2"]
    assert capsys.readouterr().err == ""


async def test_a_call_killed_before_its_answer_gets_its_line(tmp_path):
    async with running(folder=tmp_path) as crm:
        await crm.upsert("B-1")
    (tmp_path / REQUESTS).write_bytes(b"")
    for _ in range(2):
        async with running(folder=tmp_path) as crm:
            (line,) = await crm.log()
            assert (line["seq"], line["fault"], line["committed"]) == (1, "killed", True)
            assert line["operation"] == "batch_upsert"


async def test_a_broken_line_in_the_middle_stops_the_start(tmp_path):
    async with running(folder=tmp_path) as crm:
        await crm.upsert("B-1")
    journal = tmp_path / JOURNAL
    first, rest = journal.read_bytes().split(b"\n", 1)
    journal.write_bytes(first[:-5] + b"\n" + rest)
    with pytest.raises(SystemExit, match="line 1 is not JSON"):
        Store(tmp_path)


async def test_a_record_that_is_not_in_the_journal_is_not_there(tmp_path):
    """The negative control: the file alone decides what survives."""
    async with running(folder=tmp_path) as crm:
        await crm.upsert("B-1")
        await crm.upsert("B-2")
    journal = tmp_path / JOURNAL
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:-1]))
    async with running(folder=tmp_path) as crm:
        assert await crm.names() == ["B-1"]


async def test_everything_is_the_same_after_a_restart(tmp_path):
    async with running(folder=tmp_path) as crm:
        booking, contact = await crm.create(booking_id="B-1"), await crm.create("contacts", email="a@b.ca")
        gone, other = await crm.create(booking_id="B-2"), await crm.create(booking_id="B-3", attendance="Yes")
        await crm.call("PUT", f"/crm/v4/objects/{BOOKINGS}/{booking}/associations/default/0-1/{contact}")
        await crm.call("DELETE", f"/crm/v3/objects/{BOOKINGS}/{gone}")
        await crm.upsert("B-2")
        ids = {"primaryObjectId": booking, "objectIdToMerge": other}
        await crm.post(f"/crm/v3/objects/{BOOKINGS}/merge", ids)
        await crm.upsert("B-1", attendance="")
        before = await crm.state()
    async with running(folder=tmp_path) as crm:
        assert await crm.state() == before
        assert (await crm.get(f"/crm/v3/objects/{BOOKINGS}/{other}")).body["id"] == booking
        assert int(await crm.create()) > max(int(one["id"]) for one in before["objects"][BOOKINGS])


async def test_a_reset_survives_too(tmp_path):
    async with running(folder=tmp_path) as crm:
        await crm.upsert("B-1")
        await crm.control("reset", {})
        await crm.upsert("B-2")
    async with running(folder=tmp_path) as crm:
        assert await crm.names() == ["B-2"]
        assert [one["seq"] for one in await crm.log()] == [1]


def test_a_full_disk_stops_the_emulator_before_it_answers(tmp_path, monkeypatch, capsys):
    def full(_fd, _data):
        raise OSError(28, "No space left on device")

    with Store(tmp_path) as store:
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(SystemExit):
            store.commit([["portal", 1, 1, 1]], 0.0)
        assert capsys.readouterr().err.endswith("No space left on device; stopping\n")


def test_two_emulators_never_share_a_folder(tmp_path):
    with Store(tmp_path), pytest.raises(SystemExit, match="another emulator uses this folder"):
        Store(tmp_path)


def test_a_start_that_cannot_be_says_why_in_one_line(tmp_path):
    for options, word in (
        (["--faults", "dorp=1"], "unknown fault 'dorp'"),
        (["--switch", "unset=both"], "unset"),
        (["--host", "203.0.113.1"], "203.0.113.1"),
    ):
        said = refused(tmp_path / "data", *options)
        assert word in said
        assert "\n" not in said


def test_the_command_line_fills_a_new_folder_and_prints_it(tmp_path):
    seed = tmp_path / "seed.json"
    seed.write_bytes(b'{"objects": {"contacts": [{"properties": {"email": "a@b.ca"}}]}}')
    folder = tmp_path / "data"
    with started(folder, "--seed-file", str(seed), "--portal", "empty") as process:
        process.stop(signal.SIGINT)
        assert process.process.returncode == 0
    command = [sys.executable, "-m", "hubspot_emulator", "--data", str(folder), "--print-state"]
    printed = subprocess.run(command, capture_output=True, check=True, timeout=20).stdout
    objects = msgspec.json.decode(printed)["objects"]
    assert list(objects) == ["0-1"]
    assert objects["0-1"][0]["properties"]["email"] == "a@b.ca"
