"""What news drop is exactly what readers read, and one module names every key."""

import asyncio
import re
from collections.abc import Callable

import pytest

from lastseat.model import Announcement, ContactId, ExamId, Gate, Outcome
from lastseat.settings import Settings
from lastseat.stores import keys
from lastseat.stores.views import ViewStore

ANNA = ContactId("701")
EXAM, OTHER = ExamId("501"), ExamId("502")
GATE = Gate(exam_id=EXAM, version=1, capacity=1, remaining=1, open=True)
MADE = Outcome(claim_id=None, booking_id=None, contact_id=None, exam_id=OTHER, state="booked")
EVERYTHING = Announcement(gates=[GATE], contacts=[ANNA], outcomes=[MADE], exams_changed=True)

Dropped = Callable[[Announcement], list[str]]


class Listening:
    """Stands for an empty Redis that keeps what it is given, and notes the keys that are looked up."""

    era = "0" * 16

    def __init__(self) -> None:
        self.read: set[str] = set()

    async def script(self, name: str, keys: list[str], args: list[object]) -> object:
        if name == "view_look":
            self.read.add(keys[0])
        await asyncio.sleep(0.001)  # as over a wire: whoever fills is still at it when the reader looks again
        return 1 if name == "view_keep" else None

    async def execute(self, *command: object) -> None:
        return None


async def keys_read() -> set[str]:
    """The key of every view that the news of everything name."""
    redis = Listening()
    views = ViewStore(redis, Settings())

    async def fill() -> bytes:
        return b"[]"

    await views.exams(fill)
    await views.all_exams(fill)
    await views.bookings(ANNA, fill)
    for exam_id in (EXAM, OTHER):
        await views.staff_exam(exam_id, fill)
    await views.close()
    return redis.read


async def unread(dropped: Dropped) -> set[str]:
    """Keys that these deletes name and nobody reads."""
    return set(dropped(EVERYTHING)) - await keys_read()


async def test_no_delete_names_a_key_that_nobody_reads():
    assert await unread(keys.views_changed_by) == set()
    assert set(keys.views_changed_by(EVERYTHING)) == await keys_read(), "and none that is read is left out"


@pytest.mark.parametrize(
    "planted",
    [
        keys.capacity_of(EXAM),
        keys.gate_of(EXAM),
        keys.last_of(keys.EXAMS_LIST),
        keys.bookings_of(ContactId("9")),
        "exams:lists",
    ],
)
async def test_a_delete_of_a_key_that_nobody_reads_is_found(planted: str):
    """The control: planted among the deletes, each of them is seen."""
    assert await unread(lambda news: [*keys.views_changed_by(news), planted]) == {planted}


def test_every_view_that_can_be_read_is_among_those_read():
    reads = {name for name in vars(ViewStore) if re.fullmatch(r"exams|bookings|all_exams|staff_exam", name)}
    assert reads == {name for name in vars(ViewStore) if not name.startswith("_")} - {
        "read",
        "void",
        "trust",
        "close",
    }


def test_one_module_names_every_key():
    from tests.house import rules

    named = re.compile(r"""["'](?:lastseat:(?:gate|exam|last|budget|tally|news|wake)|user:|exams:list|capacity:)""")
    found = {
        rules.short(path)
        for path in rules.with_suffix(".py", ".lua", under="src/lastseat")
        if named.search(path.read_text("utf-8"))
    }
    assert found == {"src/lastseat/stores/keys.py"}
