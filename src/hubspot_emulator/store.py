"""A portal with its journal and request log on disk; never lets a change be answered before it is kept."""

import os
import sys
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import IO

import msgspec

from hubspot_emulator.calls import Call, Landed
from hubspot_emulator.journal import Journal, lines
from hubspot_emulator.portal import Event, Portal

try:
    import fcntl
except ImportError:  # pragma: no cover  Windows has no flock; the folder is then not guarded
    fcntl = None

JOURNAL = "journal.jsonl"
REQUESTS = "requests.jsonl"
CALLS_KEPT = 50_000


class Store:
    """The state of one emulator. Without a folder it lives in memory only."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.portal = Portal()
        # Limit: memory keeps the newest calls only, the file keeps all of them.
        self.calls: deque[Call] = deque(maxlen=CALLS_KEPT)
        self.last_seq = 0
        self.fresh = True
        self._guard: IO[str] | None = None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self._guard = _only_one(folder)
        try:
            self._replay()
        except SystemExit:
            self._let_go()
            raise
        self.journal = Journal(folder / JOURNAL if folder else None)
        self.requests = Journal(folder / REQUESTS if folder else None)
        self._log_interrupted()

    def _replay(self) -> None:
        self._committed: dict[int, Landed] = {}
        if self.folder is None:
            return
        for line in lines(self.folder / JOURNAL):
            entry = msgspec.convert(line, Landed)
            for event in entry.ev:
                self.portal.apply(event)
            self.fresh = False
            if entry.seq and not entry.late:
                self._committed[entry.seq] = entry
            self.last_seq = max(self.last_seq, entry.seq)
        for line in lines(self.folder / REQUESTS):
            self._remember(msgspec.convert(line, Call))

    def _remember(self, call: Call) -> None:
        self.calls.append(call)
        self._committed.pop(call.seq, None)
        self.last_seq = max(self.last_seq, call.seq)

    def _log_interrupted(self) -> None:
        # Crash: a call was committed and the process killed before its answer and its log line.
        # The journal knows it, so the log gets its line now, with the fault "killed".
        for seq, entry in list(self._committed.items()):
            self.log(
                Call(
                    seq=seq,
                    arrived_at=entry.at,
                    method="",
                    path="",
                    operation=entry.op,
                    object_type=entry.object_type,
                    counted=True,
                    fault="killed",
                    committed=True,
                )
            )

    def next_seq(self) -> int:
        """The number of an arriving call."""
        self.last_seq += 1
        return self.last_seq

    def commit(self, events: list[Event], at: float, call: Call | None = None, *, late: bool = False) -> None:
        """Keeps changes that are already in memory; only after this may they be answered."""
        if not events:
            return
        entry = Landed(at=at, ev=events, late=late)
        if call is not None:
            entry.seq, entry.op, entry.object_type = call.seq, call.operation, call.object_type
        self._kept(self.journal, msgspec.json.encode(entry))

    def log(self, call: Call) -> None:
        """Keeps the line of one answered call."""
        self._remember(call)
        self._kept(self.requests, msgspec.json.encode(call))

    def _kept(self, journal: Journal, line: bytes) -> None:
        try:
            journal.append(line)
        except OSError as problem:
            # Memory is ahead of the file now: going on would answer what a restart forgets.
            print(f"{journal.path}: {problem.strerror}; stopping", file=sys.stderr)  # noqa: T201  last words
            raise SystemExit(1) from problem

    def start_over(self, events: Iterable[Event], at: float) -> None:
        """Replaces everything by a new portal made of `events`, and empties the request log."""
        kept = list(events)
        self.portal = Portal()
        for event in kept:
            self.portal.apply(event)
        self.journal.replace([msgspec.json.encode(Landed(at=at, ev=kept))])
        self.requests.replace([])
        self.calls.clear()
        self.last_seq = 0
        self.fresh = False

    def close(self) -> None:
        """Lets go of the folder."""
        self.journal.close()
        self.requests.close()
        self._let_go()

    def _let_go(self) -> None:
        if self._guard is not None:
            self._guard.close()

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _only_one(folder: Path) -> IO[str]:
    file = (folder / "emulator.pid").open("a")
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise SystemExit(f"{folder}: another emulator uses this folder") from None
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file
