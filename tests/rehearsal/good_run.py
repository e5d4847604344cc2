"""A kept run in which everything went well, as files, and small ways to spoil one thing in it."""

from pathlib import Path
from typing import Any

import msgspec

RELEASED_AT = 1_800_000_000.0
EXAM = "34000000001"
BOOKING_TYPE = "2-50158943"


def iso(at: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at, UTC).isoformat()


class GoodRun:
    """Three students, two seats: two booked (one of them by way of a 202), one refused."""

    def __init__(self) -> None:
        self.run: dict[str, Any] = {
            "kind": "run",
            "released_at": RELEASED_AT,
            "students": 3,
            "seats": 2,
            "exams": 1,
            "processes": 1,
            "hubspot_limit": 10,
            "hubspot_latency_ms": 200,
            "booking_type": BOOKING_TYPE,
            "booking_key": "booking_id",
            "rushes": [
                {"number": 0, "released_at": RELEASED_AT, "students": 3, "seats": 2, "exam_ids": [EXAM]},
            ],
        }
        self.answers: list[dict[str, Any]] = [
            self.answer("101", 201, ms=300.0, booking_id="LS-1", shown_contact="101"),
            self.answer("102", 202, ms=750.0, booking_id="LS-2", status_url="/api/bookings/LS-2"),
            self.answer("103", 409, ms=60.0, code="SESSION_FULL"),
        ]
        self.endings: list[dict[str, Any]] = [self.ending("102", "booked", booking_id="LS-2")]
        self.calls: list[dict[str, Any]] = [
            self.call("labels", -5.0),
            self.call("batch_upsert", 0.1),
            self.call("associations_batch_create", 0.4),
            self.call("batch_update", 0.6),
        ]
        self.records: list[dict[str, Any]] = [self.record("501", "LS-1", "101"), self.record("502", "LS-2", "102")]
        self.ledger: dict[str, list[dict[str, Any]]] = {
            "hubspot_mock_exams": [
                {"hubspot_id": EXAM, "capacity": 2, "seats_taken": 2, "seats_version": 4},
            ],
            "hubspot_bookings": [self.row("501", "LS-1", "101"), self.row("502", "LS-2", "102")],
            "claims": [self.claim("LS-1", "101", "501"), self.claim("LS-2", "102", "502")],
            "outbox": [
                {"kind": "create", "state": "announced", "booking_id": "LS-1", "hubspot_id": None, "verify_at": None},
                {"kind": "create", "state": "announced", "booking_id": "LS-2", "hubspot_id": None, "verify_at": None},
            ],
            "audit_log": [],
        }
        self.gates: list[dict[str, Any]] = [
            {"exam_id": EXAM, "version": 4, "capacity": 2, "remaining": 0, "open": True, "taken": 2}
        ]
        self.log = ["INFO a claim was won exam=34000000001"]

    @staticmethod
    def answer(contact_id: str, status: int, **more: Any) -> dict[str, Any]:
        line = {"kind": "answer", "rush": 0, "contact_id": contact_id, "exam_id": EXAM, "key": f"key-{contact_id}"}
        return line | {"sent_at": RELEASED_AT + 0.001, "ms": 10.0, "status": status} | more

    @staticmethod
    def ending(contact_id: str, state: str, **more: Any) -> dict[str, Any]:
        line = {"kind": "ending", "rush": 0, "contact_id": contact_id, "exam_id": EXAM, "booking_id": None}
        return line | {"state": state, "at": RELEASED_AT + 2.0} | more

    @staticmethod
    def call(operation: str, after_s: float, status: int = 200, **more: Any) -> dict[str, Any]:
        return {"seq": 1, "arrived_at": RELEASED_AT + after_s, "operation": operation, "status": status} | more

    @staticmethod
    def record(hubspot_id: str, key: str, contact_id: str, active: str = "Active") -> dict[str, Any]:
        properties = {"booking_id": key, "mock_exam_id": EXAM, "contact_id": contact_id, "is_active": active}
        return {"id": hubspot_id, "archived": False, "properties": properties}

    @staticmethod
    def row(hubspot_id: str, key: str, contact_id: str) -> dict[str, Any]:
        row = {"hubspot_id": hubspot_id, "booking_key": key, "mock_exam_id": EXAM, "contact_id": contact_id}
        return row | {"holds": True, "is_active": "Active", "synced_at": iso(RELEASED_AT + 0.3)}

    @staticmethod
    def claim(booking_id: str, contact_id: str, hubspot_id: str | None, state: str = "booked") -> dict[str, Any]:
        return {
            "booking_id": booking_id,
            "contact_id": contact_id,
            "exam_id": EXAM,
            "state": state,
            "hubspot_id": hubspot_id,
            "caller": f"student:{contact_id}",
            "idempotency_key": f"key-{contact_id}",
            "reason": None,
            "created_at": iso(RELEASED_AT + 0.02),
        }

    def write(self, folder: Path) -> Path:
        folder.mkdir(exist_ok=True)
        _lines(folder / "clients.jsonl", [self.run, *self.answers, *self.endings])
        _lines(folder / "requests.jsonl", self.calls)
        state = {"objects": {BOOKING_TYPE: self.records}}
        (folder / "state.json").write_bytes(msgspec.json.encode(state))
        (folder / "ledger.json").write_bytes(msgspec.json.encode(self.ledger))
        (folder / "gates.json").write_bytes(msgspec.json.encode(self.gates))
        (folder / "server.log").write_text("\n".join(self.log) + "\n")
        return folder


def _lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
