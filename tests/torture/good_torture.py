"""A kept torture in which everything went well, as files, with its parts at hand to spoil one thing in it."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

BEGAN = 1_800_000_000.0
EXAM, OTHER = "501", "502"
BOOKINGS, EXAMS = "2-50158943", "2-50158913"


def iso(after_s: float) -> str:
    return datetime.fromtimestamp(BEGAN + after_s, UTC).isoformat()


class GoodTorture:
    """Exam 501 has two seats, 502 one. Ada cancelled, so Cem got her seat; Ben was moved to 502; Dan heard "full"."""

    def __init__(self) -> None:
        self.trial: dict[str, Any] = {
            "seed": 1, "seconds": 30, "processes": 2, "students": 5, "seats": {EXAM: 2, OTHER: 1},
            "hubspot_limit": 100, "booking_type": BOOKINGS, "exam_type": EXAMS, "booking_key": "booking_id",
            "ports": [1, 2],
            "began_at": BEGAN, "calm_at": BEGAN + 30, "sweep_at": BEGAN + 31, "end_at": BEGAN + 40,
            "blows": [{"at_s": 5.0, "what": "server", "server": 0, "lasts_s": 1.0}, {"at_s": 6.0, "what": "flush"}],
        }  # fmt: skip
        self.struck: list[dict[str, Any]] = [
            {"what": "server", "at": BEGAN + 5, "again_at": BEGAN + 6, "well_at": BEGAN + 8, "server": 0},
            {"what": "flush", "at": BEGAN + 6},
        ]
        self.said: list[dict[str, Any]] = [
            self.line("ada", "book", 1, "k1", 201, told="LS-1", state="Active", exam_id=EXAM),
            self.line("ben", "book", 2, "k2", 0, exam_id=EXAM, error="no connection"),
            self.line("ben", "book", 3, "k2", 202, told="LS-2", state="Pending", exam_id=EXAM),
            self.line("ben", "status", 4, "k2", 200, told="LS-2", state="Active", booking_id="LS-2"),
            self.line("dan", "book", 7, "k3", 409, code="SESSION_FULL", exam_id=EXAM),
            self.line("ada", "cancel", 10, "k4", 200, told="LS-1", state="pending", booking_id="LS-1", exam_id=EXAM),
            self.line("ada", "status", 11, "k4", 200, told="LS-1", state="Cancelled", booking_id="LS-1"),
            self.line("cem", "book", 12, "k5", 201, told="LS-3", state="Active", exam_id=EXAM),
            self.line("ben", "move", 20, "k6", 201, told="LS-4", state="Active/cancelled", booking_id="LS-2",
                      exam_id=OTHER, staff=True),
            self.line("eve", "book", 32, "k7", 201, told="LS-5", state="Active", exam_id=EXAM),
        ]  # fmt: skip
        self.records = [
            self.record("901", "LS-1", "ada", EXAM, "Cancelled"),
            self.record("902", "LS-2", "ben", EXAM, "Cancelled"),
            self.record("903", "LS-3", "cem", EXAM),
            self.record("904", "LS-4", "ben", OTHER),
            self.record("905", "LS-5", "eve", EXAM),
        ]
        self.exams = [self.exam(EXAM, 2), self.exam(OTHER, 1)]
        self.ledger = self.tables()
        self.gates = [self.gate(EXAM, 9, 2), self.gate(OTHER, 2, 1)]
        self.views: list[dict[str, Any]] = [
            {"server": 0, "remaining": {EXAM: 0, OTHER: 0}},
            {"server": 1, "remaining": {EXAM: 0, OTHER: 0}},
            {"server": 1, "contact_id": "ada"},
            {"server": 1, "contact_id": "ben", "bookings": {"LS-4": "Active"}},
            {"server": 0, "contact_id": "cem", "bookings": {"LS-3": "Active"}},
            {"server": 0, "contact_id": "dan"},
            {"server": 1, "contact_id": "eve", "bookings": {"LS-5": "Active"}},
        ]
        self.calls = [
            {"seq": 1, "arrived_at": BEGAN + 0.9, "operation": "batch_upsert", "status": 200, "keys": ["LS-1"]},
            {"seq": 2, "arrived_at": BEGAN + 10.5, "operation": "batch_update", "status": 200, "keys": ["901"]},
        ]
        self.landed: list[dict[str, Any]] = [{"at": BEGAN + 0.9, "seq": 1, "op": "batch_upsert"}]
        self.logs = [["INFO all is well"], ["INFO all is well here too"]]

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        return {
            "hubspot_mock_exams": [
                {"hubspot_id": EXAM, "capacity": 2, "seats_taken": 2, "seats_version": 9},
                {"hubspot_id": OTHER, "capacity": 1, "seats_taken": 1, "seats_version": 2},
            ],
            "hubspot_bookings": [
                self.row("901", "LS-1", "ada", EXAM, holds=False),
                self.row("902", "LS-2", "ben", EXAM, holds=False),
                self.row("903", "LS-3", "cem", EXAM),
                self.row("904", "LS-4", "ben", OTHER),
                self.row("905", "LS-5", "eve", EXAM),
            ],
            "claims": [
                self.claim("LS-1", "ada", "901", EXAM, "k1", 0.9, state="cancelled", cancelled=10),
                self.claim("LS-2", "ben", "902", EXAM, "k2", 2.0, state="cancelled", cancelled=19.9),
                self.claim("LS-3", "cem", "903", EXAM, "k5", 11.9),
                self.claim("LS-4", "ben", "904", OTHER, "k6", 19.9),
                self.claim("LS-5", "eve", "905", EXAM, "k7", 31.9),
            ],
            "audit_log": [
                self.audit("901", "INSERT", 0.95, holds=True), self.audit("901", "UPDATE", 10.8, holds=False),
                self.audit("902", "INSERT", 3.5, holds=True), self.audit("902", "UPDATE", 20.0, holds=False),
                self.audit("903", "INSERT", 12.0, holds=True), self.audit("904", "INSERT", 19.95, holds=True),
                self.audit("905", "INSERT", 31.95, holds=True),
            ],
            "outbox": [
                self.outbox(number, "create", f"LS-{number}") for number in range(1, 6)
            ],
        }  # fmt: skip

    @staticmethod
    def line(contact_id: str, deed: str, after_s: float, key: str, status: int, **more: Any) -> dict[str, Any]:
        line = {"at": BEGAN + after_s, "sent_at": BEGAN + after_s - 0.2, "contact_id": contact_id, "deed": deed}
        shown = {"shown": contact_id} if "told" in more else {}
        return line | {"key": key, "server": 0, "status": status} | shown | more

    @staticmethod
    def record(hubspot_id: str, key: str, contact_id: str, exam_id: str, active: str = "Active") -> dict[str, Any]:
        properties = {"booking_id": key, "mock_exam_id": exam_id, "contact_id": contact_id, "is_active": active}
        ends = {"0-1": [{"id": contact_id, "typeIds": [1]}], EXAMS: [{"id": exam_id, "typeIds": [2]}]}
        return {"id": hubspot_id, "archived": False, "properties": properties, "associations": ends}

    @staticmethod
    def exam(exam_id: str, total: int) -> dict[str, Any]:
        return {"id": exam_id, "archived": False, "properties": {"total_bookings": str(total)}}

    @staticmethod
    def row(hubspot_id: str, key: str, contact_id: str, exam_id: str, *, holds: bool = True) -> dict[str, Any]:
        row = {"hubspot_id": hubspot_id, "booking_key": key, "mock_exam_id": exam_id, "contact_id": contact_id}
        return row | {"holds": holds, "is_active": "Active" if holds else "Cancelled", "synced_at": iso(1)}

    @staticmethod
    def claim(
        key: str, contact_id: str, hubspot_id: str, exam_id: str, wish: str, at: float, **more: Any
    ) -> dict[str, Any]:
        cancelled = more.get("cancelled")
        return {
            "booking_id": key, "contact_id": contact_id, "exam_id": exam_id, "state": more.get("state", "booked"),
            "hubspot_id": hubspot_id, "caller": contact_id, "idempotency_key": wish, "reason": None,
            "created_at": iso(at), "cancel_requested_at": None if cancelled is None else iso(cancelled),
        }  # fmt: skip

    @staticmethod
    def audit(hubspot_id: str, operation: str, at: float, *, holds: bool) -> dict[str, Any]:
        new = {"holds": holds, "is_active": "Active" if holds else "Cancelled"}
        row = {"table_name": "hubspot_bookings", "operation": operation, "record_id": hubspot_id}
        return row | {"performed_at": iso(at), "performed_by": "lastseat", "old_values": None, "new_values": new}

    @staticmethod
    def outbox(number: int, kind: str, key: str, **more: Any) -> dict[str, Any]:
        row = {"outbox_id": number, "kind": kind, "state": "announced", "booking_id": key, "hubspot_id": None}
        times = {"created_at": iso(1), "sent_at": iso(2), "done_at": iso(3), "verify_at": None}
        return row | times | {"sent_term": 1, "attempts": 1, "last_error": None} | more

    @staticmethod
    def gate(exam_id: str, version: int, capacity: int) -> dict[str, Any]:
        gate = {"exam_id": exam_id, "version": version, "capacity": capacity, "remaining": 0}
        return gate | {"open": True, "taken": capacity}

    def book(self, key: str, contact_id: str, exam_id: str, after_s: float, status: int = 201) -> None:
        """One more booking, with all that it leaves behind."""
        hubspot_id, wish = f"9{key.removeprefix('LS-').zfill(2)}", f"k{key}"
        state = "Active" if status == 201 else "Pending"
        self.said.append(self.line(contact_id, "book", after_s, wish, status, told=key, state=state, exam_id=exam_id))
        self.records.append(self.record(hubspot_id, key, contact_id, exam_id))
        self.ledger["hubspot_bookings"].append(self.row(hubspot_id, key, contact_id, exam_id))
        self.ledger["claims"].append(self.claim(key, contact_id, hubspot_id, exam_id, wish, after_s - 0.1))
        self.ledger["audit_log"].append(self.audit(hubspot_id, "INSERT", after_s - 0.05, holds=True))
        self.ledger["outbox"].append(self.outbox(len(self.ledger["outbox"]) + 1, "create", key))
        self.shown_to(contact_id)[key] = "Active"

    def cancel(self, key: str, after_s: float) -> None:
        """The service takes a booking away, with all that a cancel leaves behind, but for the wish of anybody."""
        claim = next(claim for claim in self.ledger["claims"] if claim["booking_id"] == key)
        claim |= {"state": "cancelled", "cancel_requested_at": iso(after_s - 0.1)}
        record = next(record for record in self.records if record["properties"]["booking_id"] == key)
        record["properties"]["is_active"] = "Cancelled"
        row = next(row for row in self.ledger["hubspot_bookings"] if row["booking_key"] == key)
        row |= {"holds": False, "is_active": "Cancelled"}
        self.ledger["audit_log"].append(self.audit(row["hubspot_id"], "UPDATE", after_s, holds=False))
        self.shown_to(claim["contact_id"]).pop(key, None)

    def shown_to(self, contact_id: str) -> dict[str, str]:
        """The bookings in this student's list of the end."""
        view = next(view for view in self.views if view.get("contact_id") == contact_id)
        return view.setdefault("bookings", {})

    def write(self, folder: Path) -> Path:
        folder.mkdir(exist_ok=True)
        for name, rows in {
            "history": self.said, "demon": self.struck, "views": self.views, "requests": self.calls,
            "journal": self.landed,
        }.items():  # fmt: skip
            (folder / f"{name}.jsonl").write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
        state = {"objects": {BOOKINGS: self.records, EXAMS: self.exams}}
        for name, value in {
            "run": self.trial, "state": state, "ledger": self.ledger, "gates": self.gates,
        }.items():  # fmt: skip
            (folder / f"{name}.json").write_bytes(msgspec.json.encode(value))
        for number, lines in enumerate(self.logs):
            (folder / f"server-{number}.log").write_text("".join(f"{line}\n" for line in lines))
        return folder
