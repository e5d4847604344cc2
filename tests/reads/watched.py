"""One process with all its reads and the checker that watches them, over a real Valkey and a Supabase in memory."""

import time
from datetime import UTC, datetime, timedelta

from lastseat.model import Announcement, Booking, ContactId, ExamId
from lastseat.reads.bookings import BookingReads
from lastseat.reads.checker import Checker
from lastseat.reads.counts import SeatLooks
from lastseat.reads.exams import ExamReads
from lastseat.reads.staff import StaffExamReads
from lastseat.settings import Settings
from lastseat.stores.gate import GateStore
from tests.reads.conftest import Process
from tests.reads.fakes import Supabase

ANNA = ContactId("701")
EXAM = ExamId("1")
AHEAD = {"exam_date": (datetime.now(UTC) + timedelta(days=9)).date(), "starts_at": None}
QUICK = Settings(redis_timeout_s=0.5, check_every_s=0.05)


def booked_once() -> Supabase:
    """One exam that lies ahead, and one booking of Anna's."""
    supabase = Supabase()
    supabase.add(EXAM, **AHEAD)
    supabase.booked.append(Booking(contact_id=ANNA, hubspot_id="901"))
    return supabase


class Site:
    """One process with its checker."""

    def __init__(self, process: Process, supabase: Supabase) -> None:
        self.process = process
        self.bulletin = process.bulletin
        looks = SeatLooks(GateStore(process.trips, gate_ttl_s=60), supabase)
        self.exams = ExamReads(supabase, looks, process.views, process.bulletin, process.settings)
        figures = self.exams.figures
        self.staff = StaffExamReads(supabase, looks, process.views, ages=figures.ages_for_staff)
        self.bookings = BookingReads(
            supabase, process.views, process.bulletin, process.settings, ages=figures.ages_of_lists
        )
        self.checker = Checker(self.exams, self.staff, self.bookings, supabase, supabase, process.settings)
        self.figures = figures

    async def check(self, news: Announcement, *, heard_s_ago: float = 0.0) -> tuple[int, int]:
        """How many checks these news made, and how many of them were behind."""
        before = self.figures.checks, self.figures.behind
        await self.checker.check(news, heard_at=time.monotonic() - heard_s_ago)
        return self.figures.checks - before[0], self.figures.behind - before[1]

    async def fill(self) -> None:
        """Every view is there and true."""
        await self.exams.available()
        await self.exams.capacity(EXAM)
        await self.staff.all_exams(page=1, limit=100)
        await self.staff.one(EXAM)
        await self.bookings.shown(ANNA)

    def lines(self) -> str:
        return "\n".join(self.figures.lines('process="1"'))
