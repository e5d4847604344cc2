"""Append-only files that survive `kill -9`; never rewrites a line and never guesses at a broken one."""

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec


class Journal:
    """One file of JSON lines. A line is in the file before the answer that depends on it is sent.

    Crash: `os.write` hands the line to the kernel, so it outlives the process. A kill in the middle of
    a write leaves a last line without its newline: that call was never answered, and `lines` drops it.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._fd = -1 if path is None else os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def append(self, line: bytes) -> None:
        """Writes one line; an error here must stop the process, since memory is already ahead."""
        if self._fd < 0:
            return
        rest = memoryview(line + b"\n")
        while rest:
            rest = rest[os.write(self._fd, rest) :]

    def replace(self, lines: Iterable[bytes]) -> None:
        """Starts over with other content, all of it or none."""
        if self.path is None:
            return
        fresh = self.path.with_name(self.path.name + ".new")
        with fresh.open("wb") as file:
            file.writelines(line + b"\n" for line in lines)
        fresh.replace(self.path)
        os.close(self._fd)
        self._fd = os.open(self.path, os.O_WRONLY | os.O_APPEND, 0o600)

    def close(self) -> None:
        """Lets go of the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def lines(path: Path) -> Iterator[Any]:
    """The decoded lines of a journal; drops a torn last line from the file and says so."""
    if not path.exists():
        return
    whole = path.read_bytes()
    good = whole.rfind(b"\n") + 1
    if good < len(whole):
        print(f"{path}: dropped a torn last line of {len(whole) - good} bytes", file=sys.stderr)  # noqa: T201  the operator is told once
        os.truncate(path, good)
    for number, line in enumerate(whole[:good].split(b"\n")[:-1], 1):
        try:
            yield msgspec.json.decode(line)
        except msgspec.MsgspecError as problem:
            raise SystemExit(f"{path}: line {number} is not JSON ({problem}); move the file away") from None
