"""What reads cost and whether they are true: `uv run python bench/reads.py --json`; never touches servers of others.

CPU per answer of the server processes (all threads, /proc/PID/stat), with limits, metrics and the access log on, as
the median of interleaved rounds: on a machine with other work, answers per second swing by a third, CPU does not.
Beside the PRD's Node the list is measured twice, both with the CPU of Redis and Postgres: `…_in_the_rush`, while 50
bookings a second come in, with what these cost; and idle, while nobody books.
"""

import argparse
import json
import statistics
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import bars
import crowd
import floor
import load
import machine
import peer
import transports
import truth
import uvloop

from lastseat.rehearsal.lines import ask, raise_file_limit
from lastseat.rehearsal.seed import rush_school
from lastseat.rehearsal.stack import LocalStack, Plan
from lastseat.rehearsal.tokens import student_token

EXAMS = 20  # as many as the PRD's Node peer has
STUDENTS = 400
CONNECTIONS = 32
ENVIRONMENT = {
    # Counted, never reached: what is measured is their cost.
    "LASTSEAT_LIMIT_READS": "1000000000",
    "LASTSEAT_LIMIT_WRITES": "1000000000",
    "LASTSEAT_LIMIT_ADDRESS_READS": "1000000000",
}
ROUNDS_LEAST, READS_LEAST = 5, 10_000  # with fewer, results are shown and not kept
BARS = {
    "available_ratio_to_raw_asgi": (">=", 0.75),
    "available_ratio_to_prd_node": (">=", 4),
    "capacity_ratio_to_raw_asgi": (">=", 0.70),
    "db_list_queries_per_s": ("<=", 1),
    "process_hit_share": (">=", 0.95),
    "stale_reads": ("<=", 0),
    "own_writes_missed": ("<=", 0),
    "cold_view_database_queries": ("<=", 1),
    "slowest_read_mean_ms_direct": ("<=", 50),  # the mean of the slowest read function with 16 callers
    "slowest_read_mean_ms_rest": ("<=", 50),
}
PARTS = ("transports", "rush", "costs", "truth")
HUBSPOT = {"hubspot_limit": 100_000, "hubspot_latency_ms": 20}
RATIOS = {
    "available_ratio_to_raw_asgi": ("floor_available", "available"),
    "available_ratio_to_prd_node": ("prd_node_in_the_rush", "available_in_the_rush"),
    "available_ratio_to_prd_node_idle": ("prd_node_with_stores", "available_with_stores"),
    "capacity_ratio_to_raw_asgi": ("floor_capacity", "capacity"),
    "bookings_list_hit_ratio_to_raw_asgi": ("floor_list", "list"),
}


async def costs(stack, exams, students, people, rounds, seconds):
    """CPU per answer of each lane, round by round, and the ratios of their medians; `people` book meanwhile."""
    port, pid = stack.site.port, stack.site.pid
    tokens = [student_token(stack.secret, student.contact_id) for student in students[:CONNECTIONS]]
    paths = {"available": peer.AVAILABLE, "capacity": f"/api/mock-exams/{exams[0].exam_id}/capacity"}
    lanes = {name: (port, [pid], [load.get(path)] * CONNECTIONS) for name, path in paths.items()}
    lanes["list"] = (port, [pid], [load.get("/api/bookings/list", token) for token in tokens])
    lanes["available_with_stores"] = (port, crowd.pids(stack, pid), lanes["available"][2])
    sizes = {f"floor_{name}": len((await ask(port, "GET", path)).body) for name, path in paths.items()}
    sizes["floor_list"] = len((await ask(port, "GET", "/api/bookings/list", token=tokens[0])).body)
    async with AsyncExitStack() as others:
        places = await others.enter_async_context(floor.floors(sizes))
        lanes |= {name: (place[0], [place[1]], [load.get("/")] * CONNECTIONS) for name, place in places.items()}
        node = peer.prd_node(stack.folder, stack.embedded, exams, **HUBSPOT)
        place = await others.enter_async_context(node)
        asked = [load.get(peer.AVAILABLE)] * CONNECTIONS
        lanes["prd_node_with_stores"] = (place[0], crowd.pids(stack, place[1]), asked)
        seen = await _rounds({name: _idle(*lane, seconds) for name, lane in lanes.items()}, rounds)
        sides = {
            "available_in_the_rush": crowd.ours(stack, people),
            "prd_node_in_the_rush": crowd.the_prds(stack, place, exams, students),
        }
        # Not among the others: what follows a booking (links, totals) would be counted there.
        seen |= await _rounds({name: _in_the_rush(side, seconds) for name, side in sides.items()}, rounds)
    return _summary(seen, sizes)


async def _rounds(lanes, rounds):
    """What each lane found, interleaved, in another order each time, so that no lane always follows the same one."""
    seen = {name: [] for name in lanes}
    for number in range(-1, rounds):
        for name in list(lanes)[number % len(lanes) :] + list(lanes)[: number % len(lanes)]:
            found = await lanes[name]()
            if number >= 0:  # the first round warms what is compiled while it runs
                seen[name].append(found)
    return seen


def _idle(port, pids, requests, seconds):
    return lambda: load.cpu_per_answer(port, requests, pids, seconds=seconds)


def _in_the_rush(side, seconds):
    return lambda: crowd.cost_of_an_answer(side, connections=CONNECTIONS, seconds=seconds)


def _summary(seen, sizes):
    us = {name: statistics.median(one["us"] for one in found) for name, found in seen.items()}
    lanes = {
        name: {
            "us_per_answer": round(us[name], 1),
            "rounds_us": [round(one["us"], 1) for one in found],
            "answers_per_s": round(statistics.median(one["per_s"] for one in found)),
        }
        for name, found in seen.items()
    }
    ratios = {key: round(us[above] / us[below], 2) for key, (above, below) in RATIOS.items()}
    return {**ratios, "body_bytes": sizes, "lanes": lanes}


async def measure(folder, options, say):
    """Everything, on one stack: first one server process, then two."""
    raise_file_limit()
    results = {}
    plan = Plan(**HUBSPOT, seed=1, environment=ENVIRONMENT)
    async with LocalStack(folder, plan, say=say) as stack:
        school = rush_school(
            students=STUDENTS, seats=STUDENTS * EXAMS, exams=EXAMS, seed=1, timezone=stack.settings.timezone
        )
        exams, students = await stack.fill(school)
        if "transports" in options.parts:
            results |= await transports.compare(stack, exams, students, say)
        await stack.open_site()
        people = truth.People(stack, exams, students)
        if "rush" in options.parts:
            say("One process: bookings while everybody reads …")
            results |= await truth.reads_in_a_rush(people, seconds=options.seconds * 4)
        if "costs" in options.parts:
            say(f"One process: {options.rounds} rounds of CPU per answer …")
            await load.quiet([stack.site.pid])
            results |= await costs(stack, exams, students, people, options.rounds, options.seconds)
        stack.site.stop()
    if "truth" in options.parts:
        async with LocalStack(folder, Plan(**{**vars(plan), "processes": 2}), say=say) as stack:
            await stack.open_site()
            say("Two processes: reads after answered writes …")
            people = truth.People(stack, exams, students, first=200)
            results |= await truth.stale_reads(people, reads=options.reads)
            results |= await truth.cold_view(people)
    return {name: results[name] for name in [*RATIOS, *BARS] if name in results} | results


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--json", action="store_true", help="nothing but JSON on standard output")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each lane in each round")
    parser.add_argument("--reads", type=int, default=12_000, help="reads that must not be stale")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="results are kept only of all")
    options = parser.parse_args()
    here = machine.described()
    with tempfile.TemporaryDirectory(prefix="lastseat-bench-") as folder:
        Path(folder).chmod(0o755)
        work = measure(Path(folder), options, lambda text: print(text, file=sys.stderr))
        results = uvloop.run(work)
    whole = set(options.parts) == set(PARTS)
    if whole and options.rounds >= ROUNDS_LEAST and options.reads >= READS_LEAST:
        machine.keep("reads", results, here, options)
    print(json.dumps(results, indent=None if options.json else 2))
    if lines := list(bars.missed(results, BARS, whole=whole)):
        sys.exit("\n".join(lines))


if __name__ == "__main__":
    main()
