"""The newest seat count of each exam that this process has heard of; never goes back to a lower version."""

from collections.abc import Callable, Collection, Iterable
from typing import Final

from lastseat.model import ExamId, Gate

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
