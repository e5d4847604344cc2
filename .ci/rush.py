"""Plays the rushes that the README promises and compares their numbers; never runs two at once.

With options, e.g. `--transport rest`, they go to each rush of the main job, and only those are played.
"""

import json
import subprocess
import sys
import time
from typing import Any

ZERO = ("failed", "oversold", "stranded", "duplicates", "hubspot_429", "hubspot_reads")
SMALL_PLAN = ("--students", "250", "--hubspot-limit", "10", "--hubspot-latency-ms", "200")
LARGE_PLAN = ("--students", "2000", "--seats", "500", "--exams", "5", "--hubspot-limit", "190", "--processes", "2")
MORE_WISHES = {"booked": 100, "refused": 150, "pending": 0, "hubspot_calls <=": 8, "p99_ms <": 1000}
MORE_SEATS = {"booked": 250, "refused": 0, "pending": 0, "hubspot_calls <=": 10, "p99_ms <": 1000}
RUSHES: list[tuple[tuple[str, ...], dict[str, int]]] = [
    ((*SMALL_PLAN, "--seats", "100"), MORE_WISHES),
    ((*SMALL_PLAN, "--seats", "100", "--processes", "4"), MORE_WISHES),
    ((*SMALL_PLAN, "--seats", "300"), MORE_SEATS),
    ((*SMALL_PLAN, "--seats", "300", "--processes", "4"), MORE_SEATS),
    (LARGE_PLAN, {"booked": 500, "refused": 1500}),
]


def broken(result: dict[str, Any], promise: dict[str, int]) -> list[str]:
    """The promises that this result does not keep."""
    faults = [f"{key} is {result[key]}, not 0" for key in ZERO if result[key] != 0]
    for wish, number in promise.items():
        key, _, sign = wish.partition(" ")
        value = result[key]
        if not {"": value == number, "<=": value <= number, "<": value < number}[sign]:
            faults.append(f"{key} is {value}, not {sign or '='} {number}")
    return faults


def play(options: tuple[str, ...]) -> dict[str, Any]:
    """One rush in a process of its own; its JSON."""
    command = [sys.executable, "-m", "lastseat", "rush", *options, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603  our own program
    if not done.stdout.strip():
        raise SystemExit(f"rush {' '.join(options)} ended with {done.returncode} and printed nothing")
    return json.loads(done.stdout) | {"exit": done.returncode}


def main() -> None:
    """Exit 1 when any promise of any rush is broken."""
    faults: list[str] = []
    more = sys.argv[1:]
    for plan, promise in RUSHES:
        if more and plan is LARGE_PLAN:
            continue
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
