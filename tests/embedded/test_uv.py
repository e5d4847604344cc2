"""A killed `uv run` takes the whole demo with it, and whatever started us otherwise is none of our business."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from lastseat.embedded.ports import free_port

pytestmark = pytest.mark.embedded
PATIENCE_S = 90.0
# Starts a command of ours and waits, as `uv run` does.
STARTER = "import subprocess, sys; subprocess.run(sys.argv[1:])"
DEMO = ["-m", "lastseat", "demo", "--no-rush", "--students", "3"]


def of(folder: Path) -> set[int]:
    """The processes whose command line or environment names the folder."""
    found = set[int]()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if any(str(folder).encode() in (process / name).read_bytes() for name in ("cmdline", "environ")):
                found.add(int(process.name))
    return found


@contextmanager
def demo_under(name: str, folder: Path) -> Iterator[int]:
    """The pid of the starter, called `name`, of a demo whose site is open."""
    starter = folder / name
    starter.symlink_to(Path(sys.executable).resolve())
    data = folder / "data"
    output = folder / "output"
    command = [str(starter), "-c", STARTER, sys.executable, *DEMO, "--port", str(free_port())]
    environment = {**os.environ, "LASTSEAT_DATA_DIR": str(data), "PYTHONUNBUFFERED": "1"}
    with output.open("wb") as out, subprocess.Popen(command, env=environment, stdout=out, stderr=out) as running:
        try:
            waited_for(lambda: "/sign-in#token=" in output.read_text() or running.poll() is not None)
            assert running.poll() is None, output.read_text()
            yield running.pid
        finally:
            running.kill()
            for pid in of(data):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def waited_for(happened, patience_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + patience_s
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_killed_uv_leaves_neither_site_nor_stores_behind(open_folder: Path):
    data = open_folder / "data"
    with demo_under("uv", open_folder) as starter:
        names = {Path(f"/proc/{pid}/comm").read_text().strip() for pid in of(data)}
        assert {"uv", "postgres", "valkey-server"} <= names
        os.kill(starter, signal.SIGKILL)
        waited_for(lambda: not of(data) - {starter})
