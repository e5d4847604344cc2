"""The embedded Postgres: makes its database once, starts it durable and on loopback only; never deletes data."""

import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from lastseat.embedded import ports
from lastseat.embedded.binaries import postgres_programs
from lastseat.embedded.folder import (
    Say,
    is_finished,
    make_own,
    password,
    sign,
    silent,
    sync_folder,
    write_private,
)
from lastseat.embedded.part import Part, still_in
from lastseat.embedded.process import Child, spawn_child
from lastseat.errors import SetupError

Major = Literal[16, 18]

INITDB_S = 120.0  # Limit: takes 1 s on a quiet machine
DRAFT_NAMES = {"data", "password", "password.tmp"}
SETTINGS: Mapping[str, str] = {
    # Durable: an acknowledged claim survives a power cut.
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    # No replicas, so the log needs to hold only what crash recovery needs.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    "max_wal_size": "256MB",
    "shared_buffers": "128MB",
    "max_connections": "100",
    "jit": "off",  # pays for reports, costs on short queries
    # Loopback only and no socket file: nothing in /tmp, no 107-byte limit on its path, one way in, by password.
    "listen_addresses": ports.LOOPBACK,
    "unix_socket_directories": "",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # No personal data in the log: a failed statement and the row in conflict would show names and ids.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
}
SETTINGS_OF_MAJOR: Mapping[int, Mapping[str, str]] = {
    18: {"io_method": "sync"},  # saves three processes that help large scans only
}


class EmbeddedPostgres(Part):
    """Postgres 18 (or 16) from the wheel, its data in `folder`/postgres."""

    stop_steps = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 5.0))  # fast, then immediate
    death_signal = signal.SIGQUIT  # immediate: no checkpoint, the next start recovers from the log

    def __init__(
        self, folder: Path, *, port: int | None = None, major: Major = 18, on_progress: Say = silent
    ) -> None:
        """See `Part`; `major` is fixed by the data once the folder has some."""
        super().__init__(folder, port=port, on_progress=on_progress)
        self.major = major
        self.what = f"Postgres {major}"

    @property
    def home(self) -> Path:
        return self.folder / "postgres"

    @property
    def url(self) -> str:
        return f"postgresql://postgres:{self._word}@{ports.LOOPBACK}:{self.port}/postgres"

    @property
    def _draft(self) -> Path:
        return self.folder / "postgres.tmp"

    @property
    def _programs(self) -> Path:
        return postgres_programs(self.major, self._account)

    def _make_ready(self) -> None:
        self._clear_draft()
        if is_finished(self.home):
            self._refuse_damage()
            self._refuse_other_major()
            # Crash: nobody serves these files (we hold them and looked), so a pid file here names a stranger.
            (self.home / "postmaster.pid").unlink(missing_ok=True)
        self._word = password(self._word_path)
        if not self.home.exists():
            self._initialise()

    def _clear_draft(self) -> None:
        """Crash: initdb was cut short; its folder was never renamed, so it never held a row."""
        if not self._draft.exists():
            return
        if strangers := {path.name for path in self._draft.iterdir()} - DRAFT_NAMES:
            raise SetupError(
                f"{self._draft} holds files that Lastseat did not make ({min(strangers)}).",
                way_out="Move it away and start again.",
            )
        still_in(self._draft / "data", 5.0)
        shutil.rmtree(self._draft)
        self._say(f"Removed a half-made database in {self.folder}: it never held data.")

    def _refuse_damage(self) -> None:
        for path in (self.home / "PG_VERSION", self.home / "global" / "pg_control", self._word_path):
            if not path.exists():
                raise SetupError(
                    f"The database in {self.home} is damaged: {path} is missing.",
                    way_out="Put it back from a backup, or set LASTSEAT_DATA_DIR to another folder.",
                )

    def _refuse_other_major(self) -> None:
        found = (self.home / "PG_VERSION").read_text().strip()
        if found != str(self.major):
            raise SetupError(
                f"The data in {self.home} was made by Postgres {found}, this is Postgres {self.major}.",
                way_out="Use the Lastseat version that made it, or set LASTSEAT_DATA_DIR to another folder.",
            )

    def _end_orphans(self, pids: list[int]) -> None:
        leader = self._postmaster_line(0)
        if leader in {str(pid) for pid in pids}:
            raise SetupError(
                f"Another program runs Postgres on {self.home} (process {leader}).",
                way_out=f"Stop it with `kill -INT {leader}` and start again.",
            )
        super()._end_orphans(pids)

    def _initialise(self) -> None:
        self._say(f"Making a new {self.what} database in {self.folder}")
        make_own(self._draft, self._account)
        word_path = self._draft / "password"
        write_private(word_path, self._word + "\n", self._account)
        data = self._draft / "data"
        self._run_initdb(data, word_path)
        sign(data, self._account)
        data.rename(self.home)
        sync_folder(self.folder)
        shutil.rmtree(self._draft)

    def _run_initdb(self, data: Path, word_path: Path) -> None:
        access = ["--auth-local=scram-sha-256", "--auth-host=scram-sha-256", f"--pwfile={word_path}"]
        initdb = spawn_child(
            [self._programs / "initdb", "-D", data, "-U", "postgres", "-E", "UTF8", "--no-locale", *access],
            log_path=self.folder / "postgres.log",
            user=self._account,
        )
        try:
            code = initdb.wait(INITDB_S)
        finally:
            initdb.kill()
        if code != 0:
            raise self._failure(initdb.output())

    def _command(self, port: int) -> list[str | Path]:
        settings = {**SETTINGS, **SETTINGS_OF_MAJOR.get(self.major, {}), "port": str(port)}
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [self._programs / "postgres", "-D", self.home, *words]

    def _answers(self, child: Child, port: int) -> bool:
        # Postgres tells its state in the pid file: pid on line 1, port on line 4, "ready" on line 8.
        mine = self._postmaster_line(0) == str(child.pid) and self._postmaster_line(3) == str(port)
        return mine and self._postmaster_line(7) == "ready"

    def _postmaster_line(self, number: int) -> str | None:
        try:
            lines = (self.home / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return None
        return lines[number].strip() if number < len(lines) else None

    def _repaired(self, output: str) -> bool:
        # Crash: backends of a killed postmaster hold its shared memory for a moment longer.
        if "pre-existing shared memory block" in output:
            still_in(self.home, 5.0)
            return True
        return False
