"""Gathers what `lastseat doctor` judges of a running service; reads only, and HubSpot only within the budget."""

from dataclasses import replace
from pathlib import Path
from typing import Final

from lastseat.cli.standing import Standing, standing_of
from lastseat.cli.tools import redis_of
from lastseat.embedded.folder import Say
from lastseat.evidence import Budget, Evidence, PortalRecord
from lastseat.model import ExamId
from lastseat.rehearsal.kept import calls_so_far
from lastseat.settings import Settings
from lastseat.stores.care import Care
from lastseat.stores.dump import Dump, dump_ledger
from lastseat.stores.gate import GateStore
from lastseat.stores.portal_view import booking_records
from lastseat.stores.rate_budget import SharedBudget
from lastseat.wire import database_of

SAMPLE_MOST: Final = 200  # Limit: exams looked at over REST; each comes with all that hangs on it, in one answer
REST_SEES: Final = (
    f"Over REST the doctor sees exams that lie ahead, {SAMPLE_MOST} at most, and compares nothing with HubSpot; "
    "with SUPABASE_DB_URL it sees everything."
)


class Look:
    """One service, looked at as often as asked.

    `log_path`: what its processes wrote, `calls_path`: what its emulated HubSpot was asked, if they are known.
    """

    def __init__(
        self, settings: Settings, *, hubspot: bool, log_path: Path | None, calls_path: Path | None = None, say: Say
    ) -> None:
        self._settings = settings
        self._hubspot = hubspot and settings.hubspot_access_token is not None
        self._log_path = log_path
        self._calls_path = calls_path
        self._say = say
        self.standing: Standing | None = None

    async def evidence(self) -> Evidence:
        """Everything of this moment: HubSpot first, then the ledger, which is never behind it for long."""
        standing = self.standing = await standing_of(self._settings)
        direct = self._settings.supabase_db_url
        if direct is None:
            self._say(REST_SEES)
        portal = await self._portal() if self._hubspot and direct is not None else None
        tables = await self._sample() if direct is None else await dump_ledger(direct.get_secret_value())
        seen = Evidence(
            tables=tables,
            portal=portal,
            exposed=standing.open,
            strangers=standing.strangers,
            log_lines=self._log_lines(),
        )
        return await self._with_gates(self._with_calls(seen))

    async def _sample(self) -> Dump:
        database = database_of(self._settings)
        try:
            care = Care(database)
            return (await care.sample(await care.some_exams(SAMPLE_MOST))).tables
        finally:
            await database.close()

    async def _portal(self) -> list[PortalRecord]:
        found: list[PortalRecord] = []
        async with redis_of(self._settings) as trips:
            async for page in booking_records(self._settings, SharedBudget(trips, self._settings)):
                found += page
                if len(found) % 1000 < len(page):
                    self._say(f"Read {len(found):,} records of HubSpot …")
        return found

    def _with_calls(self, seen: Evidence) -> Evidence:
        if self._calls_path is None or not self._calls_path.exists():
            return seen
        budget = Budget(calls=self._settings.hubspot_rate_limit, window_s=self._settings.hubspot_rate_window_s)
        return replace(seen, calls=calls_so_far(self._calls_path), budget=budget, read_by_hand=True)

    async def _with_gates(self, seen: Evidence) -> Evidence:
        if self._settings.redis_url is None:
            return seen
        async with redis_of(self._settings) as trips:
            gates = await GateStore(trips, gate_ttl_s=self._settings.gate_ttl_s).look(
                [ExamId(exam_id) for exam_id in seen.exams]
            )
        return replace(seen, gates=list(gates.values()))

    def _log_lines(self) -> list[str] | None:
        if self._log_path is None or not self._log_path.exists():
            return None
        return self._log_path.read_text(errors="replace").splitlines()
