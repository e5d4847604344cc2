"""What the rules of the machine share: how a wish is made, a batch carried, the model kept beside the ledger."""

import asyncio
import uuid
from dataclasses import dataclass

from hypothesis import strategies as st

from lastseat.errors import LeaseLost
from lastseat.evidence import Answer, Budget, Call, CallKind, Evidence, PortalRecord, holds_seat
from lastseat.model import ChangeRequest, ClaimAnswer, ClaimRequest, OutboxRow, Record, Settlement
from tests.fault.memory_hubspot import Fate, FreeSlot

EXAMS, CONTACTS = ("501", "502"), ("1", "2", "3", "4", "5")
SEATS = 3
KINDS = ("create", "cancel", "link_contact", "link_exam", "count", "exam_update")
FATES: tuple[Fate, ...] = ("ok", "ok", "ok", "lost", "lost-before", "late", "down", "portal")
exams, contacts = st.sampled_from(EXAMS), st.sampled_from(CONTACTS)
fates = st.lists(st.sampled_from(FATES), max_size=4)


WRITES = ("upsert", "update", "link_contact", "link_exam", "exams")


@dataclass
class Batch:
    """Rows that a relay has marked; `settlement` once HubSpot was called."""

    term: int
    rows: list[OutboxRow]
    settlement: Settlement | None = None


class Steps:
    """The machine's hands; its rules decide when they move."""

    def _wish(self, contact: str, exam_id: str, key: str | None) -> ClaimRequest:
        claim_id = self._new_id()
        return ClaimRequest(
            claim_id=claim_id,
            booking_id=f"LS-{self._ids:04}",
            exam_id=exam_id,
            contact_id=contact,
            caller=f"student:{contact}",
            request_id="r",
            properties={},
            key=key,
            fingerprint=exam_id,
        )

    def _new_id(self) -> str:
        """Repeatable, or Hypothesis could not replay what it found."""
        self._ids += 1
        return str(uuid.UUID(int=self._ids))

    def _heard(self, wish: ClaimRequest, answer: ClaimAnswer | None) -> None:
        """What a student was shown; how it is told over HTTP is not in question here."""
        shown = None if answer is None or answer.claim is None else answer.claim.contact_id
        self.answers.append(
            Answer(contact_id=wish.contact_id, exam_id=wish.exam_id, sent_at=0, ms=0, status=200, shown_contact=shown)
        )

    async def _fingerprint_of(self, booking_id: str) -> str:
        found = await self.bench.rows.of(
            "select fingerprint from hubspot_sync.claims where booking_id = $1", booking_id
        )
        return found[0]["fingerprint"]

    def _changed(self, exam_id: str, fields: dict[str, object]) -> bool:
        wish = ChangeRequest(
            change_id=self._new_id(),
            kind="exam_update",
            caller="staff:clerk",
            request_id="r",
            exam_id=exam_id,
            fields=fields,
        )
        answer, _ = self.run(self.ledger.change_exam(wish))
        if answer.outcome != "accepted":
            assert answer.outcome == "below_sold"
            assert int(fields["capacity"]) < self.model.taken(exam_id)
            return False
        self.changes[answer.change.outbox_id] = (exam_id, fields)
        return True

    def _take_all(self) -> None:
        self._mirror(list(self.hubspot.records.values()))
        self.unread.clear()

    def _call(self, batch: Batch, fates: list[Fate], refuse: bool) -> None:
        """One that lost its lease meanwhile does not start."""
        kind, holds = batch.rows[0].kind, batch.term == self.hand.term
        self.hubspot.fates.extend(fates)
        if refuse and kind in ("create", "cancel"):
            self.hubspot.poison[batch.rows[0].key] = "Property values were not valid"
            self.hand.delivery.accepted_at[kind] = self.run(_now())
        results = self.run(self.hand.delivery.deliver(kind, FreeSlot(), batch.rows, lambda: holds))
        batch.settlement = self.hand.settling.of(batch.rows, results, 0.0)
        self.hubspot.fates.clear()
        self.hubspot.poison.clear()

    def _settle(self, batch: Batch, twice: bool) -> None:
        """`twice`: the reply was lost, and the same is sent again; nobody is told by this relay then."""
        self.batches.remove(batch)
        try:
            for _ in range(2 if twice else 1):
                _, told = self.run(self.ledger.settle(batch.term, batch.settlement))
        except LeaseLost:
            assert batch.term < self.hand.term
            return
        assert batch.term == self.hand.term
        self._learn()
        if not twice:
            self.run(self.ledger.announced(batch.term, told))

    def _mirror(self, records: list[Record]) -> None:
        self.run(self.ledger.mirror(bookings=records))
        self._learn()

    def _learn(self) -> None:
        """Bring the model up to what HubSpot has said: who holds a seat there, which changes have ended.

        From the tables it takes only what is not in question here: which record is whose, and which rows ended.
        """
        self._learn_bookings()
        for row in self.run(self.bench.rows.outbox("kind = 'exam_update' and state not in ('waiting', 'sent')")):
            exam_id, fields = self.changes.pop(row["outbox_id"], (row["exam_id"], None))
            if fields is None:
                continue
            model = self.model.exams[exam_id]
            if "capacity" in fields:
                model.lower.remove(fields["capacity"])
                if row["state"] != "aside":
                    model.seats = int(fields["capacity"])
            elif row["state"] != "aside":
                model.open = fields["is_active"] == "active"
        for exam_id in EXAMS:
            self._bind_again(exam_id)

    def _bind_again(self, exam_id: str) -> None:
        """Closed as long as any change under way would leave it closed."""
        words = [f["is_active"] for e, f in self.changes.values() if e == exam_id and "is_active" in f]
        self.model.exams[exam_id].shut = words.count("inactive")

    def _learn_bookings(self) -> None:
        claims = {c["booking_id"]: c for c in self.run(self.bench.rows.claims())}
        mirrored = self.run(self.bench.rows.of("select * from hubspot_sync.hubspot_bookings"))
        recorded = {row["booking_key"] for row in mirrored}
        for name in [n for n in self.model.holds if n in claims and claims[n]["state"] == "refused"]:
            self.model.takes_back(name)
        for row in mirrored:
            ours = row["booking_key"] in claims
            name = row["booking_key"] if ours else row["hubspot_id"]
            if holds_seat(row["booking_status"], row["is_active"]):
                self.model.gives(name, row["contact_id"], row["mock_exam_id"])
            else:
                self.model.takes_back(name)
        assert recorded is not None

    def _held_there(self) -> list[Record]:
        return [
            record
            for record in self.hubspot.records.values()
            if holds_seat(record.properties.get("booking_status"), record.properties.get("is_active"))
        ]

    def _evidence(self) -> Evidence:
        tables = self.bench.dump()
        mirrored = {row["hubspot_id"]: row["holds"] for row in tables["hubspot_bookings"]}
        portal = [
            PortalRecord(
                hubspot_id=record.hubspot_id,
                key=key,
                exam_id=record.properties.get("mock_exam_id"),
                contact_id=record.properties.get("contact_id"),
                # What people do there is not ours to know before it is read.
                holds=mirrored.get(record.hubspot_id, False)
                if key in self.unread
                else holds_seat(record.properties.get("booking_status"), record.properties.get("is_active")),
            )
            for key, record in self.hubspot.records.items()
        ]
        return Evidence(
            tables=tables,
            portal=portal,
            calls=self._calls(),
            # One call a slot, whenever it was given.
            budget=Budget(calls=len({id(slot) for slot in self.hubspot.slots}), window_s=float("inf")),
            gates=[gate for known in self.ledger.news.values() for gate in known],
            answers=self.answers,
        )

    def _calls(self) -> list[Call]:
        kinds: dict[str, CallKind] = dict.fromkeys(WRITES, "write") | {"read": "read_back"}
        return [
            Call(at=float(number), kind=kinds.get(name, "read"), status=200)
            for number, (name, _) in enumerate(self.hubspot.calls)
        ]


async def _now() -> float:
    return asyncio.get_running_loop().time()
