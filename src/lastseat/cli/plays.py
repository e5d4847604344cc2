"""`lastseat rush` and `lastseat demo`: options in, tables and progress out; plays and judges nothing itself."""

import sys
from pathlib import Path
from typing import Final

import click
import msgspec

from lastseat.cli import running
from lastseat.cli.frame import Stopped, run, say
from lastseat.cli.ports import need_free_port, wanted_or_free
from lastseat.embedded.folder import data_folder
from lastseat.rehearsal import table
from lastseat.rehearsal.demo import Audience, Demo, Stage, play_demo
from lastseat.rehearsal.judge import Report
from lastseat.rehearsal.rehearse import Rehearsal, rehearse
from lastseat.rehearsal.tokens import staff_token, student_token
from lastseat.settings import load

LOOPBACK: Final = "127.0.0.1"
NOTED: Final = ("SUPABASE_DB_URL", "REDIS_URL", "HUBSPOT_BASE_URL", "HUBSPOT_ACCESS_TOKEN", "HUBSPOT_RATE_LIMIT")
BAR: Final = 40
Count = click.IntRange(min=1)


@click.command(short_help="Measure a booking rush on this machine and judge it.")
@click.option("--students", type=click.IntRange(1, 20_000), default=250, show_default=True, help="Students.")
@click.option("--seats", type=Count, default=100, show_default=True, help="Seats in all, shared by the exams evenly.")
@click.option("--exams", type=click.IntRange(1, 1000), default=1, show_default=True, help="Exams they compete for.")
@click.option("--processes", type=click.IntRange(1, 64), default=1, show_default=True, help="Server processes.")
@click.option("--hubspot-limit", type=Count, default=100, show_default=True, help="Calls per 10 s HubSpot takes.")
@click.option(
    "--hubspot-latency-ms",
    type=click.IntRange(0, 60_000),
    default=200,
    show_default=True,
    help="How long a HubSpot call takes, ms.",
)
@click.option(
    "--hubspot-faults", default="", metavar="FAULTS", help="What goes wrong there, e.g. drop=0.3,502=0.2,shuffle."
)
@click.option("--seed", type=int, default=1, show_default=True, help="Same seed: same school, wishes and faults.")
@click.option("--double", is_flag=True, help="Each student sends every request twice in the same millisecond.")
@click.option("--repeat", type=click.IntRange(1, 10), default=1, show_default=True, help="Rushes on one stack.")
@click.option(
    "--pause-s", type=click.FloatRange(0.5, 600), default=5.0, show_default=True, help="Seconds between two."
)
@click.option(
    "--patience-s", type=click.FloatRange(1, 3600), default=120.0, show_default=True, help="Wait for 202s, s."
)
@click.option("--transport", type=click.Choice(["direct"]), default="direct", show_default=True, help="To Postgres.")
@click.option("--keep", type=click.Path(path_type=Path), metavar="DIR", help="Keep logs and dumps in this folder.")
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as JSON.")
def rush(*, keep: Path | None, as_json: bool, **wanted: object) -> None:
    """Play the dress rehearsal: students compete for seats, all in the same instant.

    Brings its own stores, its own emulated HubSpot and its own site on this machine, releases every student at once
    over a warm connection each, and judges what happened from the logs. Exit 1 when an invariant broke.
    """
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
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the site.  [default: 8700, or a free one]")
@click.option("--students", type=click.IntRange(1, 5000), default=250, show_default=True, help="Sample students.")
@click.option("--seats", type=Count, default=100, show_default=True, help="Seats of the session they compete for.")
@click.option("--processes", type=click.IntRange(1, 64), default=1, show_default=True, help="Server processes.")
@click.option("--rush/--no-rush", default=True, help="Play a rush first, or only open the site.  [default: rush]")
def demo(port: int | None, students: int, seats: int, processes: int, *, rush: bool) -> None:
    """Show everything: stores, emulated HubSpot, sample school, a rush played live, and the site to try.

    Nothing has to be installed or configured. Data stays in LASTSEAT_DATA_DIR (default: the user's data folder) for
    the next time. Ctrl-C stops everything.
    """
    settings = load()
    if port is not None:
        need_free_port(LOOPBACK, port)
    chosen = port or wanted_or_free(LOOPBACK, settings.port or 8700)
    if port is None and chosen != settings.port:
        say(f"Port {settings.port} is taken; the site takes {chosen} instead.")
    folder = data_folder(settings.data_dir, on_progress=say)
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
