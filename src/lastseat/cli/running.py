"""Notes in the data folder what runs there, so that `doctor` finds it; never holds a real portal's token."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

import msgspec

from lastseat.embedded.folder import write_private

NOTE: Final = "running.json"


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """Where the parts of this data folder are while they run, as settings by name."""

    port: int
    pid: int
    environment: dict[str, str]


class Noting:
    """Keeps the note while the body runs. Only its owner can read it: the addresses carry passwords."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NOTE

    def note(self, port: int, environment: Mapping[str, str]) -> None:
        """Say what runs now."""
        running = Running(port=port, pid=os.getpid(), environment=dict(environment))
        write_private(self._path, msgspec.json.encode(running).decode() + "\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Race: who is refused because another runs here must not take away that one's note.
        noted = read_note(self._path.parent)
        if noted is not None and noted.pid == os.getpid():
            self._path.unlink(missing_ok=True)


def read_note(folder: Path) -> Running | None:
    """What runs in this folder, or None."""
    try:
        running = msgspec.json.decode((folder / NOTE).read_bytes(), type=Running)
        # Crash: a killed process leaves its note behind.
        os.kill(running.pid, 0)
    except (OSError, msgspec.MsgspecError):
        return None
    return running
