"""Takes staff's changes of exams to HubSpot beside all else; never lets an exam's refusal stop the bookings."""

from collections.abc import Sequence

from msgspec.structs import replace

from lastseat.model import OutboxKind, OutboxRow, Record, RowResult
from lastseat.ports import Slot
from lastseat.writes.delivery import Delivery, Errand, MayStart

_MADE = ("exam_create", "exam_restore")


class FullDelivery(Delivery):
    """Delivery of every kind of row."""

    async def deliver(
        self, kind: OutboxKind, slot: Slot, rows: Sequence[OutboxRow], may_start: MayStart
    ) -> list[RowResult]:
        """Bring rows of one kind to HubSpot (at most 100 of an exam kind)."""
        match kind:
            case "exam_create" | "exam_restore":
                errand = Errand(self, kind, self.hubspot.upsert_exams, _key, slot, may_start)
                await errand.create(rows)
            case "exam_update":
                errand = Errand(self, kind, self._update, _exam_id, slot, may_start)
                await errand.repeatable(rows)
            case "exam_archive":
                errand = Errand(self, kind, self.hubspot.archive_exams, _exam_id, slot, may_start)
                await errand.repeatable(rows)
            case _:
                return await super().deliver(kind, slot, rows, may_start)
        results = [_told(row, result) for row, result in zip(rows, await errand.finish(rows), strict=True)]
        # HubSpot: an archive is answered without a body, which proves nothing; look again later.
        return [replace(r, uncertain=r.uncertain or kind == "exam_archive") for r in results]

    async def look(self, slot: Slot, rows: Sequence[OutboxRow]) -> dict[str, Record]:
        """What HubSpot holds now of these rows, by their key. They are all of one sort: bookings of claims, imported
        bookings, new exams, or known ones.
        """
        if not rows[0].kind.startswith("exam"):
            if rows[0].kind == "cancel" and rows[0].claim_id is None:
                records = await self.hubspot.read_bookings(slot, [row.key for row in rows], by_key=False)
                return {record.hubspot_id: record for record in records}
            return await super().look(slot, rows)
        by_key = rows[0].kind in _MADE
        records = await self.hubspot.read_exams(slot, [row.key for row in rows], by_key=by_key)
        name = self.settings.hubspot_exam_key
        return {(record.properties.get(name) or "") if by_key else record.hubspot_id: record for record in records}

    async def _update(self, slot: Slot, rows: Sequence[OutboxRow]) -> list[RowResult]:
        """What only we keep needs no call: such a row is written already."""
        told = [row for row in rows if row.properties]
        if not told:
            await slot.give_back()
            return [RowResult(key=row.key, outcome="written") for row in rows]
        results = {result.key: result for result in await self.hubspot.update_exams(slot, told)}
        return [results.get(row.key) or RowResult(key=row.key, outcome="written") for row in rows]


def _told(row: OutboxRow, result: RowResult) -> RowResult:
    """A refusal is told to the member of staff who waits for it, whoever is to blame: no seat hangs on it.

    Were it blamed on the portal, bookings would pause because one exam's field is not known there.
    """
    if row.kind == "exam_update" and result.record is not None and result.record.hubspot_id != row.exam_id:
        # HubSpot: a merged record answers as its survivor (2026). The change is there now, and a sync brings it.
        reason = f"In HubSpot this exam was merged into {result.record.hubspot_id}, which the change has reached."
        return replace(result, outcome="refused", reason=reason, record=None)
    if result.outcome == "missing":
        return replace(result, outcome="refused", reason="This exam is no longer in HubSpot.")
    return replace(result, outcome="refused") if result.outcome == "portal" else result


def _key(row: OutboxRow) -> str:
    return row.key


def _exam_id(row: OutboxRow) -> str:
    return row.exam_id or ""
