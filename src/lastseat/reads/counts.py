"""Seat counts: looks them up, and keeps the newest that this process heard of; never goes back to a lower version."""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final

from lastseat.errors import Unavailable
from lastseat.group_commit import GroupCommit
from lastseat.model import ExamId, Gate
from lastseat.ports import Gates, SeatLedger

LOOKS: Final = 1_000  # Limit: neighbours that share one ledger call
SLACK: Final = 1_000  # Limit: exams remembered beyond twice those of the list


class Counts:
    """What the ledger last said, by version."""

    def __init__(self, forget_s: float, clock: Callable[[], float]) -> None:
        """After `forget_s` without news a lower version is believed: the ledger was restored from a backup."""
        self._forget_s = forget_s
        self._clock = clock
        self._gates: dict[ExamId, tuple[float, Gate]] = {}

    def get(self, exam_id: ExamId) -> Gate | None:
        """What is known."""
        known = self._gates.get(exam_id)
        return None if known is None else known[1]

    def heard_at(self, exam_id: ExamId) -> float | None:
        """When it was last said, on the process's clock."""
        known = self._gates.get(exam_id)
        return None if known is None else known[0]

    def learn(self, gates: Iterable[Gate]) -> list[Gate]:
        """Take what is newer; return those that show something else than before."""
        now = self._clock()
        changed: list[Gate] = []
        for gate in gates:
            at, known = self._gates.get(gate.exam_id, (now, None))
            if known is None or gate.version >= known.version or now - at > self._forget_s:
                self._gates[gate.exam_id] = (now, known if gate == known and known is not None else gate)
                if known is None or _shown(gate) != _shown(known):
                    changed.append(gate)
        return changed

    def keep_only(self, exam_ids: Collection[ExamId]) -> None:
        """Forget all others."""
        if len(self._gates) > 2 * len(exam_ids) + SLACK:
            self._gates = {exam_id: known for exam_id, known in self._gates.items() if exam_id in exam_ids}


def _shown(gate: Gate) -> tuple[int, int, int, bool]:
    return gate.capacity, gate.taken, gate.remaining, gate.open


class SeatLooks:
    """Counts from the gates, and behind them from the ledger, in one call for all neighbours."""

    def __init__(self, gates: Gates, ledger: SeatLedger) -> None:
        self._gates = gates
        self._ledger = ledger
        self._ledger_looks = GroupCommit(self._ask_ledger, window_s=0, limit=LOOKS)

    async def of(self, exam_ids: Collection[ExamId]) -> tuple[list[Gate], bool]:
        """The gates of these exams, and whether both stores together could be asked."""
        found = await self._gates.look(exam_ids)
        absent = [exam_id for exam_id in exam_ids if exam_id not in found]
        if not absent:
            return list(found.values()), True
        try:
            return [*found.values(), *await self._ledger_looks.submit(absent)], True
        except Unavailable:
            return list(found.values()), False

    async def _ask_ledger(self, asked: Sequence[Collection[ExamId]]) -> list[list[Gate]]:
        gates = await self._ledger.gates(list({exam_id: None for exam_ids in asked for exam_id in exam_ids}))
        await self._gates.put(gates)
        by_id = {gate.exam_id: gate for gate in gates}
        return [[by_id[exam_id] for exam_id in exam_ids if exam_id in by_id] for exam_ids in asked]
