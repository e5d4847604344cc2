"""Who holds which seat, as plain as can be: what the ledger must say of every exam after every rule."""

from dataclasses import dataclass, field


@dataclass
class ExamModel:
    """`seats`: what HubSpot acknowledged. `lower`: what staff's changes under way tighten. `shut`: they close it."""

    seats: int
    open: bool = True
    lower: list[int] = field(default_factory=list)
    shut: int = 0

    @property
    def may_give(self) -> int:
        return min([self.seats, *self.lower])

    @property
    def closed(self) -> bool:
        return not self.open or self.shut > 0


@dataclass
class Model:
    """`holds`: our booking id, or HubSpot's record id of a booking made there, to (contact, exam)."""

    exams: dict[str, ExamModel]
    holds: dict[str, tuple[str, str]] = field(default_factory=dict)

    def taken(self, exam_id: str) -> int:
        return sum(exam == exam_id for _, exam in self.holds.values())

    def verdict(self, contact: str, exam_id: str) -> str:
        """What a new wish must hear."""
        exam = self.exams[exam_id]
        if (contact, exam_id) in self.holds.values():
            return "already_booked"
        if exam.closed:
            return "closed"
        return "won" if self.taken(exam_id) < exam.may_give else "full"

    def gives(self, name: str, contact: str, exam_id: str) -> None:
        self.holds[name] = (contact, exam_id)

    def takes_back(self, name: str) -> None:
        self.holds.pop(name, None)
