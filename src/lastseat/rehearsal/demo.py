"""The whole service on this machine with a made-up school, one rush played live, then left open; nobody is real."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from lastseat.embedded.folder import Say
from lastseat.rehearsal import kept
from lastseat.rehearsal.judge import Report, judge
from lastseat.rehearsal.lines import raise_file_limit
from lastseat.rehearsal.rehearse import Log, Rehearsal, drained, keep_files
from lastseat.rehearsal.rush import Crowd
from lastseat.rehearsal.seed import Session, Student, demo_school, people_from, rush_school
from lastseat.rehearsal.site import Site
from lastseat.rehearsal.stack import LocalStack, Plan

DAYS: Final = 14
FEWEST_DAYS: Final = 3
"""A demo whose sessions have mostly passed gets new ones."""
RUN_FOLDER: Final = "last-rush"
HUBSPOT_LIMIT: Final = 100
HUBSPOT_LATENCY_MS: Final = 200
PATIENCE_S: Final = 60.0


@dataclass(frozen=True, kw_only=True)
class Demo:
    """What to show. The rush is one new session with `seats` seats, wanted by `students` students."""

    students: int = 250
    seats: int = 100
    processes: int = 1
    port: int
    rush: bool = True
    seed: int = 1


@dataclass(frozen=True, kw_only=True)
class Stage:
    """The open site and who can go on it."""

    site: Site
    secret: str
    students: Sequence[Student]
    environment: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Audience:
    """Who hears of the demo: that the site is open, how the rush goes, what came of it."""

    say: Say
    opened: Callable[[Stage], None]
    answered: Callable[[int, int], None]
    judged: Callable[[Report], None]


async def play_demo(folder: Path, demo: Demo, audience: Audience) -> None:
    """Open the site, play the rush, and stay until cancelled."""
    raise_file_limit()
    plan = Plan(
        processes=demo.processes,
        hubspot_limit=HUBSPOT_LIMIT,
        hubspot_latency_ms=HUBSPOT_LATENCY_MS,
        seed=demo.seed,
        port=demo.port,
        demo=True,
    )
    async with LocalStack(folder, plan, say=audience.say) as stack:
        students = await gather_school(stack, demo, audience.say)
        session = await new_session(stack, demo) if demo.rush else None
        site = await stack.open_site()
        audience.opened(Stage(site=site, secret=stack.secret, students=students, environment=stack.environment()))
        if session is not None:
            audience.judged(await _live_rush(stack, demo, session, students[: demo.students], audience))
        await asyncio.Event().wait()


async def gather_school(stack: LocalStack, demo: Demo, say: Say) -> list[Student]:
    """What earlier runs left, and what is missing to a school; all of it mirrored."""
    exams, students = await stack.known()
    timezone = stack.settings.timezone
    if days_ahead(exams, timezone) < FEWEST_DAYS:
        say("Filling in sessions …")
        school = demo_school(students=0, days=DAYS, seed=demo.seed, timezone=timezone)
        exams += (await stack.fill(school))[0]
    if len(students) < demo.students:
        say("Filling in students …")
        missing = demo.students - len(students)
        students += (await stack.fill(people_from(len(students) + 1, missing, seed=demo.seed)))[1]
    await stack.mirror(exams, students)
    return students


def days_ahead(exams: Sequence[Session], timezone: str) -> int:
    """On how many days after today there is a session."""
    today = datetime.now(ZoneInfo(timezone)).date().isoformat()
    return len({exam.properties["exam_date"] for exam in exams if exam.properties.get("exam_date", "") > today})


async def new_session(stack: LocalStack, demo: Demo) -> Session:
    """A session that nobody has booked yet; not always of the same type and place."""
    seed = demo.seed + len((await stack.known())[0])
    school = rush_school(students=0, seats=demo.seats, exams=1, seed=seed, timezone=stack.settings.timezone)
    exams, _ = await stack.fill(school)
    return exams[0]


async def _live_rush(
    stack: LocalStack, demo: Demo, session: Session, students: Sequence[Student], audience: Audience
) -> Report:
    assert stack.site is not None
    crowd = Crowd(0, students, [session], secret=stack.secret, seed=demo.seed)
    played = await crowd.rush(stack.site.port, tick=lambda done: audience.answered(done, len(students)))
    log = Log()
    log.heard(played)
    log.endings = await crowd.follow(played, stack.site.port, PATIENCE_S)
    await drained(stack, PATIENCE_S, audience.say)
    files = stack.folder / RUN_FOLDER
    files.mkdir(exist_ok=True)
    wanted = Rehearsal(
        students=demo.students,
        seats=demo.seats,
        processes=demo.processes,
        hubspot_limit=HUBSPOT_LIMIT,
        hubspot_latency_ms=HUBSPOT_LATENCY_MS,
        seed=demo.seed,
    )
    await keep_files(stack, wanted, log, files)
    return judge(kept.read_kept(files))
