"""The mirror and its cursors for whoever reads HubSpot by hand: pages kept with their cursor; decides nothing."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from lastseat.model import ExamId, Record
from lastseat.ports import RecordKind, Survey, Taken
from lastseat.stores.hubspot_codec import Facts
from lastseat.stores.ledger import Ledger


class _Cursor(msgspec.Struct):
    now: datetime
    value: msgspec.Raw = msgspec.Raw(b"null")


class _Ids(msgspec.Struct):
    now: datetime
    ids: list[str]


class UpkeepStore(Ledger):
    """Port UpkeepLedger beside the ports of the ledger that it is; one round trip a call, safe to repeat."""

    async def cursor(self, name: str) -> tuple[bytes | None, datetime]:
        """The value as JSON, and the database's clock."""
        found = await self._call("cursor", {"name": name}, _Cursor)
        value = bytes(found.value)
        return (None if value == b"null" else value), found.now

    async def save_cursor(self, name: str, value: object) -> datetime:
        """Keep a value; whoever saves last wins."""
        return (await self._call("save_cursor", {"name": name, "value": value}, _Cursor)).now

    def faults(self, kind: RecordKind, record: Record) -> list[str]:
        """Each value that cannot be read."""
        return self._facts_of(kind, record).rejected

    async def take(
        self,
        kind: RecordKind,
        records: Sequence[Record],
        *,
        actor: str,
        read_at: datetime,
        cursor: tuple[str, object] | None = None,
    ) -> Taken:
        """Mirror records with their cursor; what the mirror took later than `read_at` stays as it is."""
        args: dict[str, object] = {
            "kind": kind,
            "actor": actor,
            "read_at": read_at,
            "facts": [self._facts_of(kind, record) for record in records],
        }
        if cursor is not None:
            args["cursor"] = {"name": cursor[0], "value": cursor[1]}
        return await self._call("mirror_page", args, Taken)

    async def exam_records(self, exam_id: ExamId) -> tuple[list[str], datetime]:
        """The bookings that the mirror shows in an exam."""
        found = await self._call("exam_records", {"exam_id": exam_id}, _Ids)
        return found.ids, found.now

    async def survey(self, since: datetime, limit: int) -> Survey:
        """What the mirror holds, and what is odd about it; `limit` of each oddity are told one by one."""
        return await self._call("survey", {"since": since, "limit": limit}, Survey)

    def _facts_of(self, kind: RecordKind, record: Record) -> Facts:
        match kind:
            case "exams":
                return self._codec.exam_facts(record)
            case "contacts":
                return self._codec.contact_facts(record)
            case "bookings":
                return self._codec.booking_facts(record)
