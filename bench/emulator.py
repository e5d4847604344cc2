"""How fast the emulator is: batch upserts of 100 rows on one core; never touches anything but its own process.

Run `python bench/emulator.py [SECONDS]`; it writes bench/results/emulator.json and exits 1 below 3,000 batches a
minute of one core. The emulator and this client are pinned to different cores where the system allows it, and the
emulator's own CPU time is counted beside the rate: on a machine with other work the CPU time is the number to trust.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import aiohttp
from machine import described, keep

ROWS = 100
BAR = 3_000  # batches a minute on one core
CONNECTIONS = 8
PATH = "/crm/v3/objects/2-50158943/batch/upsert"


def batch(number, *, fresh):
    names = [f"B-{number if fresh else number % 20}-{row}" for row in range(ROWS)]
    inputs = [
        {
            "id": name,
            "idProperty": "booking_id",
            "objectWriteTraceId": name,
            "properties": {
                "booking_id": name,
                "mock_exam_id": "34000000001",
                "contact_id": "34000000002",
                "student_id": "TRAINEE0142",
                "student_name": "Zoë O'Neill",
                "student_email": "zoe@example.com",
                "booking_status": "confirmed",
                "is_active": "Active",
                "attending_location": "Calgary",
                "exam_date": "2026-12-05",
                "dominant_hand": "left",
            },
        }
        for name in names
    ]
    return json.dumps({"inputs": inputs}).encode()


def cpu_s(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(url, pid, seconds, *, fresh):
    bodies = [batch(number, fresh=fresh) for number in range(4000 if fresh else 20)]
    headers = {"Authorization": "Bearer pat-demo", "Content-Type": "application/json"}
    done = 0
    async with aiohttp.ClientSession(base_url=url, headers=headers) as session:
        start, cpu = time.perf_counter(), cpu_s(pid)

        async def one_connection(offset):
            nonlocal done
            for body in bodies[offset::CONNECTIONS] if fresh else bodies * 10_000:
                if time.perf_counter() - start > seconds:
                    return
                async with session.post(PATH, data=body) as answer:
                    assert answer.status == 200, await answer.text()
                    await answer.read()
                done += 1

        await asyncio.gather(*(one_connection(offset) for offset in range(CONNECTIONS)))
        spent_s, cpu = time.perf_counter() - start, cpu_s(pid) - cpu
    return {
        "batches": done,
        "batches_per_minute": round(done / spent_s * 60),
        "cpu_ms_per_batch": round(cpu / done * 1000, 2),
        "batches_per_cpu_minute": round(done / cpu * 60),
    }


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 5
    machine, found = described(), {}
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder) / "ready"
        command = [sys.executable, "-m", "hubspot_emulator", "--port", "0", "--limit", "1000000"]
        command += ["--daily-limit", "100000000", "--data", f"{folder}/data", "--ready-file", str(ready)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
                os.sched_setaffinity(process.pid, {0})
                os.sched_setaffinity(0, {1})
            while not ready.exists():
                time.sleep(0.05)
            url = ready.read_text().strip()
            for what, fresh in (("new_records", True), ("known_records", False)):
                found[what] = asyncio.run(measure(url, process.pid, seconds, fresh=fresh))
                print(what, json.dumps(found[what]), flush=True)
        finally:
            process.terminate()
            process.wait(10)
    keep("emulator", {"rows_per_batch": ROWS, "connections": CONNECTIONS, **found}, machine)
    raise SystemExit(any(one["batches_per_cpu_minute"] < BAR for one in found.values()))


if __name__ == "__main__":
    main()
