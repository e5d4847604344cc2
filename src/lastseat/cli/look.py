"""Gathers what `lastseat doctor` judges of a running service; reads only, and HubSpot only within the budget."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from lastseat.embedded.folder import Say
from lastseat.errors import SetupError
from lastseat.evidence import Evidence, PortalRecord
from lastseat.model import ExamId
from lastseat.settings import Settings
from lastseat.stores.dump import ledger_view
from lastseat.stores.gate import GateStore
from lastseat.stores.portal_view import booking_records
from lastseat.stores.rate_budget import SharedBudget
from lastseat.stores.redis import RedisTrips


class Look:
    """One service, looked at as often as asked. `log_path`: what its processes wrote, if that is known."""

    def __init__(self, settings: Settings, *, hubspot: bool, log_path: Path | None, say: Say) -> None:
        if settings.supabase_db_url is None:
            raise SetupError(
                "The doctor needs a direct connection to Postgres.", way_out="Set SUPABASE_DB_URL for this command."
            )
        self._url = settings.supabase_db_url.get_secret_value()
        self._settings = settings
        self._hubspot = hubspot and settings.hubspot_access_token is not None
        self._log_path = log_path
        self._say = say

    async def evidence(self) -> Evidence:
        """Everything of this moment: HubSpot first, then the ledger, which is never behind it for long."""
        portal = await self._portal() if self._hubspot else None
        async with ledger_view(self._url) as view:
            tables, exposed = await view.dump(), await view.exposed()
        seen = Evidence(tables=tables, portal=portal, exposed=exposed, log_lines=self._log_lines())
        return await self._with_gates(seen)

    async def _portal(self) -> list[PortalRecord]:
        found: list[PortalRecord] = []
        async with self._redis() as trips:
            async for page in booking_records(self._settings, SharedBudget(trips, self._settings)):
                found += page
                if len(found) % 1000 < len(page):
                    self._say(f"Read {len(found):,} records of HubSpot …")
        return found

    async def _with_gates(self, seen: Evidence) -> Evidence:
        if self._settings.redis_url is None:
            return seen
        async with self._redis() as trips:
            gates = await GateStore(trips, gate_ttl_s=self._settings.gate_ttl_s).look(
                [ExamId(exam_id) for exam_id in seen.exams]
            )
        return Evidence(
            tables=seen.tables,
            portal=seen.portal,
            exposed=seen.exposed,
            log_lines=seen.log_lines,
            gates=list(gates.values()),
        )

    def _log_lines(self) -> list[str] | None:
        if self._log_path is None or not self._log_path.exists():
            return None
        return self._log_path.read_text(errors="replace").splitlines()

    @asynccontextmanager
    async def _redis(self) -> AsyncGenerator[RedisTrips]:
        url = self._settings.redis_url
        trips = RedisTrips(
            url.get_secret_value() if url is not None else "redis://127.0.0.1:1",
            timeout_s=self._settings.redis_timeout_s,
        )
        try:
            yield trips
        finally:
            await trips.close()
