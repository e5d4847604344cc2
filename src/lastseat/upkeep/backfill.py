"""Reads everything from HubSpot once into the mirror, page by page, resumable; never searches, never deletes.

The cursor is kept with each page in one transaction, so a kill at any moment costs at most the call under way.
Running it again, or while students book, changes nothing that is newer. Absence is not deletion: only a record that
HubSpot lists as archived is marked so, and records that it does not list at all are reported.
"""

import hashlib
import secrets
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, Protocol

import msgspec
from msgspec.structs import replace

from lastseat.errors import Refused
from lastseat.model import Announcement, ContactId, Record
from lastseat.ports import Bulletin, ListPage, Lists, RecordKind, SeatLedger, Survey, UpkeepLedger
from lastseat.settings import Settings
from lastseat.upkeep.calls import Calls
from lastseat.upkeep.intake import Intake, Overtaken, Rejected
from lastseat.upkeep.linking import ENDS_MOST, PROPERTY, LinkEnd, linked, linkless, without_empty_links

CURSOR: Final = "backfill"
PASSES: Final[tuple[tuple[RecordKind, bool], ...]] = (
    ("exams", False),
    ("exams", True),
    ("contacts", False),
    ("contacts", True),
    ("bookings", False),
    ("bookings", True),
)
"""What is listed, in this order; True is the pass over archived records, after the one over live records."""
PORTION: Final = 100  # Limit: rows in a transaction, which keeps out whoever books in their exams.
REJECTED_MOST: Final = 1_000  # Limit: so many rejected records are named; the others are counted.
FINDINGS_MOST: Final = 1_000


class Progress(msgspec.Struct, kw_only=True):
    """How far a backfill is: the value of its cursor.

    `to_link` holds bookings whose exam or contact is not in their properties, until there are enough for a call.
    `untold` are the students whose lists the last page may have changed.
    """

    run: str
    portal: str
    since: datetime
    step: int = 0
    after: str | None = None
    read: dict[RecordKind, dict[str, int]] = {}
    calls: int = 0
    rejected: list[Rejected] = []
    rejected_count: int = 0
    to_link: dict[LinkEnd, list[str]] = {}
    untold: list[ContactId] = []
    done: bool = False

    def note(self, rejected: Sequence[Rejected]) -> None:
        """Remember records that were not taken as they are."""
        self.rejected_count += len(rejected)
        self.rejected = [*self.rejected, *rejected][:REJECTED_MOST]

    def move(self, page: ListPage) -> None:
        """Count a page and go to the next one, or to the next pass."""
        kind, archived = PASSES[self.step]
        counts = {"live": 0, "archived": 0} | self.read.get(kind, {})
        counts["archived" if archived else "live"] += len(page.records)
        self.read = {**self.read, kind: counts}
        self.after = page.after
        self.step += page.after is None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a finished backfill read, could not take, and found odd."""

    resumed: bool
    read: dict[RecordKind, dict[str, int]]
    calls: int
    rejected_count: int
    rejected: list[Rejected]
    survey: Survey


class BackfillLedger(UpkeepLedger, SeatLedger, Protocol):
    """What a backfill needs of the ledger: the mirror with its cursors, and the gates."""


class Backfill:
    """One run. `on_page` hears of each page that was kept."""

    def __init__(
        self,
        lists: Lists,
        ledger: BackfillLedger,
        calls: Calls,
        bulletin: Bulletin,
        settings: Settings,
        *,
        on_page: Callable[[Progress], None] | None = None,
    ) -> None:
        self._lists = lists
        self._ledger = ledger
        self._calls = calls
        self._bulletin = bulletin
        self._portal = portal_of(settings)
        self._on_page = on_page
        self._calls_before = 0

    async def run(self, *, restart: bool = False) -> Report:
        """Go on where the last run stopped, or begin; raise SetupError, Unavailable, or Overtaken."""
        await self._calls.ask(self._lists.need_key)
        progress, resumed = await self._begin(restart=restart)
        if resumed:
            await self._tell_what_was_kept(progress)
        clock = await self._calls.patiently(lambda: self._ledger.save_cursor(CURSOR, progress))
        intake = Intake(self._ledger, self._bulletin, self._calls, "backfill", clock)
        while progress.step < len(PASSES):
            progress = await self._page(intake, progress)
            progress = await self._link(intake, progress)
            if self._on_page is not None:
                self._on_page(progress)
        progress = await self._keep(intake, "bookings", [], intake.clock, replace(progress, done=True))
        return Report(
            resumed=resumed,
            read=progress.read,
            calls=progress.calls,
            rejected_count=progress.rejected_count,
            rejected=progress.rejected,
            survey=await self._calls.patiently(lambda: self._ledger.survey(progress.since, FINDINGS_MOST)),
        )

    async def _begin(self, *, restart: bool) -> tuple[Progress, bool]:
        """The kept progress under a new run, if it is of this portal and not done; else a new one."""
        kept, now = await self._calls.patiently(lambda: self._ledger.cursor(CURSOR))
        run = secrets.token_hex(8)
        if kept is not None and not restart:
            old = msgspec.json.decode(kept, type=Progress)
            if not old.done and old.portal == self._portal:
                self._calls_before = old.calls
                return replace(old, run=run), True
        return Progress(run=run, portal=self._portal, since=now), False

    async def _tell_what_was_kept(self, progress: Progress) -> None:
        """Crash: the run before may have kept a page and told nobody; told twice is harmless."""
        gates = await self._calls.patiently(self._ledger.gates)
        await self._bulletin.announce(Announcement(gates=gates, contacts=progress.untold, exams_changed=True))

    async def _page(self, intake: Intake, before: Progress) -> Progress:
        """Read one page and keep it with the cursor that follows it."""
        kind, archived = PASSES[before.step]
        read_at = intake.clock
        page = await self._calls.ask(lambda slot: self._lists.page(slot, kind, after=before.after, archived=archived))
        records, progress = page.records, replace(before)
        progress.move(page)
        progress.note([Rejected(kind=kind, id="?", reason="HubSpot's row cannot be read")] * page.unreadable)
        progress.note(intake.faults(kind, records))
        if kind == "bookings":
            if not archived:
                progress.to_link = {end: [*before.to_link.get(end, []), *linkless(records, end)] for end in PROPERTY}
            records = [without_empty_links(record) for record in records]
        return await self._keep(intake, kind, records, read_at, progress)

    async def _link(self, intake: Intake, progress: Progress) -> Progress:
        """Read missing exams and contacts from associations, when a call is full or no more bookings come."""
        over = progress.step > PASSES.index(("bookings", False))
        for end in PROPERTY:
            while (waiting := progress.to_link.get(end, [])) and (over or len(waiting) >= ENDS_MOST):
                ids, read_at = waiting[:ENDS_MOST], intake.clock
                found = await self._ends(ids, end)
                records, rejected = linked(end, ids, found)
                progress = replace(progress, to_link={**progress.to_link, end: waiting[ENDS_MOST:]})
                progress.note(rejected)
                progress = await self._keep(intake, "bookings", records, read_at, progress)
        return progress

    async def _ends(self, ids: list[str], end: LinkEnd) -> dict[str, list[str]]:
        return await self._calls.ask(lambda slot: self._lists.ends(slot, ids, end))

    async def _keep(
        self, intake: Intake, kind: RecordKind, records: Sequence[Record], read_at: datetime, progress: Progress
    ) -> Progress:
        progress.calls = self._calls_before + self._calls.made
        while len(records) > PORTION:
            await intake.take(kind, records[:PORTION], read_at)
            records = records[PORTION:]
        try:
            await intake.take(kind, records, read_at, (CURSOR, progress))
        except Overtaken:
            raise
        except Refused:
            # The database refuses a whole page for one row's values: each for itself, then the cursor.
            progress.note(await intake.take_each(kind, records, read_at))
            await intake.take(kind, [], read_at, (CURSOR, progress))
        return progress


def portal_of(settings: Settings) -> str:
    """Tells one portal's cursor from another's; says nothing of the token, which may be rotated meanwhile."""
    types = (settings.hubspot_exam_type, settings.hubspot_contact_type, settings.hubspot_booking_type)
    return hashlib.sha256(" ".join((settings.hubspot_base_url, *types)).encode()).hexdigest()[:16]
