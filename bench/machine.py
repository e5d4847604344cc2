"""Writes results down with the machine they come from; never compares machines."""

import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def described():
    """Processor, cores, memory, system and versions."""
    cpu = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    memory = Path("/proc/meminfo").read_text().split("\n", 1)[0].split()[1]
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory_gib": round(int(memory) / 2**20, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_before": _load(),
    }


def _load():
    return [round(value, 2) for value in os.getloadavg()]


def keep(name, results, machine, options=None):
    """Write `results/<name>.json`, with the options of the run and the load around it."""
    RESULTS.mkdir(exist_ok=True)
    machine = {**machine, "load_after": _load()}
    at = datetime.now(UTC).isoformat(timespec="seconds")
    said = {} if options is None else {"options": vars(options)}
    whole = {"at": at, "machine": machine, **said, **results}
    (RESULTS / f"{name}.json").write_text(json.dumps(whole, indent=2) + "\n")
