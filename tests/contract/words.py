"""Made-up exams, bookings, contacts and wishes for the contract suite; the same words over every way."""

import uuid
from datetime import UTC, datetime, timedelta

from lastseat.model import CancelRequest, ClaimRequest, Lease, OutboxRow, Record, Settlement, Written
from lastseat.stores.ledger import Ledger

EXAM = "501"
OTHER = "502"


def exam(exam_id=EXAM, *, capacity=2, is_active="active", days=30, at=None, **fields):
    day = (datetime.now(UTC) + timedelta(days=days)).date().isoformat()
    properties = {
        "mock_exam_name": "Clinical Skills – Mississauga",
        "mock_type": "Clinical Skills",
        "exam_date": day,
        "start_time": "09:00",
        "end_time": "11:00",
        "location": "Mississauga",
        "capacity": str(capacity),
        "is_active": is_active,
    }
    return Record(hubspot_id=exam_id, properties={**properties, **fields}, updated_at=at or datetime.now(UTC))


def booking(hubspot_id, *, exam_id=EXAM, contact="9", is_active="Active", at=None, **fields):
    properties = {"mock_exam_id": exam_id, "contact_id": contact, "is_active": is_active, **fields}
    return Record(hubspot_id=hubspot_id, properties=properties, updated_at=at or datetime.now(UTC))


def contact(hubspot_id, **fields):
    return Record(hubspot_id=hubspot_id, properties=fields, updated_at=datetime.now(UTC))


def wish(contact_id="1", exam_id=EXAM, **fields):
    claim_id = str(uuid.uuid4())
    values = {
        "claim_id": claim_id,
        "booking_id": f"LS-{claim_id[:8]}",
        "exam_id": exam_id,
        "contact_id": contact_id,
        "caller": f"student:{contact_id}",
        "request_id": "r1",
        "properties": {"dominant_hand": "left"},
    }
    return ClaimRequest(**{**values, **fields})


def cancel(reference, *, owner=None, caller="student:1"):
    return CancelRequest(reference=reference, caller=caller, request_id="r2", owner=owner)


async def outcomes(ledger: Ledger, *wishes: ClaimRequest) -> list[str]:
    return [answer.outcome for answer in await ledger.claim(wishes)]


async def leased(ledger: Ledger, holder="relay", lease_s=30.0) -> Lease:
    lease = await ledger.take_lease(holder, lease_s)
    assert lease is not None
    return lease


def acknowledged(row: OutboxRow, hubspot_id="7001", **fields) -> Written:
    """What the relay settles when HubSpot has written this row."""
    record = Record(
        hubspot_id=hubspot_id, properties={**row.properties, **fields}, updated_at=datetime.now(UTC), created_at=None
    )
    return Written(outbox_id=row.outbox_id, kind=row.kind, record=record)


async def booked(ledger: Ledger, term: int, mine: ClaimRequest, hubspot_id="7001") -> int:
    """Carry a wish through to the mirror; returns the row that did it."""
    await ledger.claim([mine])
    (row,) = await ledger.send(term, "create", 1)
    await ledger.settle(term, Settlement(written=[acknowledged(row, hubspot_id)]))
    return row.outbox_id
