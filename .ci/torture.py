"""Plays a short torture and its controls and compares their numbers; never runs two at once."""

import json
import subprocess
import sys
import time
from typing import Any

ZERO = ("lost", "duplicates", "oversold", "stranded", "unresolved")
KINDS = ("server", "relay", "postgres", "valkey", "emulator")
SHORT = ("--seconds", "45", "--seed", "7", "--processes", "3")
BOOKED_LEAST = 300
RECOVERY_MOST_S = 60
CONTROLS: list[tuple[tuple[str, ...], set[str]]] = [
    (("--seconds", "20", "--seed", "7", "--students", "200", "--without", "row-lock"), {"oversold"}),
    (("--seconds", "30", "--seed", "7", "--students", "100", "--without", "verify"), {"came_back", "oversold"}),
]


def broken(result: dict[str, Any]) -> list[str]:
    """The promises that this torture does not keep."""
    faults = [f"{key} is {result[key]}, not 0" for key in ZERO if result[key] != 0]
    faults += [f"{one['kind']}: {one['sentence']}" for one in result["violations"]]
    faults += [f"{kind} was never killed" for kind in KINDS if not result["kills"][kind]]
    if result["booked"] < BOOKED_LEAST:
        faults.append(f"only {result['booked']} were booked")
    if result["recovery_max_s"] > RECOVERY_MOST_S:
        faults.append(f"recovery took {result['recovery_max_s']} s")
    return faults + (["exit is not 0"] if result["exit"] != 0 else [])


def unseen(result: dict[str, Any], wanted: set[str]) -> list[str]:
    """What the judge did not see although a guard was away."""
    found = {one["kind"] for one in result["violations"]}
    told = any(one["history"] for one in result["violations"] if one["kind"] in wanted)
    faults = [] if wanted & found else [f"none of {sorted(wanted)} was found, only {sorted(found)}"]
    faults += [] if told or faults else ["no history of the seat was told"]
    return faults + (["exit is not 1"] if result["exit"] != 1 else [])


def play(options: tuple[str, ...]) -> dict[str, Any]:
    """One torture in a process of its own; its JSON."""
    command = [sys.executable, "-m", "lastseat", "torture", *options, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  our own program
    if not done.stdout.strip():
        print(done.stderr)
        raise SystemExit(f"torture {' '.join(options)} ended with {done.returncode} and printed nothing")
    return json.loads(done.stdout) | {"exit": done.returncode, "said": done.stderr}


def main() -> None:
    """Exit 1 when a promise is broken, or when a control saw nothing."""
    faults: list[str] = []
    for options, wanted in [(SHORT, None), *CONTROLS]:
        began = time.monotonic()
        result = play(options)
        said = result.pop("said")
        found = broken(result) if wanted is None else unseen(result, wanted)
        faults += found
        shown = result | {"violations": [one["sentence"] for one in result["violations"]]}
        print(f"lastseat torture {' '.join(options)} ({time.monotonic() - began:.0f} s)")
        print(f"  {json.dumps(shown)[:2000]}")
        print(f"  {'; '.join(found) or 'as promised'}", flush=True)
        if found:
            print(said)
    if faults:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
