"""Makes up a school: sessions ahead, and students with names as real ones have; never copies anybody's data."""

import itertools
import random
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from lastseat.model import Properties

TYPES: Final = ("Situational Judgment", "Clinical Skills", "Mini-mock", "Mock Discussion")
PLACES: Final = (
    "Mississauga",
    "Mississauga - B9",
    "Mississauga - Lab D",
    "Calgary",
    "Vancouver",
    "Montreal",
    "Richmond Hill",
    "Online",
)
SLOTS: Final = (("09:00", "11:00"), ("11:30", "13:30"), ("14:00", "16:00"), ("16:30", "18:30"))
SEATS: Final = (10, 12, 15, 20, 24, 30, 40)
FIRST_NAMES: Final = (
    "Amélie", "Aoife", "Arjun", "Beatriz", "Björn", "Chidi", "Chloé", "D'Andre", "Emre", "Fatima", "Grace", "Håkon",
    "Ines", "Jean-Luc", "José", "Kateryna", "Li", "Małgorzata", "Mei", "Mohammed", "Ngozi", "Noah", "Núria", "Olivia",
    "Priya", "Renée", "Siobhán", "Søren", "Tāne", "Thuy", "Zoë", "Yusuf",
)  # fmt: skip
LAST_NAMES: Final = (
    "Abdi", "Bélanger", "Chen", "D'Angelo", "Dvořák", "Fernández", "García Márquez", "Haddad", "Ibrahim",
    "Jónsdóttir", "Kaur", "Lê", "MacDonald", "Müller", "Nguyễn", "O'Brien", "O'Neill", "Okafor", "Østergård", "Patel",
    "Peña", "Quispe", "Rousseau", "Singh", "St. John", "Tremblay", "van der Berg", "Wójcik", "Yılmaz", "Zhou",
)  # fmt: skip
ONE_WORD_NAMES: Final = ("Suharto", "Thiruvalluvar", "Madhubala")
HANDS: Final = ("Right", "Right", "Right", "Right", "Left")


class School(msgspec.Struct, frozen=True, kw_only=True):
    """Records as HubSpot would hold them, still without ids."""

    exams: list[Properties]
    contacts: list[Properties]


class Student(msgspec.Struct, frozen=True, kw_only=True):
    """A contact with the id that HubSpot gave it."""

    contact_id: str
    properties: Properties

    @property
    def name(self) -> str:
        """First and last name, or the one name there is."""
        return " ".join(part for part in (self.properties.get("firstname"), self.properties.get("lastname")) if part)


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """An exam with the id that HubSpot gave it."""

    exam_id: str
    properties: Properties

    @property
    def seats(self) -> int:
        """Its capacity."""
        return int(self.properties["capacity"])


def rush_school(*, students: int, seats: int, exams: int, seed: int, timezone: str, first: int = 1) -> School:
    """So many sessions that share the seats evenly, and so many students; `first` numbers the students."""
    dice = random.Random(seed)  # noqa: S311  made-up people, no secret
    today = datetime.now(ZoneInfo(timezone)).date()
    share, rest = divmod(seats, exams)
    sessions = [
        _exam(dice, today + timedelta(days=7 + n), SLOTS[n % len(SLOTS)], share + (n < rest)) for n in range(exams)
    ]
    return School(exams=sessions, contacts=people(dice, students, first))


def demo_school(*, students: int, days: int, seed: int, timezone: str) -> School:
    """Some weeks of a school: one type and place a day, as several sessions."""
    dice = random.Random(seed)  # noqa: S311  made-up people, no secret
    today = datetime.now(ZoneInfo(timezone)).date()
    exams: list[Properties] = []
    for day in range(2, 2 + days):
        kind, place = dice.choice(TYPES), dice.choice(PLACES)
        slots = dice.sample(SLOTS, dice.randint(2, 4))
        exams += [
            _exam(dice, today + timedelta(days=day), slot, dice.choice(SEATS), kind, place) for slot in sorted(slots)
        ]
    return School(exams=exams, contacts=people(dice, students, 1))


def people_from(first: int, count: int, *, seed: int) -> School:
    """More students, numbered from `first`."""
    dice = random.Random(f"{seed}:{first}")  # noqa: S311  made-up people, no secret
    return School(exams=[], contacts=people(dice, count, first))


def _exam(
    dice: random.Random,
    day: date,
    slot: tuple[str, str],
    seats: int,
    kind: str | None = None,
    place: str | None = None,
) -> Properties:
    kind, place = kind or dice.choice(TYPES), place or dice.choice(PLACES)
    return {
        "mock_exam_name": f"{kind} – {place}, {day:%B} {day.day}, {slot[0]}",
        "mock_type": kind,
        "exam_date": day.isoformat(),
        "start_time": slot[0],
        "end_time": slot[1],
        "location": place,
        "capacity": str(seats),
        "total_bookings": "0",
        "is_active": "active",
    }


def people(dice: random.Random, count: int, first: int) -> list[Properties]:
    """So many students with numbers of their own; some share a name, as people do."""
    return [_person(dice, number) for number in itertools.islice(itertools.count(first), count)]


def _person(dice: random.Random, number: int) -> Properties:
    student_id = f"TRAINEE{number:04d}"
    person = {"student_id": student_id, "email": f"{student_id.lower()}@students.example"}
    if dice.random() < 0.03:
        return person | {"firstname": dice.choice(ONE_WORD_NAMES)}
    return person | {"firstname": dice.choice(FIRST_NAMES), "lastname": dice.choice(LAST_NAMES)}


def wish(exam: Session, dice: random.Random) -> dict[str, str]:
    """The body of a booking request for this session: what its type asks for."""
    body = {"examId": exam.exam_id}
    kind = exam.properties["mock_type"]
    if kind == "Clinical Skills":
        body["dominant_hand"] = dice.choice(HANDS)
    elif kind in {"Situational Judgment", "Mini-mock"}:
        body["attending_location"] = exam.properties["location"]
    return body


def spread(students: Sequence[Student], exams: Sequence[Session]) -> list[tuple[Student, Session]]:
    """Each student with one session, all sessions wanted alike."""
    return [(student, exams[n % len(exams)]) for n, student in enumerate(students)]
