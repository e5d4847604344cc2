"""Plays the rushes that the README promises and compares their numbers; never runs two at once.

Whether everything is exact is asked of every rush. Whether it is prompt also depends on what else the machine does:
a rush that was exact but late is played again after a rest, up to five times in all, and must be prompt once.

With options, e.g. `--transport rest`, they go to the first and the last rush of the main job, and only those are
played: more wishes than seats on one process, more seats than wishes on four. The word
`faulted` plays the rush under faults with all its seeds; CI plays the first, for the minutes' sake.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

Promise = dict[str, int]
Rush = tuple[tuple[str, ...], Promise, Promise]
"""Options, what must be exact, and what must be prompt."""

TRIES = 5
REST_S = 15.0  # Limit: a machine that has run all tests at full speed is slower for a while
ZERO = ("failed", "oversold", "stranded", "duplicates", "hubspot_429", "hubspot_reads")
SMALL_PLAN = ("--students", "250", "--hubspot-limit", "10", "--hubspot-latency-ms", "200")
LARGE_PLAN = ("--students", "2000", "--seats", "500", "--exams", "5", "--hubspot-limit", "190", "--processes", "2")
MORE_WISHES: Promise = {"booked + pending": 100, "confirmed": 100, "refused": 150}
MORE_SEATS: Promise = {"booked + pending": 250, "confirmed": 250, "refused": 0}
MAIN: list[Rush] = [
    ((*SMALL_PLAN, "--seats", seats, "--processes", processes), exact, {"pending": 0, "p99_ms <": 1000, calls: most})
    for seats, exact, calls, most in (
        ("100", MORE_WISHES, "hubspot_calls <=", 8),
        ("300", MORE_SEATS, "hubspot_calls <=", 10),
    )
    for processes in ("1", "4")
]
OTHERS: list[Rush] = [
    # Prompt as elsewhere: 99 of 100 winners. The 2,000 students take their share of the same processors.
    ((*LARGE_PLAN,), {"booked + pending": 500, "confirmed": 500, "refused": 1500}, {"booked >": 494}),
    # The first rush leaves too few calls for the three batches of the second.
    (
        ("--students", "250", "--seats", "250", "--repeat", "2", "--pause-s", "3", "--hubspot-limit", "8"),
        {"booked + pending": 500, "2nd booked + 2nd pending": 250, "2nd pending >": 0, "confirmed": 500},
        {},
    ),
    # Every other student sends its two requests without a key.
    (
        ("--students", "150", "--seats", "100", "--double", "--hubspot-limit", "10"),
        {"booked + pending": 100, "refused": 50, "confirmed": 100},
        {},
    ),
]
FAULTS = "drop=0.3,502=0.2,429=0.2,late=0.1,shuffle"
FAULTED_PLAN = ("--students", "250", "--seats", "250", "--hubspot-limit", "100", "--hubspot-faults", FAULTS)
FAULTED_PLAN += ("--patience-s", "300")  # four calls of five come to nothing, so it takes as long as it takes
FAULTED: list[Rush] = [
    ((*FAULTED_PLAN, "--seed", str(seed)), {"booked + pending": 250, "confirmed + told": 250}, {})
    for seed in range(1, 6)
]


def inexact(result: dict[str, Any], promise: Promise) -> list[str]:
    """What may not be so in any rush, however slow the machine is."""
    faults = [f"{key} is {result[key]}, not 0" for key in (*ZERO, "exit") if result[key] != 0]
    return faults + broken(result, promise)


def broken(result: dict[str, Any], promise: Promise) -> list[str]:
    """The promises that this result does not keep. `a + b <` sums two numbers; `2nd a` is that of the second rush."""
    faults: list[str] = []
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


def tried(options: tuple[str, ...], exact: Promise, prompt: Promise) -> list[str]:
    """The faults of this rush: at once when it was not exact, after the last try when none was prompt."""
    late: list[str] = []
    for number in range(1, TRIES + 1):
        time.sleep(REST_S if late else 0)
        began = time.monotonic()
        result = play(options)
        faults, late = inexact(result, exact), broken(result, prompt)
        print(f"lastseat rush {' '.join(options)} ({time.monotonic() - began:.0f} s)\n  {json.dumps(result)}")
        print(f"  {'; '.join(faults + late) or 'as promised'} (try {number} of {TRIES})", flush=True)
        if faults or not late:
            return faults
    return late


def main() -> None:
    """Exit 1 when any promise of any rush is broken."""
    more = tuple(sys.argv[1:])
    rushes = [MAIN[0], MAIN[-1]] if more else MAIN + OTHERS + FAULTED[:1]
    if more == ("faulted",):
        rushes, more = FAULTED, ()
    faults = [fault for plan, exact, prompt in rushes for fault in tried((*plan, *more), exact, prompt)]
    if faults:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
