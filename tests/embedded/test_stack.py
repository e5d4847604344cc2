"""The two servers keep what they acknowledged, listen to this machine only, and end with whoever started them."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest
import redis.asyncio

from lastseat.embedded.part import living_in
from lastseat.embedded.postgres import EmbeddedPostgres
from lastseat.embedded.stack import EmbeddedStack
from lastseat.embedded.valkey import EmbeddedValkey
from lastseat.errors import SetupError, Unavailable
from tests.embedded.attack import is_root, lives, numbers, program, until, until_gone

OWNER = """
import signal, sys
from pathlib import Path
from lastseat.embedded.stack import EmbeddedStack
with EmbeddedStack(Path(sys.argv[1])) as stack:
    print(stack.postgres.pid, stack.valkey.pid, flush=True)
    print(stack.postgres_url, flush=True)
    print(stack.redis_url, flush=True)
    signal.pause()
"""


async def write_row(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE seat (id int); INSERT INTO seat VALUES (7)")
    await connection.close()


async def read_row(url: str) -> int:
    connection = await asyncpg.connect(url)
    found = await connection.fetchval("SELECT id FROM seat")
    await connection.close()
    return found


async def write_key(url: str) -> None:
    async with redis.asyncio.Redis.from_url(url) as client:
        await client.set("seat", "7")


async def read_key(url: str) -> bytes | None:
    async with redis.asyncio.Redis.from_url(url) as client:
        return await client.get("seat")


async def test_a_killed_owner_leaves_no_process_and_loses_nothing(made_folder: Path) -> None:
    with program(OWNER, made_folder) as owner:
        pids = numbers(owner)
        postgres_url, redis_url = (owner.stdout.readline().strip() for _ in range(2))
        await write_row(postgres_url)
        await write_key(redis_url)
        family = [*living_in(made_folder / "postgres"), *living_in(made_folder / "valkey")]
        assert set(pids) < set(family)
        owner.kill()
        owner.wait()
        # At once, while the old servers may still be going down.
        with EmbeddedStack(made_folder) as stack:
            assert not any(lives(pid) for pid in family)
            assert await read_row(stack.postgres_url) == 7
            assert await read_key(stack.redis_url) == b"7"


async def test_killed_servers_leave_no_process_even_when_nobody_starts_again(made_folder: Path) -> None:
    with program(OWNER, made_folder) as owner:
        numbers(owner)
        family = [*living_in(made_folder / "postgres"), *living_in(made_folder / "valkey")]
        owner.kill()
        until_gone(*family)


async def test_killed_postgres_comes_back_on_its_url_with_every_committed_row(own_stack: EmbeddedStack) -> None:
    url = own_stack.postgres_url
    await write_row(url)
    busy = await asyncpg.connect(url)
    await busy.execute("BEGIN; INSERT INTO seat VALUES (8)")
    own_stack.postgres.kill()
    with pytest.raises(OSError, match="Connect call failed"):
        await asyncpg.connect(url)
    assert own_stack.postgres.restart() == url
    assert await read_row(url) == 7
    busy.terminate()


async def test_killed_valkey_comes_back_on_its_url_with_every_key(own_stack: EmbeddedStack) -> None:
    url = own_stack.redis_url
    await write_key(url)
    own_stack.valkey.kill()
    assert not own_stack.valkey.running
    assert own_stack.valkey.restart() == url
    assert await read_key(url) == b"7"


async def test_a_clean_stop_frees_the_folder_and_keeps_rows_keys_and_passwords(own_stack: EmbeddedStack) -> None:
    await write_row(own_stack.postgres_url)
    await write_key(own_stack.redis_url)
    own_stack.stop()
    assert not own_stack.postgres.running
    assert not own_stack.valkey.running
    lines: list[str] = []
    with EmbeddedStack(own_stack.folder, on_progress=lines.append) as again:
        assert await read_row(again.postgres_url) == 7
        assert await read_key(again.redis_url) == b"7"
        expected = [("Postgres 18", again.postgres.port), ("Valkey", again.valkey.port)]
    for line, (what, port) in zip(lines, expected, strict=True):
        assert re.fullmatch(rf"{what} ready on 127\.0\.0\.1:{port} \(\d+\.\d s\)", line)


def test_a_second_start_on_the_folder_is_refused_in_one_line(stack: EmbeddedStack) -> None:
    with pytest.raises(SetupError) as refusal:
        EmbeddedStack(stack.folder).start()
    assert str(refusal.value) == (
        f"The data folder {stack.folder} is in use by another Lastseat (process {os.getpid()}). "
        "Stop that one, or set LASTSEAT_DATA_DIR=… to another folder for this one."
    )
    assert stack.postgres.running


@pytest.mark.parametrize("part", [EmbeddedPostgres, EmbeddedValkey])
def test_a_second_server_on_the_files_of_the_first_is_refused(stack: EmbeddedStack, part: type) -> None:
    with pytest.raises(SetupError, match=r"^The (Postgres 18|Valkey) of .* is in use by another Lastseat"):
        part(stack.folder).start()


def test_no_password_is_on_a_command_line_or_in_an_environment(stack: EmbeddedStack) -> None:
    words = [(stack.folder / f"{name}.password").read_text().strip() for name in ("postgres", "valkey")]
    listing = subprocess.run(["ps", "-axww", "-o", "args="], capture_output=True, text=True, check=True).stdout
    assert str(stack.folder) in listing
    for pid in (stack.postgres.pid, stack.valkey.pid):
        listing += Path(f"/proc/{pid}/environ").read_text()
    assert all(len(word) >= 32 and word in url for word, url in zip(words, urls(stack), strict=True))
    assert not any(word in listing for word in words)


def urls(stack: EmbeddedStack) -> tuple[str, str]:
    return stack.postgres_url, stack.redis_url


def test_only_this_machine_can_connect(stack: EmbeddedStack) -> None:
    listening = {
        (Path(f"/proc/net/{table}").name, row.split()[1])
        for table in ("tcp", "tcp6")
        for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        if row.split()[3] == "0A" and row.split()[9] in sockets_of(stack)
    }
    ports = (stack.postgres.port, stack.valkey.port)
    assert listening == {("tcp", f"0100007F:{port:04X}") for port in ports}
    assert not [row for row in Path("/proc/net/unix").read_text().splitlines() if str(stack.folder) in row]


def sockets_of(stack: EmbeddedStack) -> set[str]:
    family = [*living_in(stack.postgres.home), *living_in(stack.valkey.home)]
    ends = [end.readlink().name for pid in family for end in Path(f"/proc/{pid}/fd").iterdir()]
    return {end.removeprefix("socket:[").removesuffix("]") for end in ends if end.startswith("socket:")}


async def test_nobody_connects_without_the_password(stack: EmbeddedStack) -> None:
    postgres, valkey = stack.postgres.port, stack.valkey.port
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(f"postgresql://postgres:guess@127.0.0.1:{postgres}/postgres")
    with socket.create_connection(("127.0.0.1", valkey)) as line:
        line.sendall(b"PING\r\n")
        assert line.recv(100).startswith(b"-NOAUTH")


def test_files_are_open_to_their_server_alone(stack: EmbeddedStack) -> None:
    folder = stack.folder
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert modes.pop("postgres") == modes.pop("valkey") == 0o700
    assert set(modes.values()) == {0o600}
    assert (folder / "valkey" / "valkey.conf").stat().st_mode & 0o777 == 0o600
    owner = (folder / "postgres").stat().st_uid
    assert (owner != 0) if is_root() else (owner == os.geteuid())


async def test_postgres_is_durable(open_folder: Path) -> None:
    """One of its own, as every user gets it: the shared one of the tests does not wait for the disk."""
    with EmbeddedPostgres(open_folder) as postgres:
        connection = await asyncpg.connect(postgres.url)
        for name in ("fsync", "full_page_writes", "synchronous_commit"):
            assert await connection.fetchval(f"SHOW {name}") == "on"
        assert await connection.fetchval("SHOW password_encryption") == "scram-sha-256"
        await connection.close()


async def test_valkey_is_durable_and_never_drops_a_key(redis_url: str) -> None:
    async with redis.asyncio.Redis.from_url(redis_url, decode_responses=True) as client:
        for name, value in (("appendonly", "yes"), ("appendfsync", "everysec"), ("maxmemory-policy", "noeviction")):
            assert await client.config_get(name) == {name: value}


async def test_a_row_in_conflict_is_not_shown_in_the_log(stack: EmbeddedStack, database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute("CREATE TABLE contact (email text PRIMARY KEY)")
    await connection.execute("INSERT INTO contact VALUES ('ann@example.com')")
    with pytest.raises(asyncpg.UniqueViolationError):
        await connection.execute("INSERT INTO contact VALUES ('ann@example.com')")
    await connection.close()
    log = stack.folder / "postgres.log"
    until(lambda: "duplicate key" in log.read_text(), "the log line")
    assert "ann@example.com" not in log.read_text()


async def test_postgres_16_runs_as_well(open_folder: Path) -> None:
    with EmbeddedPostgres(open_folder, major=16) as older:
        connection = await asyncpg.connect(older.url)
        assert (await connection.fetchval("SHOW server_version")).startswith("16.")
        await connection.close()


def test_ctrl_c_during_the_start_leaves_nothing(open_folder: Path) -> None:
    quiet = OWNER.replace("import signal, sys", "import signal, sys\nsys.excepthook = lambda *_: None")
    with program(quiet, open_folder) as owner:
        until((open_folder / "postgres.tmp" / "data" / "base").exists, "initdb at work")
        os.killpg(owner.pid, signal.SIGINT)
        assert owner.wait(10) != 0
    assert living_in(open_folder / "postgres.tmp" / "data") == []
    assert not (open_folder / "postgres").exists()


def test_a_part_that_was_never_started_says_so(open_folder: Path) -> None:
    part = EmbeddedValkey(open_folder)
    with pytest.raises(Unavailable, match="Valkey is not running"):
        _ = part.pid
    with pytest.raises(Unavailable, match="Valkey has not been started"):
        _ = part.url
    part.stop()
    part.kill()


def test_the_package_does_not_load_what_only_servers_need() -> None:
    source = (
        "import sys, lastseat.embedded.stack; "
        "print(*[name for name in ('asyncpg', 'pydantic', 'redis') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
