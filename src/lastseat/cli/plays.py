"""`lastseat rush` and `lastseat demo`: options in, tables and progress out; plays and judges nothing itself."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from lastseat.cli import running
from lastseat.cli.folders import demo_folder
from lastseat.cli.frame import Stopped, run, say
from lastseat.cli.ports import need_free_port, wanted_or_free
from lastseat.embedded.ports import free_port
from lastseat.rehearsal import table
from lastseat.rehearsal.demo import Audience, Demo, Stage, play_demo
from lastseat.rehearsal.judge import Report
from lastseat.rehearsal.loopback import refuse_elsewhere
from lastseat.rehearsal.rehearse import Rehearsal, rehearse
from lastseat.rehearsal.tokens import staff_token, student_token
from lastseat.settings import load

LOOPBACK: Final = "127.0.0.1"
NOTED: Final = ("SUPABASE_DB_URL", "REDIS_URL", "HUBSPOT_BASE_URL", "HUBSPOT_ACCESS_TOKEN", "HUBSPOT_RATE_LIMIT")
BAR: Final = 40
COUNT: Final = click.IntRange(min=1)
PROCESSES: Final = click.IntRange(1, 64)
Option = Callable[[Callable[..., None]], Callable[..., None]]


def number(name: str, metavar: str, limits: "click.ParamType[Any, Any]", default: float, help_text: str) -> Option:
    """An option that takes a number; `metavar` names its unit."""
    return click.option(name, metavar=metavar, type=limits, default=default, show_default=True, help=help_text)


@click.command(short_help="Measure a booking rush on this machine and judge it.")
@number("--students", "N", click.IntRange(1, 20_000), 250, "Students.")
@number("--seats", "N", COUNT, 100, "Seats of all exams together.")
@number("--exams", "N", click.IntRange(1, 1000), 1, "Exams they compete for.")
@number("--processes", "N", PROCESSES, 1, "Server processes.")
@number("--hubspot-limit", "N", COUNT, 100, "Calls that HubSpot takes per 10 seconds.")
@number("--hubspot-latency-ms", "MS", click.IntRange(0, 60_000), 200, "Milliseconds that a HubSpot call takes.")
@click.option(
    "--hubspot-faults", default="", metavar="FAULTS", help="What goes wrong there, e.g. drop=0.3,502=0.2,shuffle."
)
@number("--seed", "N", click.INT, 1, "The same seed gives the same school, wishes and faults.")
@click.option("--double", is_flag=True, help="Every student sends each request twice in the same millisecond.")
@number("--repeat", "N", click.IntRange(1, 10), 1, "Rushes on one stack, each with new students and exams.")
@number("--pause-s", "S", click.FloatRange(0.5, 600), 5.0, "Seconds from one rush to the next.")
@number("--patience-s", "S", click.FloatRange(1, 3600), 120.0, "Seconds that pending bookings have to be confirmed.")
@click.option(
    "--transport",
    type=click.Choice(["direct", "rest"]),
    default="direct",
    show_default=True,
    help="Way to Postgres: connections, or REST through PostgREST.",
)
@click.option("--keep", type=click.Path(path_type=Path), metavar="DIR", help="Keep logs and dumps in this folder.")
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as JSON.")
def rush(*, keep: Path | None, as_json: bool, **wanted: object) -> None:
    """Play the dress rehearsal: students compete for seats, all in the same instant.

    Brings its own stores, its own emulated HubSpot and its own site on this machine, releases every student at once
    over a warm connection each, and judges what happened from the logs. Exit 1 when an invariant broke.
    """
    refuse_elsewhere(os.environ, "A rush")
    rehearsal = msgspec.convert(wanted, Rehearsal)
    report = run(lambda: rehearse(rehearsal, keep, say=say))
    click.echo(_as_json(report) if as_json else table.told(report))
    if as_json and not report.passed:
        say(table.told(report))
    raise SystemExit(0 if report.passed else 1)


def _as_json(report: Report) -> str:
    body = msgspec.structs.asdict(report.total)
    if len(report.rushes) > 1:
        body["rushes"] = [msgspec.structs.asdict(one) for one in report.rushes]
    return msgspec.json.encode(body).decode()


@click.command(short_help="Show everything, with sample people and a live rush.")
@click.option(
    "--port", metavar="N", type=click.IntRange(1, 65535), help="TCP port of the site.  [default: 8700, or a free one]"
)
@number("--students", "N", click.IntRange(1, 5000), 250, "Sample students, all of them in the rush.")
@number("--seats", "N", COUNT, 100, "Seats of the session they compete for.")
@number("--processes", "N", PROCESSES, 1, "Server processes.")
@click.option("--rush/--no-rush", default=True, help="Play a rush first, or only open the site.  [default: rush]")
def demo(port: int | None, students: int, seats: int, processes: int, *, rush: bool) -> None:
    """Show everything: stores, emulated HubSpot, sample school, a rush played live, and the site to try.

    Nothing has to be installed or configured. Data stays for the next time, in the folder `demo` of LASTSEAT_DATA_DIR
    (default: the user's data folder), apart from that of `lastseat serve`. Ctrl-C stops everything.
    """
    settings = load()
    if port is not None:
        need_free_port(LOOPBACK, port)
    wished = port or settings.port or free_port()
    chosen = port or wanted_or_free(LOOPBACK, wished)
    if chosen != wished:
        say(f"Port {wished} is taken; the site takes {chosen} instead.")
    folder = demo_folder(settings.data_dir, say=say)
    wanted = Demo(students=students, seats=seats, processes=processes, port=chosen, rush=rush)
    try:
        run(lambda: _played(folder, wanted))
    except Stopped:
        say("Everything has stopped. The data is kept for the next time.")


async def _played(folder: Path, wanted: Demo) -> None:
    with running.Noting(folder) as noting:

        def opened(stage: Stage) -> None:
            noting.note(stage.site.port, {name: stage.environment[name] for name in NOTED})
            _invite(stage)
            if wanted.rush:
                say(f"Now {wanted.students} students press the button for {wanted.seats} seats …")

        await play_demo(folder, wanted, Audience(say=say, opened=opened, answered=_bar, judged=_judged))


def _invite(stage: Stage) -> None:
    url, sample = stage.site.url, stage.students[0]
    click.echo(f"The site is at {url}")
    name = f"{sample.name} ({sample.properties.get('student_id', sample.contact_id)})"
    click.echo(f"  sign in as the student {name}:")
    click.echo(f"    {url}/sign-in#token={student_token(stage.secret, sample.contact_id)}")
    click.echo("  sign in as staff:")
    click.echo(f"    {url}/sign-in#token={staff_token(stage.secret)}")


def _bar(done: int, count: int) -> None:
    """One line that grows; in a log only its last state."""
    if sys.stderr.isatty() or done == count:
        filled = "#" * (BAR * done // count)
        click.echo(f"\r  [{filled:{BAR}}] {done}/{count} answered", err=True, nl=done == count)


def _judged(report: Report) -> None:
    click.echo(table.told(report))
    click.echo("The site stays open. Ctrl-C stops everything.")
