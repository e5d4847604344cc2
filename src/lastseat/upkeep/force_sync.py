"""Brings all exams, or one exam's bookings, up to HubSpot on demand, by lists and reads by id; never by search."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any, Final

import msgspec

from lastseat.errors import Refused
from lastseat.model import ExamId, Record
from lastseat.ports import Bulletin, Lists, RateBudget, RecordKind, UpkeepLedger
from lastseat.settings import Settings
from lastseat.upkeep.calls import PATIENCE_S, Calls
from lastseat.upkeep.intake import Intake, Rejected
from lastseat.upkeep.linking import PROPERTY, linked, linkless, without_empty_links

READ_MOST: Final = 100  # Limit: HubSpot reads so many records by id in a call.
KIND: Final = "sync"


class Synced(msgspec.Struct, frozen=True, kw_only=True):
    """What a sync did: records that are there now, records that are gone, and what could not be taken as it is."""

    kind: RecordKind
    synced: int
    archived: int
    calls: int
    rejected: list[Rejected]

    @property
    def message(self) -> str:
        """The PRD's words."""
        return f"Synced {self.synced} {self.kind}"


class ForceSync:
    """Syncs for whoever asks; who asks for one that is under way waits for that one.

    `deadline_s`: so long a sync may wait for HubSpot, then it ends with Unavailable; None waits like an operator.
    `begins`: see Calls.
    """

    def __init__(
        self,
        lists: Lists,
        ledger: UpkeepLedger,
        budget: RateBudget,
        bulletin: Bulletin,
        settings: Settings,
        *,
        deadline_s: float | None = None,
        begins: bool = False,
    ) -> None:
        self._lists = lists
        self._ledger = ledger
        self._budget = budget
        self._bulletin = bulletin
        self._settings = settings
        self._deadline_s = deadline_s
        self._begins = begins
        self._under_way: dict[str, asyncio.Task[Synced]] = {}

    async def exams(self, actor: str) -> Synced:
        """Every exam that HubSpot lists, live and archived."""
        return await self._once("exams", lambda: self._exams(actor))

    async def bookings(self, exam_id: ExamId, actor: str) -> Synced:
        """The bookings of one exam; raise Refused EXAM_NOT_FOUND when HubSpot does not have the exam."""
        return await self._once(f"bookings {exam_id}", lambda: self._bookings(exam_id, actor))

    async def _once(self, name: str, work: Callable[[], Coroutine[Any, Any, Synced]]) -> Synced:
        task = self._under_way.get(name)
        if task is None:
            task = asyncio.create_task(work())
            self._under_way[name] = task
            task.add_done_callback(lambda done: self._ended(name, done))
        # Race: the first who asked may go away while others still wait for the same sync.
        return await asyncio.shield(task)

    def _ended(self, name: str, task: asyncio.Task[Synced]) -> None:
        del self._under_way[name]
        if not task.cancelled():
            task.exception()  # nobody may be left to hear of it

    async def _begin(self, actor: str) -> tuple[Calls, Intake]:
        patience_s = PATIENCE_S if self._deadline_s is None else self._deadline_s
        calls = Calls(
            self._budget,
            self._settings,
            KIND,
            patience_s=patience_s,
            deadline_s=self._deadline_s,
            begins=self._begins,
        )
        _, clock = await calls.patiently(lambda: self._ledger.cursor(KIND))
        return calls, Intake(self._ledger, self._bulletin, calls, actor, clock)

    async def _exams(self, actor: str) -> Synced:
        calls, intake = await self._begin(actor)
        live, rejected = await self._listed(calls, intake, archived=False)
        gone, more = await self._listed(calls, intake, archived=True)
        return Synced(kind="exams", synced=live, archived=gone, calls=calls.made, rejected=rejected + more)

    async def _listed(self, calls: Calls, intake: Intake, *, archived: bool) -> tuple[int, list[Rejected]]:
        count, rejected = 0, list[Rejected]()
        after: str | None = None
        while True:
            read_at = intake.clock
            page = await calls.ask(
                lambda slot, after=after: self._lists.page(slot, "exams", after=after, archived=archived)
            )
            count += len(page.records)
            rejected += await self._taken(intake, "exams", page.records, read_at)
            after = page.after
            if after is None:
                return count, rejected

    async def _bookings(self, exam_id: ExamId, actor: str) -> Synced:
        calls, intake = await self._begin(actor)
        rejected = await self._exam(calls, intake, exam_id)
        associated = await self._associated(calls, exam_id)
        known, _ = await calls.patiently(lambda: self._ledger.exam_records(exam_id))
        ids = list(dict.fromkeys([*associated, *known]))
        live, gone = 0, 0
        for start in range(0, len(ids), READ_MOST):
            read_at = intake.clock
            records, missing = await self._read(calls, ids[start : start + READ_MOST])
            records = [_of_exam(record, exam_id, associated) for record in records]
            rejected += await self._taken(intake, "bookings", records, read_at)
            await self._taken(intake, "bookings", [_archived(one) for one in missing], read_at)
            rejected += await self._with_contacts(intake, calls, records)
            live, gone = live + len(records), gone + len(missing)
        return Synced(kind="bookings", synced=live, archived=gone, calls=calls.made, rejected=rejected)

    async def _exam(self, calls: Calls, intake: Intake, exam_id: ExamId) -> list[Rejected]:
        read_at = intake.clock
        exam = await calls.ask(lambda slot: self._lists.read(slot, "exams", [exam_id]))
        if exam.gone:
            raise Refused("There is no such exam.", code="EXAM_NOT_FOUND")
        return await self._taken(intake, "exams", exam.records, read_at)

    async def _associated(self, calls: Calls, exam_id: ExamId) -> list[str]:
        found: list[str] = []
        after: str | None = None
        while True:
            ids, after = await calls.ask(lambda slot, after=after: self._lists.bookings_of(slot, exam_id, after))
            found += ids
            if after is None:
                return found

    async def _read(self, calls: Calls, ids: list[str]) -> tuple[list[Record], list[str]]:
        """The records, and the ids that HubSpot says are gone. An id it is silent about is asked for alone."""
        answer = await calls.ask(lambda slot: self._lists.read(slot, "bookings", ids))
        records, gone = list(answer.records), list(answer.gone)
        told = {record.hubspot_id for record in records} | set(gone)
        for one in ids:
            if one not in told:
                alone = await calls.ask(lambda slot, one=one: self._lists.read(slot, "bookings", [one]))
                records += [record for record in alone.records if record.hubspot_id not in told]
                told |= {record.hubspot_id for record in alone.records}
                gone += alone.gone
        return records, gone

    async def _with_contacts(self, intake: Intake, calls: Calls, records: list[Record]) -> list[Rejected]:
        ids = linkless(records, "contacts")
        if not ids:
            return []
        read_at = intake.clock
        found = await calls.ask(lambda slot: self._lists.ends(slot, ids, "contacts"))
        contacts, rejected = linked("contacts", ids, found)
        return rejected + await self._taken(intake, "bookings", contacts, read_at, whole=False)

    async def _taken(
        self, intake: Intake, kind: RecordKind, records: list[Record], read_at: datetime, *, whole: bool = True
    ) -> list[Rejected]:
        """`whole`: the records are as HubSpot has them, so an empty link may still be an association."""
        rejected = intake.faults(kind, records)
        ready = [without_empty_links(record) for record in records] if whole and kind == "bookings" else records
        if not ready:
            return rejected
        try:
            await intake.take(kind, ready, read_at)
        except Refused:
            return rejected + await intake.take_each(kind, ready, read_at)
        return rejected


def _of_exam(record: Record, exam_id: ExamId, associated: list[str]) -> Record:
    """A booking that names no exam belongs to the one it is associated with."""
    if linkless([record], "exams") and record.hubspot_id in associated:
        return msgspec.structs.replace(record, properties={**record.properties, PROPERTY["exams"]: exam_id})
    return record


def _archived(booking_id: str) -> Record:
    return Record(hubspot_id=booking_id, properties={}, archived=True)
