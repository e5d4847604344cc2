"""Plays the rushes that the README promises and compares their numbers; never runs two at once.

With options, e.g. `--transport rest`, they go to each rush of the main job, and only those are played.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

Rush = tuple[tuple[str, ...], dict[str, int]]

ZERO = ("failed", "oversold", "stranded", "duplicates", "hubspot_429", "hubspot_reads")
SMALL_PLAN = ("--students", "250", "--hubspot-limit", "10", "--hubspot-latency-ms", "200")
LARGE_PLAN = ("--students", "2000", "--seats", "500", "--exams", "5", "--hubspot-limit", "190", "--processes", "2")
MORE_WISHES = {"booked": 100, "refused": 150, "pending": 0, "hubspot_calls <=": 8, "p99_ms <": 1000}
MORE_SEATS = {"booked": 250, "refused": 0, "pending": 0, "hubspot_calls <=": 10, "p99_ms <": 1000}
MAIN: list[Rush] = [
    ((*SMALL_PLAN, "--seats", "100"), MORE_WISHES),
    ((*SMALL_PLAN, "--seats", "100", "--processes", "4"), MORE_WISHES),
    ((*SMALL_PLAN, "--seats", "300"), MORE_SEATS),
    ((*SMALL_PLAN, "--seats", "300", "--processes", "4"), MORE_SEATS),
]
OTHERS: list[Rush] = [
    ((*LARGE_PLAN,), {"booked": 500, "refused": 1500}),
    # The first rush leaves too few calls for the three batches of the second.
    (
        ("--students", "250", "--seats", "250", "--repeat", "2", "--pause-s", "3", "--hubspot-limit", "8"),
        {"booked + pending": 500, "2nd booked + 2nd pending": 250, "2nd pending >": 0, "confirmed": 500},
    ),
    # Every other student sends its two requests without a key.
    (
        ("--students", "150", "--seats", "100", "--double", "--hubspot-limit", "10"),
        {"booked + pending": 100, "refused": 50, "confirmed": 100},
    ),
]
FAULTS = "drop=0.3,502=0.2,429=0.2,late=0.1,shuffle"
FAULTED_PLAN = ("--students", "250", "--seats", "250", "--hubspot-limit", "100", "--hubspot-faults", FAULTS)
FAULTED_PLAN += ("--patience-s", "300")  # four calls of five come to nothing, so it takes as long as it takes
FAULTED: list[Rush] = [
    ((*FAULTED_PLAN, "--seed", str(seed)), {"booked + pending": 250, "confirmed + told": 250}) for seed in range(1, 6)
]


def broken(result: dict[str, Any], promise: dict[str, int]) -> list[str]:
    """The promises that this result does not keep. `a + b <` sums two numbers; `2nd a` is that of the second rush."""
    faults = [f"{key} is {result[key]}, not 0" for key in ZERO if result[key] != 0]
    for wish, number in promise.items():
        words, sign = (wish[: -len(mark) - 1], mark) if (mark := wish.split()[-1]) in ("<=", "<", ">") else (wish, "")
        value = sum(_number(result, word) for word in words.split(" + "))
        if not {"": value == number, "<=": value <= number, "<": value < number, ">": value > number}[sign]:
            faults.append(f"{words} is {value}, not {sign or '='} {number}")
    return faults


def _number(result: dict[str, Any], word: str) -> float:
    return result["rushes"][1][word.removeprefix("2nd ")] if word.startswith("2nd ") else result[word]


def ends(result: dict[str, Any], clients: str) -> dict[str, int]:
    """How many are booked in the end, at once or after a 202, and how many were told that they are not."""
    lines = [json.loads(line) for line in clients.splitlines()]
    states = [line["state"] for line in lines if line["kind"] == "ending"]
    return {"confirmed": result["booked"] + states.count("booked"), "told": states.count("refused")}


def play(options: tuple[str, ...]) -> dict[str, Any]:
    """One rush in a process of its own; its JSON, and how it ended for the students."""
    with tempfile.TemporaryDirectory(prefix="lastseat-ci-") as kept:
        command = [sys.executable, "-m", "lastseat", "rush", *options, "--keep", kept, "--json"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603  our own program
        if not done.stdout.strip():
            raise SystemExit(f"rush {' '.join(options)} ended with {done.returncode} and printed nothing")
        result: dict[str, Any] = json.loads(done.stdout)
        return result | ends(result, Path(kept, "clients.jsonl").read_text()) | {"exit": done.returncode}


def main() -> None:
    """Exit 1 when any promise of any rush is broken."""
    faults: list[str] = []
    more = sys.argv[1:]
    for plan, promise in MAIN if more else MAIN + OTHERS + FAULTED:
        options, began = (*plan, *more), time.monotonic()
        result = play(options)
        found = broken(result, promise) + (["exit is not 0"] if result["exit"] else [])
        faults += found
        print(f"lastseat rush {' '.join(options)} ({time.monotonic() - began:.0f} s)\n  {json.dumps(result)}")
        print(f"  {'; '.join(found) or 'as promised'}", flush=True)
    if faults:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
