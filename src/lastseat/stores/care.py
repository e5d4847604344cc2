"""What keeps the ledger well: rows set aside and tried again, samples, how the sync is; decides nothing itself."""

from collections.abc import Collection

import msgspec

from lastseat.model import ExamId
from lastseat.model_upkeep import AsideAnswer, AsidePage, Sample, SyncStatus
from lastseat.stores.sql_calls import SqlCalls


class _ExamIds(msgspec.Struct):
    exam_ids: list[ExamId]


class Care(SqlCalls):
    """Ports AsideLedger, Sampler and StatusLedger; one round trip a call, safe to repeat."""

    async def set_aside(self, *, offset: int, limit: int) -> AsidePage:
        """Rows that HubSpot refused for themselves, newest first."""
        return await self._read("set_aside", {"offset": offset, "limit": limit}, AsidePage)

    async def retry_aside(self, outbox_id: int, *, caller: str, request_id: str) -> AsideAnswer:
        """Queue such a row again; a booking gets its seat again, or hears why not."""
        args = {"outbox_id": outbox_id, "caller": caller, "request_id": request_id}
        return await self._call("retry_aside", args, AsideAnswer)

    async def some_exams(self, most: int) -> list[ExamId]:
        """A few exams that lie ahead, at random."""
        return (await self._read("some_exams", {"most": most}, _ExamIds)).exam_ids

    async def sample(self, exam_ids: Collection[ExamId]) -> Sample:
        """These exams with all that hangs on them, of one instant."""
        return await self._read("sample", {"exam_ids": list(exam_ids)}, Sample)

    async def sync_status(self) -> SyncStatus:
        """How the mirror, the outbox and the relay stand; counts whole tables."""
        return await self._read("sync_status", {}, SyncStatus)
