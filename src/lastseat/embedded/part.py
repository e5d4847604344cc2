"""One embedded server: start on a free port, wait until it answers, stop, kill, start again; knows no product."""

import abc
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

from lastseat.embedded import ports
from lastseat.embedded.account import Account, service_account
from lastseat.embedded.folder import Hold, Say, prepare, refuse_stranger, silent
from lastseat.embedded.process import Child, Step, spawn_child
from lastseat.errors import SetupError, Unavailable

READY_S = 60.0  # Limit: crash recovery of a large database takes a while; a healthy start takes 0.3 s
SETTLE_S = 10.0  # Limit: how long the processes of a killed predecessor may take to end
ATTEMPTS = 8  # Limit: ports tried before giving up
PROGRAMS = {"postgres", "valkey-server"}  # a shell that stands in the folder is not ours to end
STAMP = re.compile(r"^(.*?\d{4}-\d\d-\d\d [\d:.]+ UTC \[\d+\]|\d+:\w \d+ \w+ \d{4} [\d:.]+ [#*.-]) ")
DISK_FULL = ("No space left on device", "wrote only", "Disk quota exceeded")
TELLING = ("FATAL", "PANIC", "error:", "cannot run", "ERROR", "an't", "Failed")
PORT_TAKEN = "Address already in use"


class Part(abc.ABC):
    """A server program with its files in `folder`; subclasses say how to make, start and ask it."""

    what: str
    """Its name for people, such as "Valkey"."""
    stop_steps: tuple[Step, ...]
    death_signal: signal.Signals

    def __init__(self, folder: Path, *, port: int | None = None, on_progress: Say = silent) -> None:
        """`folder` is the data folder; `port` fixes the port, otherwise a free one is found and kept."""
        self.folder = folder
        self._wanted_port = port
        self._port = port
        self._say = on_progress
        self._word = ""
        self._account: Account | None = None
        self._child: Child | None = None
        self._hold: Hold | None = None

    @property
    @abc.abstractmethod
    def home(self) -> Path:
        """The folder of its files; its processes work there."""

    @property
    @abc.abstractmethod
    def url(self) -> str:
        """How to connect, password included."""

    @property
    def _word_path(self) -> Path:
        return self.folder / f"{self.home.name}.password"

    @abc.abstractmethod
    def _make_ready(self) -> None:
        """Make or repair the files; called before each start, with nobody else using them."""

    @abc.abstractmethod
    def _command(self, port: int) -> list[str | Path]: ...

    @abc.abstractmethod
    def _answers(self, child: Child, port: int) -> bool:
        """Whether this very child serves requests on the port."""

    def _repaired(self, output: str) -> bool:
        """Whether the failure told by `output` could be mended, so that another try makes sense."""
        del output
        return False

    @property
    def port(self) -> int:
        """The port it serves on."""
        if self._port is None:
            raise Unavailable(f"{self.what} has not been started")
        return self._port

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        if self._child is None:
            raise Unavailable(f"{self.what} is not running")
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._child is not None and self._child.poll() is None

    def start(self) -> str:
        """Start it, wait until it answers, and return its URL; does nothing when it runs already."""
        if self.running:
            return self.url
        began = time.monotonic()
        self._account = service_account()
        self.folder = prepare(self.folder, self._account)
        name = self.home.name
        if self._hold is None:
            self._hold = Hold(self.folder / f"{name}.held", f"The {self.what} of {self.folder}")
        try:
            self._settle()
            self._make_ready()
            self._start_somewhere()
        except OSError as problem:
            self.stop()
            raise SetupError(
                f"{self.what} cannot use {problem.filename or self.home}: {problem.strerror}.",
                way_out="Free some space, or set LASTSEAT_DATA_DIR to a folder you can write.",
            ) from problem
        except BaseException:
            self.stop()
            raise
        self._say(f"{self.what} ready on {ports.LOOPBACK}:{self.port} ({time.monotonic() - began:.1f} s)")
        return self.url

    def stop(self) -> None:
        """Stop it cleanly and give its files free; does nothing when it is not running."""
        if self._child is not None:
            self._child.stop(*self.stop_steps)
            self._child = None
        if self._hold is not None:
            self._hold.release()
            self._hold = None

    def kill(self) -> None:
        """End it as kill -9 does; its files stay ours and `restart()` brings it back."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def restart(self) -> str:
        """Stop it if it runs and start it again, on the same port unless somebody took that meanwhile."""
        if self._child is not None:
            self._child.stop(*self.stop_steps)
            self._child = None
        return self.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start_somewhere(self) -> None:
        for _ in range(ATTEMPTS):
            port = self._wanted_port or self._port or ports.free_port()
            output = self._start_on(port)
            if output is None:
                self._port = port
                return
            if PORT_TAKEN in output:
                self._refuse_wanted(port)
                self._port = None
            elif not self._repaired(output):
                raise self._failure(output)
        raise SetupError(f"{self.what} found no free port in {ATTEMPTS} tries.", way_out="Try again.")

    def _start_on(self, port: int) -> str | None:
        """None when it answers; otherwise what it wrote before it ended."""
        child = spawn_child(
            self._command(port),
            env=self._environment(),
            log_path=self.folder / f"{self.home.name}.log",
            user=self._account,
            death_signal=self.death_signal,
        )
        self._child = child
        deadline = time.monotonic() + READY_S
        pause_s = 0.002
        while child.poll() is None:
            if self._answers(child, port):
                return None
            if time.monotonic() > deadline:
                break
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.5, 0.05)
        child.stop(*self.stop_steps)
        self._child = None
        return child.output() or f"no answer within {READY_S:.0f} s"

    def _environment(self) -> Mapping[str, str] | None:
        return None

    def _refuse_wanted(self, port: int) -> None:
        if self._wanted_port is not None:
            raise SetupError(
                f"{self.what} cannot use port {port} on {ports.LOOPBACK}: it is in use.",
                way_out="Stop the program that uses it, or choose another port.",
            )

    def _failure(self, output: str) -> SetupError:
        log = self.folder / f"{self.home.name}.log"
        full = any(sign in output for sign in DISK_FULL)
        way_out = f"Free some space on the disk of {self.folder}." if full else f"Its log is {log}."
        return SetupError(f"{self.what} did not start: {reason(output)}.", way_out=way_out)

    def _settle(self) -> None:
        """Wait for what a killed predecessor left running in our files, and end what does not end itself."""
        if self.home.is_dir():
            refuse_stranger(self.home, self._account)
            if left := still_in(self.home, SETTLE_S):
                self._end_orphans(left)

    def _end_orphans(self, pids: list[int]) -> None:
        """Crash: we hold the files, so these are hanging leftovers of a killed run; kill -9 loses nothing."""
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if left := still_in(self.home, 1.0):
            raise SetupError(f"Processes {left} still use {self.home}.", way_out="End them and start again.")


def still_in(folder: Path, patience_s: float) -> list[int]:
    """Wait until no server process works in the folder; returns those that still do after `patience_s`."""
    deadline = time.monotonic() + patience_s
    while (pids := living_in(folder)) and time.monotonic() < deadline:
        time.sleep(0.01)
    return pids


def living_in(folder: Path) -> list[int]:
    """Server processes that work in this folder, as ours do."""
    if sys.platform == "linux":
        return [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if _serves_in(entry, folder)]
    return started_for(folder)


def _serves_in(process: Path, folder: Path) -> bool:
    try:
        at_home = (process / "cwd").readlink() == folder
        return at_home and (process / "comm").read_text().strip() in PROGRAMS
    except OSError:
        return False  # another user's process, or one that ended meanwhile


def started_for(folder: Path) -> list[int]:
    """Where there is no /proc: servers whose command line names the folder."""
    listing = subprocess.run(["/bin/ps", "-axwwo", "pid=,args="], capture_output=True, text=True, check=False)
    rows = [line.strip().partition(" ") for line in listing.stdout.splitlines()]
    return [int(pid) for pid, _, args in rows if str(folder) in args and _is_server(args)]


def _is_server(args: str) -> bool:
    return any(f"/{program} " in args for program in PROGRAMS)


def reason(output: str) -> str:
    """The line of a server's output that says why it gave up, without the server's time stamp."""
    lines = [STAMP.sub("", line).strip().rstrip(".") for line in output.splitlines()]
    lines = [line for line in lines if line]
    telling = [line for word in TELLING for line in reversed(lines) if word in line]
    return (telling or lines[-1:] or ["it wrote nothing"])[0]
