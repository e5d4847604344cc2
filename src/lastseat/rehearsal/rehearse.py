"""A whole dress rehearsal: stack up, students released, files kept, judge asked; never against another machine."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from lastseat.embedded.folder import Say, silent
from lastseat.errors import SetupError
from lastseat.evidence import Answer, Ending
from lastseat.model import ExamId, Gate
from lastseat.rehearsal import kept
from lastseat.rehearsal.judge import Report, judge
from lastseat.rehearsal.lines import raise_file_limit
from lastseat.rehearsal.rush import Crowd, Played
from lastseat.rehearsal.seed import School, rush_school
from lastseat.rehearsal.stack import LocalStack, Plan
from lastseat.stores.dump import LedgerView, ledger_view
from lastseat.stores.gate import GateStore
from lastseat.stores.redis import RedisTrips

DRAIN_POLL_S: Final = 0.1
FAULTED: Final = {"LASTSEAT_VERIFY_AFTER_S": "4", "LASTSEAT_BACKOFF_MOST_S": "3"}
"""With faults a lost call lands within two seconds and no outage lasts: it need not wait as for real ones."""


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """What to play. `repeat` rushes are released `pause_s` apart on one stack, each with students of its own."""

    students: int = 250
    seats: int = 100
    exams: int = 1
    processes: int = 1
    hubspot_limit: int = 100
    hubspot_latency_ms: int = 200
    hubspot_faults: str = ""
    seed: int = 1
    transport: str = "direct"
    double: bool = False
    repeat: int = 1
    pause_s: float = 5.0
    patience_s: float = 120.0


class Log:
    """What the students of all rushes saw so far."""

    def __init__(self) -> None:
        self.rushes: list[kept.Rush] = []
        self.answers: list[Answer] = []
        self.endings: list[Ending] = []

    def heard(self, played: Played) -> None:
        """Add one rush."""
        self.rushes.append(played.rush)
        self.answers += played.answers


async def rehearse(wanted: Rehearsal, keep: Path | None, *, say: Say = silent) -> Report:
    """Play it and judge it from the files that it left in `keep`, or in a folder that is removed afterwards."""
    raise_file_limit()
    with passing_folder() as folder:
        files = keep_folder(keep or folder / "kept")
        async with LocalStack(folder / "data", plan_of(wanted), say=say) as stack:
            await _play(stack, wanted, files, say)
        say("Judging from the files …")
        return judge(kept.read_kept(files))


@contextmanager
def passing_folder() -> Generator[Path]:
    """A folder that ends with us. Others may pass it: Postgres does not run as root, and its data lies below."""
    with tempfile.TemporaryDirectory(prefix="lastseat-rush-", ignore_cleanup_errors=True) as made:
        folder = Path(made)
        folder.chmod(0o755)
        yield folder


def plan_of(wanted: Rehearsal) -> Plan:
    """The stack that this rehearsal needs."""
    return Plan(
        processes=wanted.processes,
        hubspot_limit=wanted.hubspot_limit,
        hubspot_latency_ms=wanted.hubspot_latency_ms,
        hubspot_faults=wanted.hubspot_faults,
        seed=wanted.seed,
        transport=wanted.transport,
        environment=FAULTED if wanted.hubspot_faults else {},
    )


def keep_folder(folder: Path) -> Path:
    """A folder for the files: a new one, an empty one, or one that an earlier rush left."""
    with usable(folder):
        whole = folder.expanduser().resolve()
        if whole.exists() and not whole.is_dir():
            raise SetupError(f"{whole} is not a folder.", way_out="Give --keep a new folder.")
        if whole.exists() and any(whole.iterdir()) and not kept.is_kept(whole):
            raise SetupError(f"{whole} holds other files.", way_out="Give --keep a new or empty folder.")
        whole.mkdir(parents=True, exist_ok=True)
        return whole


@contextmanager
def usable(folder: Path) -> Generator[None]:
    """Say in one line that a folder for --keep cannot be made or read."""
    try:
        yield
    except OSError as problem:
        why = f"Cannot use {problem.filename or folder}: {problem.strerror}."
        raise SetupError(why, way_out="Give --keep a folder that you can write.") from problem


async def _play(stack: LocalStack, wanted: Rehearsal, files: Path, say: Say) -> None:
    say("Filling in sessions and students …")
    schools = [
        await stack.fill(school_of(wanted, number, stack.settings.timezone)) for number in range(wanted.repeat)
    ]
    site = await stack.open_site()
    log = Log()
    async with asyncio.TaskGroup() as following:
        tasks: list[asyncio.Task[list[Ending]]] = []
        for number, (exams, students) in enumerate(schools):
            crowd = Crowd(number, students, exams, secret=stack.secret, seed=wanted.seed, double=wanted.double)
            if number:
                await _pause(log.rushes[-1].released_at + wanted.pause_s)
            say(f"Releasing {len(students)} students …")
            played = await crowd.rush(site.port)
            log.heard(played)
            tasks.append(following.create_task(crowd.follow(played, site.port, wanted.patience_s)))
        say("All answered; waiting until HubSpot has everything …")
    log.endings = [ending for task in tasks for ending in task.result()]
    await drained(stack, wanted.patience_s, say)
    await keep_files(stack, wanted, log, files)


def school_of(wanted: Rehearsal, number: int, timezone: str) -> School:
    """The sessions and students of one rush, other ones for each."""
    return rush_school(
        students=wanted.students,
        seats=wanted.seats,
        exams=wanted.exams,
        seed=wanted.seed + number,
        timezone=timezone,
        first=1 + number * wanted.students,
    )


async def _pause(until: float) -> None:
    await asyncio.sleep(max(0.0, until - time.time()))


async def drained(stack: LocalStack, patience_s: float, say: Say) -> None:
    """Wait until no row of the outbox is left to act on, and no call to HubSpot is under way."""
    async with ledger_view(stack.embedded.postgres_url) as view:
        if not await _empty(view, patience_s):
            say(f"After {patience_s:g} s the outbox still holds {await view.unfinished()} rows.")
    await stack.portal.settle(patience_s)


async def _empty(view: LedgerView, patience_s: float) -> bool:
    until = time.monotonic() + patience_s
    while await view.unfinished():
        if time.monotonic() > until:
            return False
        await asyncio.sleep(DRAIN_POLL_S)
    return True


async def keep_files(stack: LocalStack, wanted: Rehearsal, log: Log, files: Path) -> None:
    """Write everything that the judge will look at."""
    first = log.rushes[0]
    run = kept.Run(
        released_at=first.released_at,
        students=wanted.students,
        seats=wanted.seats,
        exams=wanted.exams,
        processes=wanted.processes,
        hubspot_limit=wanted.hubspot_limit,
        hubspot_latency_ms=wanted.hubspot_latency_ms,
        hubspot_faults=wanted.hubspot_faults,
        seed=wanted.seed,
        double=wanted.double,
        transport=wanted.transport,
        booking_type=stack.settings.hubspot_booking_type,
        booking_key=stack.settings.hubspot_booking_key,
        rushes=log.rushes,
    )
    kept.write_clients(files, run, log.answers, log.endings)
    async with ledger_view(stack.embedded.postgres_url) as view:
        kept.write_ledger(files, await view.dump())
    exam_ids = [ExamId(exam_id) for rush in log.rushes for exam_id in rush.exam_ids]
    (files / kept.GATES).write_bytes(msgspec.json.encode(await gates_now(stack.embedded.redis_url, exam_ids)))
    (files / kept.REQUESTS).write_bytes(stack.portal.log(since=stack.opened_at))
    (files / kept.STATE).write_bytes(await stack.portal.state())
    if stack.site is not None:
        shutil.copyfile(stack.site.log_path, files / kept.SERVER_LOG)


async def gates_now(redis_url: str, exam_ids: Sequence[ExamId]) -> list[Gate]:
    """The seat counts that Redis holds now; none when it is away."""
    async with _redis(redis_url) as trips:
        return list((await GateStore(trips, gate_ttl_s=60).look(exam_ids)).values())


@asynccontextmanager
async def _redis(url: str) -> AsyncGenerator[RedisTrips]:
    trips = RedisTrips(url, timeout_s=1.0)
    try:
        yield trips
    finally:
        await trips.close()
