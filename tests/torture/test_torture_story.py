"""The judge tells the history of a seat that went wrong, and names a file that it cannot read."""

from pathlib import Path

import pytest

from lastseat.errors import SetupError
from lastseat.rehearsal.history import read_kept
from tests.torture.good_torture import BEGAN, GoodTorture
from tests.torture.test_torture_judge import bring_back, judged


def test_a_violation_prints_the_history_of_its_seat(tmp_path: Path):
    torture = GoodTorture()
    bring_back(torture)
    torture.calls.append(
        {
            "seq": 3, "arrived_at": BEGAN + 0.8, "operation": "batch_upsert", "status": 0, "keys": ["LS-1"],
            "fault": "late", "lands_after_s": 12,
        }
    )  # fmt: skip
    torture.landed.append({"at": BEGAN + 12.8, "seq": 3, "op": "batch_upsert", "late": True})
    report = judged(torture, tmp_path)
    story = next(violation for violation in report.violations if violation.kind == "came_back").history
    wanted = [
        "HubSpot: call 3 batch_upsert → 0 (nothing changed, fault late)",
        "student ada to server 0: book 501 [k1] → 201 Active → LS-1",
        "demon: server 0",
        "student ada to server 0: cancel LS-1 [k4] → 200 pending",
        "HubSpot: call 2 batch_update → 200",
        "ledger: UPDATE 901 by lastseat {'is_active': 'Cancelled'}",
        "HubSpot: call 3 batch_upsert lands only now",
    ]
    places = [next(n for n, line in enumerate(story) if words in line) for words in wanted]
    assert places == sorted(places)
    assert not any("cem" in line for line in story)


@pytest.mark.parametrize("name", ["run.json", "history.jsonl", "ledger.json", "journal.jsonl"])
def test_a_missing_or_spoiled_file_is_named(name: str, tmp_path: Path):
    kept = GoodTorture().write(tmp_path / "kept")
    (kept / name).write_bytes(b"{")
    with pytest.raises(SetupError, match=name):
        read_kept(kept)
    (kept / name).unlink()
    with pytest.raises(SetupError, match=name):
        read_kept(kept)
