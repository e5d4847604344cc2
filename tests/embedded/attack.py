"""What the tests of this folder share: programs to kill, pids to watch, folders to spoil."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PATIENCE_S = 10.0


def until(happened: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < deadline, f"waited {PATIENCE_S} s for: {what}"
        time.sleep(0.01)


def lives(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    except NotADirectoryError:
        return False
    return state != "Z"


def until_gone(*pids: int) -> None:
    until(lambda: not any(lives(pid) for pid in pids), f"the end of {pids}")


@contextmanager
def program(source: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A Python program in a process group of its own; ended with kill -9 if the test did not end it."""
    command = [sys.executable, "-c", source, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, process_group=0) as running:
        try:
            yield running
        finally:
            with suppress(ProcessLookupError):
                running.send_signal(signal.SIGKILL)


def numbers(running: subprocess.Popen[str]) -> list[int]:
    """The pids the program printed on one line."""
    assert running.stdout is not None
    return [int(word) for word in running.stdout.readline().split()]


def copied(folder: Path, target: Path) -> Path:
    """A copy with owners and modes, which shutil does not keep."""
    subprocess.run(["cp", "-a", f"{folder}/.", target], check=True)
    return target


def is_root() -> bool:
    return os.geteuid() == 0
