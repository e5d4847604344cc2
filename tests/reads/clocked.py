"""Exam reads whose clocks are moved by hand; the stores behind them are real, but for Supabase."""

import json
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from lastseat.reads.counts import SeatLooks
from lastseat.reads.exams import ExamReads
from lastseat.stores.gate import GateStore
from tests.reads.fakes import Supabase

if TYPE_CHECKING:
    from tests.reads.conftest import Process

TORONTO = ZoneInfo("America/Toronto")


class Clock:
    """Both clocks of the reads, moved by hand."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 5, 9, 0, tzinfo=TORONTO)
        self.age_s = 1000.0

    def wall(self, zone: ZoneInfo) -> datetime:
        return self.now.astimezone(zone)

    def monotonic(self) -> float:
        return self.age_s


class Site:
    """One process's exam reads over a shared Valkey and a shared Supabase."""

    def __init__(self, process: "Process", supabase: Supabase, clock: Clock) -> None:
        self.process = process
        self.bulletin = process.bulletin
        gates = GateStore(process.trips, gate_ttl_s=60)
        self.reads = ExamReads(
            supabase,
            SeatLooks(gates, supabase),
            process.views,
            process.bulletin,
            process.settings,
            clock=clock.monotonic,
            now=clock.wall,
        )

    async def listed(self, **filters) -> list[dict]:
        return json.loads(await self.reads.available(**filters))["exams"]

    async def remaining(self, exam_id: str) -> int:
        return next(exam["remaining"] for exam in await self.listed() if exam["id"] == exam_id)
