"""What a crash, a stranger or a missing program left behind is mended, or named in one line with a way out."""

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import asyncpg
import pytest
import redis.asyncio

from lastseat.embedded import part as parts
from lastseat.embedded import ports
from lastseat.embedded.account import service_account
from lastseat.embedded.folder import make_own
from lastseat.embedded.part import living_in, started_for
from lastseat.embedded.postgres import EmbeddedPostgres
from lastseat.embedded.process import spawn_child
from lastseat.embedded.stack import EmbeddedStack
from lastseat.embedded.valkey import EmbeddedValkey
from lastseat.errors import SetupError
from tests.embedded.attack import program, until, until_gone

OWNER = """
import sys
from pathlib import Path
from lastseat.embedded.postgres import EmbeddedPostgres
EmbeddedPostgres(Path(sys.argv[1])).start()
"""


def refusal_of(part: parts.Part) -> str:
    """The one line a start is refused with."""
    with pytest.raises(SetupError) as refusal:
        part.start()
    assert "\n" not in str(refusal.value)
    assert refusal.value.way_out in str(refusal.value)
    assert not part.running
    return str(refusal.value)


# ── half-written ──


async def test_a_database_whose_making_was_killed_is_made_again(open_folder: Path) -> None:
    with program(OWNER, open_folder) as owner:
        until((open_folder / "postgres.tmp" / "data" / "global" / "pg_control").exists, "initdb at work")
        owner.kill()
    lines: list[str] = []
    with EmbeddedPostgres(open_folder, on_progress=lines.append) as postgres:
        assert lines[0] == f"Removed a half-made database in {open_folder}: it never held data."
        connection = await asyncpg.connect(postgres.url)
        await connection.close()
    assert not (open_folder / "postgres.tmp").exists()


def test_a_draft_with_files_that_are_not_ours_is_left_alone(open_folder: Path) -> None:
    theirs = open_folder / "postgres.tmp" / "thesis.txt"
    theirs.parent.mkdir()
    theirs.touch()
    assert "holds files that Lastseat did not make (thesis.txt). Move it away" in refusal_of(
        EmbeddedPostgres(open_folder)
    )
    assert theirs.exists()


@pytest.mark.parametrize("part", [EmbeddedPostgres, EmbeddedValkey])
def test_a_folder_of_that_name_with_files_that_are_not_ours_is_left_alone(open_folder: Path, part: type) -> None:
    home = part(open_folder).home
    make_own(home, service_account())
    (home / "main.c").touch()
    assert f"{home} holds files that Lastseat did not make. Set LASTSEAT_DATA_DIR" in refusal_of(part(open_folder))
    assert (home / "main.c").exists()


SIGNER = """
import os, signal, sys
from pathlib import Path
from lastseat.embedded.account import service_account
from lastseat.embedded.folder import make_own, sign
os.fsync = lambda _file: os.kill(os.getpid(), signal.SIGKILL)
home = Path(sys.argv[1])
make_own(home, service_account())
sign(home, service_account())
"""


def test_a_folder_whose_signing_was_killed_is_made_again(open_folder: Path) -> None:
    home = open_folder / "valkey"
    with program(SIGNER, home) as signer:
        assert signer.wait() == -signal.SIGKILL
    assert [path.name for path in home.iterdir()] == ["LASTSEAT.tmp"]
    with EmbeddedValkey(open_folder) as valkey:
        assert valkey.running
    assert not (home / "LASTSEAT.tmp").exists()


def test_a_draft_beside_files_that_are_not_ours_is_left_alone(open_folder: Path) -> None:
    home = open_folder / "valkey"
    make_own(home, service_account())
    for name in ("LASTSEAT.tmp", "main.c"):
        (home / name).touch()
    assert "holds files that Lastseat did not make" in refusal_of(EmbeddedValkey(open_folder))
    assert sorted(path.name for path in home.iterdir()) == ["LASTSEAT.tmp", "main.c"]


def test_an_empty_folder_of_that_name_is_used(open_folder: Path) -> None:
    make_own(open_folder / "valkey", service_account())
    with EmbeddedValkey(open_folder) as valkey:
        assert valkey.running


@pytest.mark.parametrize("lost", ["postgres/global/pg_control", "postgres/PG_VERSION", "postgres.password"])
def test_a_damaged_database_is_named_and_kept(made_folder: Path, lost: str) -> None:
    (made_folder / lost).unlink()
    line = refusal_of(EmbeddedPostgres(made_folder))
    assert line.startswith(f"The database in {made_folder}/postgres is damaged: {made_folder / lost} is missing. Put")
    assert (made_folder / "postgres" / "base").is_dir()


def test_data_of_another_major_is_named_and_kept(made_folder: Path) -> None:
    line = refusal_of(EmbeddedPostgres(made_folder, major=16))
    assert f"{made_folder}/postgres was made by Postgres 18, this is Postgres 16. Use the Lastseat version" in line


def test_data_of_another_user_is_named(made_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stranger = (made_folder / "postgres").stat().st_uid + 1
    real = Path.stat

    def stat(path: Path, **options: bool) -> os.stat_result:
        found = real(path, **options)
        return os.stat_result((*found[:4], stranger, *found[5:])) if path.name == "postgres" else found

    monkeypatch.setattr(Path, "stat", stat)
    assert f"{made_folder}/postgres belongs to '{stranger}'" in refusal_of(EmbeddedPostgres(made_folder))


def put_aside(folder: Path) -> Path:
    (aside,) = folder.glob("valkey.broken-*")
    return aside


async def test_unreadable_valkey_files_are_put_aside_and_it_starts_empty(made_folder: Path) -> None:
    (base,) = (made_folder / "valkey" / "appendonlydir").glob("*.incr.aof")
    base.write_bytes(b"this is no command\r\n" * 10)
    lines: list[str] = []
    with EmbeddedValkey(made_folder, on_progress=lines.append) as valkey:
        async with redis.asyncio.Redis.from_url(valkey.url) as client:
            assert await client.dbsize() == 0
    old = put_aside(made_folder)
    assert lines[0] == f"Valkey could not read its files and starts empty; the old ones are in {old}."


async def test_a_valkey_file_cut_short_keeps_what_was_whole(made_folder: Path) -> None:
    with EmbeddedValkey(made_folder) as valkey:
        async with redis.asyncio.Redis.from_url(valkey.url) as client:
            await client.set("whole", 1)
            await client.set("cut", 2)
    (base,) = (made_folder / "valkey" / "appendonlydir").glob("*.incr.aof")
    os.truncate(base, base.stat().st_size - 3)
    with EmbeddedValkey(made_folder) as valkey:
        async with redis.asyncio.Redis.from_url(valkey.url) as client:
            assert await client.keys() == [b"whole"]


# ── leftovers that still run, or whose number is now somebody else's ──


async def test_a_pid_file_that_names_a_stranger_does_not_stop_the_start(made_folder: Path) -> None:
    # Of the same user as Postgres: that is the case Postgres itself refuses with "is another postmaster running".
    stranger = spawn_child(["/bin/sleep", "60"], log_path=made_folder / "stranger.log", user=service_account())
    (made_folder / "postgres" / "postmaster.pid").write_text(f"{stranger.pid}\n{made_folder}/postgres\n1\n5432\n")
    with EmbeddedPostgres(made_folder) as postgres:
        connection = await asyncpg.connect(postgres.url)
        await connection.close()
    assert stranger.poll() is None
    stranger.kill()


def test_postgres_run_by_somebody_else_on_our_files_is_named_not_ended(
    own_stack: EmbeddedStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "SETTLE_S", 0.05)
    running = own_stack.postgres
    running._hold.release()
    line = refusal_of(EmbeddedPostgres(own_stack.folder))
    assert line.startswith(f"Another program runs Postgres on {running.home} (process {running.pid}). Stop it with")
    assert running.running


async def test_a_backend_that_hangs_after_a_kill_does_not_stop_the_start(
    own_stack: EmbeddedStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "SETTLE_S", 0.05)
    connection = await asyncpg.connect(own_stack.postgres_url)
    backend = connection.get_server_pid()
    os.kill(backend, signal.SIGSTOP)
    own_stack.postgres.kill()
    assert backend in living_in(own_stack.postgres.home)
    own_stack.postgres.restart()
    until_gone(backend)
    connection.terminate()


def test_a_shell_that_stands_in_the_data_folder_is_not_taken_for_a_server(made_folder: Path) -> None:
    with subprocess.Popen(["/bin/sleep", "60"], cwd=made_folder / "postgres") as shell:
        assert living_in(made_folder / "postgres") == []
        shell.kill()


def test_servers_are_found_by_their_command_line_where_there_is_no_proc(stack: EmbeddedStack) -> None:
    assert started_for(stack.postgres.home) == [stack.postgres.pid]
    assert started_for(stack.valkey.home) == [stack.valkey.pid]


# ── ports ──


@pytest.mark.parametrize("part", [EmbeddedPostgres, EmbeddedValkey])
def test_a_port_taken_between_choice_and_start_is_replaced(
    made_folder: Path, monkeypatch: pytest.MonkeyPatch, part: type
) -> None:
    real = ports.free_port
    thief = socket.create_server(("127.0.0.1", real()))
    taken = thief.getsockname()[1]
    choices = [taken, taken]
    monkeypatch.setattr(ports, "free_port", lambda: choices.pop() if choices else real())
    with thief, part(made_folder) as server:
        assert choices == []
        assert server.port != taken
        assert str(server.port) in server.url


@pytest.mark.parametrize("part", [EmbeddedPostgres, EmbeddedValkey])
def test_a_wanted_port_in_use_is_one_line(made_folder: Path, part: type) -> None:
    with socket.create_server(("127.0.0.1", ports.free_port())) as thief:
        port = thief.getsockname()[1]
        line = refusal_of(part(made_folder, port=port))
    assert f"cannot use port {port} on 127.0.0.1: it is in use. Stop the program that uses it" in line


def test_a_restart_takes_another_port_when_its_own_was_stolen(made_folder: Path) -> None:
    with EmbeddedValkey(made_folder) as valkey:
        before = valkey.url
        valkey.kill()
        with socket.create_server(("127.0.0.1", valkey.port)):
            assert valkey.restart() != before
            assert valkey.running


def test_free_ports_are_below_the_range_of_outgoing_connections() -> None:
    found = {ports.free_port() for _ in range(20)}
    assert all(20_000 <= port < 32_768 for port in found)
    assert len(found) > 10


def test_a_port_in_use_is_not_offered() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert not ports.is_free(taken.getsockname()[1])


def test_with_the_range_full_the_system_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "is_free", lambda _: False)
    assert ports.free_port() > 0


# ── disk and start ──


def test_a_full_disk_while_making_the_database_is_one_line(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = open_folder / "bin"
    fake.mkdir()
    (fake / "initdb").write_text(
        '#!/bin/sh\necho "initdb: error: could not write file: No space left on device"\nexit 1\n'
    )
    (fake / "initdb").chmod(0o755)
    monkeypatch.setattr("lastseat.embedded.postgres.postgres_programs", lambda *_: fake)
    line = refusal_of(EmbeddedPostgres(open_folder))
    assert line == (
        "Postgres 18 did not start: initdb: error: could not write file: No space left on device. "
        f"Free some space on the disk of {open_folder}."
    )
    monkeypatch.undo()
    with EmbeddedPostgres(open_folder) as postgres:
        assert postgres.running


def test_a_server_that_gives_up_is_quoted_without_its_time_stamp(made_folder: Path) -> None:
    (made_folder / "postgres" / "pg_hba.conf").unlink()
    line = refusal_of(EmbeddedPostgres(made_folder))
    assert line.startswith("Postgres 18 did not start: FATAL:  could not load")
    assert line.endswith(f" Its log is {made_folder}/postgres.log.")


def test_a_server_that_never_answers_is_ended(made_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "READY_S", 0.3)
    monkeypatch.setattr(EmbeddedValkey, "_answers", lambda *_: False)
    assert "Valkey did not start: " in refusal_of(EmbeddedValkey(made_folder))
    assert living_in(made_folder / "valkey") == []


def test_an_error_of_the_disk_is_one_line(made_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "/somewhere/full")

    monkeypatch.setattr("lastseat.embedded.valkey.write_private", full)
    line = refusal_of(EmbeddedValkey(made_folder))
    assert line.startswith("Valkey cannot use /somewhere/full: No space left on device. Free some space")


def test_a_failed_start_gives_the_folder_free(made_folder: Path) -> None:
    (made_folder / "valkey" / "LASTSEAT").unlink()
    with pytest.raises(SetupError):
        EmbeddedStack(made_folder).start()
    shutil.rmtree(made_folder / "valkey")
    with EmbeddedStack(made_folder) as stack:
        assert stack.valkey.running
