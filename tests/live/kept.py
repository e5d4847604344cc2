"""Every view as a reader would keep it, dropped by news alone; says which ones news forgot."""

import msgspec

from lastseat.model import Announcement, ContactId, ExamId
from lastseat.stores.keys import EXAMS_AVAILABLE, EXAMS_LIST, bookings_of, exam_of, views_changed_by
from tests.staff.world import StaffWorld

LIVE = {"total_bookings", "synced_at", "updated_at"}
"""Exams: counts come from the gates and never from a view; the others say when, not what."""


class Kept:
    """The bodies of all views of a world, filled once and dropped by what `keys` says of the news."""

    def __init__(self, world: StaffWorld, contacts: list[str], exams: list[str], changed=views_changed_by) -> None:
        self._world = world
        self._contacts = [ContactId(contact) for contact in contacts]
        self._exams = [ExamId(exam) for exam in exams]
        self._changed = changed
        self.bodies: dict[str, bytes] = {}
        world.bulletin.subscribe(self.hear)

    def hear(self, news: Announcement) -> None:
        for view in self._changed(news):
            self.bodies.pop(view, None)

    async def fill(self) -> None:
        self.bodies = await self._present()

    async def outdated(self) -> list[str]:
        """Views that are kept and show something else than the ledger."""
        present = await self._present()
        return sorted(view for view, body in self.bodies.items() if present[view] != body)

    async def _present(self) -> dict[str, bytes]:
        ledger = self._world.ledger
        bodies = {
            EXAMS_AVAILABLE: _encoded(await ledger.exams()),
            EXAMS_LIST: _encoded((await ledger.all_exams(offset=0, limit=100)).exams),
        }
        for contact_id in self._contacts:
            bodies[bookings_of(contact_id)] = msgspec.json.encode(
                [_without(booking, {"synced_at", "updated_at"}) for booking in await ledger.bookings(contact_id)]
            )
        for exam_id in self._exams:
            exam = await ledger.staff_exam(exam_id)
            bodies[exam_of(exam_id)] = _encoded([] if exam is None else [exam])
        return bodies


def _encoded(exams: list) -> bytes:
    return msgspec.json.encode([_without(exam, LIVE) for exam in exams])


def _without(fact: msgspec.Struct, names: set[str]) -> dict[str, object]:
    return {name: value for name, value in msgspec.structs.asdict(fact).items() if name not in names}
