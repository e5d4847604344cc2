"""Starts programs that end when we end, and stops them in order; never leaves one behind, also after kill -9.

Ctrl-C: each child gets a process group of its own, so the terminal sends Ctrl-C to us alone and we stop the children
in the right order. The session stays ours. Linux ends the children of a killed parent itself (PR_SET_PDEATHSIG);
elsewhere a small shell waits at the end of a pipe that breaks when we die.
"""

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path

from lastseat.embedded.account import Account
from lastseat.embedded.launch import end_with_parent_thread
from lastseat.errors import SetupError

HAS_DEATH_SIGNAL = sys.platform == "linux"
LAUNCH = Path(__file__).with_name("launch.py")
OUTPUT_LIMIT = 16_384  # Limit: bytes of a child's output looked at for the reason of a failure
LOG_LIMIT = 8 * 1024 * 1024  # Limit: a larger log is put aside at the next start, one older copy is kept
PARENT_POLL_S = 0.25
KEPT_ENVIRONMENT = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH")

Step = tuple[signal.Signals, float]
"""A signal, and the seconds a child has to end after it."""
Program = subprocess.Popen[bytes]


class _Spawner:
    """One thread that forks for the whole process.

    Race: the death signal comes when the *thread* that forked ends, not the process; a child started from a worker
    thread would be shot when that thread finishes.
    """

    def __init__(self) -> None:
        self._orders: queue.SimpleQueue[tuple[Callable[[], Program], Future[Program]]] = queue.SimpleQueue()
        self.owner_pid = os.getpid()
        threading.Thread(target=self._serve, name="spawner", daemon=True).start()

    def _serve(self) -> None:
        while True:
            order, answer = self._orders.get()
            try:
                answer.set_result(order())
            except OSError as problem:
                answer.set_exception(problem)

    def spawn(self, order: Callable[[], Program]) -> Program:
        answer: Future[Program] = Future()
        self._orders.put((order, answer))
        return answer.result()


_spawner: _Spawner | None = None
_spawner_guard = threading.Lock()


def _fork_from_the_lasting_thread(order: Callable[[], Program]) -> Program:
    global _spawner  # noqa: PLW0603  one per process, and a forked copy of us has no such thread
    with _spawner_guard:
        if _spawner is None or _spawner.owner_pid != os.getpid():
            _spawner = _Spawner()
        return _spawner.spawn(order)


class Child:
    """A running program of ours and the part of the log it has written."""

    def __init__(self, popen: Program, log_path: Path, log_start: int) -> None:
        self._popen = popen
        self._log_start = log_start
        self._watcher: Program | None = None
        self.log_path = log_path

    @property
    def pid(self) -> int:
        """The program's process id."""
        return self._popen.pid

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._popen.poll()

    def wait(self, timeout_s: float | None = None) -> int | None:
        """The exit code, or None if it still runs after `timeout_s`."""
        try:
            return self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def send(self, what: signal.Signals) -> None:
        """Send a signal; does nothing when the child has ended."""
        self._popen.send_signal(what)

    def output(self) -> str:
        """What this child has written so far (the last part of it)."""
        with self.log_path.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(self._log_start, size - OUTPUT_LIMIT))
            return log.read().decode(errors="replace")

    def stop(self, *steps: Step) -> int:
        """Ask with each signal in turn, and kill if none of them works; returns the exit code."""
        for what, patience_s in steps or ((signal.SIGTERM, 10.0),):
            self.send(what)
            if self.wait(patience_s) is not None:
                break
        return self.kill()

    def kill(self) -> int:
        """End it now (kill -9) with all it started in its process group, and collect it."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        code = self._popen.wait()
        self._dismiss_watcher()
        return code

    def watch_with_shell(self, death_signal: signal.Signals) -> None:
        """Where the kernel has no death signal: a shell at a pipe whose other end only we hold."""
        script = 'read -r done || kill -s "$1" "$2"'
        self._watcher = _fork_from_the_lasting_thread(
            lambda: subprocess.Popen(  # noqa: S603  our own constant script
                ["/bin/sh", "-c", script, "watch", str(death_signal.value), str(self.pid)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                process_group=0,
            )
        )

    def _dismiss_watcher(self) -> None:
        if self._watcher is not None:
            with suppress(BrokenPipeError):
                self._watcher.communicate(b"done\n")
            self._watcher = None


def spawn_child(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    log_path: Path,
    user: Account | None = None,
    death_signal: signal.Signals = signal.SIGKILL,
) -> Child:
    """Start a program that gets `death_signal` when we end, in whatever way we end.

    `argv[0]` is an absolute path. `env` is the whole environment (default: a bare one without our secrets). Output
    goes to the end of `log_path`. `user` is who it runs as; only root may name one. A program that starts processes
    itself must pass the end on: `die_with_parent()` in each of them.
    """
    log = _open_log(log_path)
    try:
        log_start = os.fstat(log).st_size
        number = death_signal.value if HAS_DEATH_SIGNAL else 0
        uid, gid = (user.uid, user.gid) if user is not None else (-1, -1)
        launch = [sys.executable, "-I", "-S", LAUNCH, os.getpid(), number, uid, gid]
        command = [str(word) for word in (*launch, *argv)]
        popen = _fork_from_the_lasting_thread(
            lambda: subprocess.Popen(  # noqa: S603  callers pass programs of ours, never a request's text
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(env) if env is not None else bare_environment(),
                cwd="/",
                process_group=0,
            )
        )
    finally:
        os.close(log)
    child = Child(popen, log_path, log_start)
    if not HAS_DEATH_SIGNAL:
        child.watch_with_shell(death_signal)
    return child


def bare_environment() -> dict[str, str]:
    """What a server of ours needs to know of our environment; none of our tokens is in it."""
    kept = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}


def _open_log(path: Path) -> int:
    try:
        if path.exists() and path.stat().st_size > LOG_LIMIT:
            path.replace(path.with_name(path.name + ".1"))
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as problem:
        raise SetupError(
            f"Cannot write the log {path}: {problem.strerror}.",
            way_out="Free some space or set LASTSEAT_DATA_DIR to a folder you can write.",
        ) from problem


def die_with_parent(*, parent_pid: int | None = None, death_signal: signal.Signals = signal.SIGTERM) -> None:
    """For a process of ours that another of ours started: end when that one ends.

    Call it early, in the main thread. `parent_pid` is what the parent told us its pid is; with it a parent that ended
    before this call is noticed too. Elsewhere than on Linux a thread looks for the parent four times a second.
    """
    expected = parent_pid if parent_pid is not None else os.getppid()
    if HAS_DEATH_SIGNAL:
        end_with_parent_thread(death_signal)
    else:
        threading.Thread(target=_end_when_orphaned, args=(expected, death_signal), daemon=True).start()
    if os.getppid() != expected:
        os.kill(os.getpid(), death_signal)


def die_with_uv() -> None:
    """When `uv run` started us, end when it ends: a kill -9 reaches uv alone and would leave us running unseen."""
    try:
        parent = Path(f"/proc/{os.getppid()}/comm").read_text().strip()
    except OSError:
        return  # no /proc on this system; Ctrl-C and SIGTERM are passed on by uv itself
    if parent == "uv":
        die_with_parent()


def _end_when_orphaned(parent_pid: int, death_signal: signal.Signals) -> None:
    while os.getppid() == parent_pid:
        time.sleep(PARENT_POLL_S)
    os.kill(os.getpid(), death_signal)
