"""Bodies that were made of one state of the exams, and until when they may be given out unasked; asks no store."""

from typing import Final

from lastseat.model import Exam, ExamId
from lastseat.reads.shown import Filter

BODIES_MOST: Final = 64  # Limit: filtered lists kept at once
CAPACITIES_MOST: Final = 1_000  # Limit: capacity bodies kept at once


class Edition:
    """What readers are given until something of it changes; then it is void, and another one begins.

    Whoever gives a body out again looks at `until` only, and leaves the moment in `given_at`: a crowd pays for no
    more. All times are seconds of `time.monotonic()`.
    """

    __slots__ = ("bodies", "capacities", "given_at", "shown", "true_at", "until")

    def __init__(self, true_at: float = 0.0, until: float = 0.0) -> None:
        """`true_at`: when it was last known to be what the stores hold."""
        self.true_at = true_at
        self.until = until
        self.given_at: list[float] = []
        self.shown: list[tuple[Exam, bytes]] | None = None
        self.bodies: dict[Filter, bytes] = {}
        self.capacities: dict[ExamId, bytes] = {}

    def end(self) -> None:
        """It is void: whoever still holds it asks anew, and holds no bodies by it."""
        self.until = 0.0
        self.shown = None
        self.bodies.clear()
        self.capacities.clear()

    def keep_body(self, wanted: Filter, body: bytes) -> None:
        """Keep a list, bounded."""
        if len(self.bodies) >= BODIES_MOST:
            self.bodies.clear()
        self.bodies[wanted] = body

    def keep_capacity(self, exam_id: ExamId, body: bytes) -> None:
        """Keep an exam's count, bounded."""
        if len(self.capacities) >= CAPACITIES_MOST:
            self.capacities.clear()
        self.capacities[exam_id] = body
