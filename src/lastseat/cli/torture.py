"""`lastseat torture`: options in, numbers and broken promises out; plays and judges nothing itself."""

from pathlib import Path
from typing import Final

import click
import msgspec

from lastseat.cli.frame import run, say
from lastseat.cli.plays import COUNT, PROCESSES, number
from lastseat.rehearsal import controls, history
from lastseat.rehearsal.torture import Torture, torture
from lastseat.rehearsal.torture_judge import Report, judge

SECONDS: Final = click.FloatRange(15, 86_400)
STUDENTS: Final = click.IntRange(40, 5000)


@click.command(name="torture", short_help="Attack the service on this machine and judge what is left.")
@number("--seconds", "S", SECONDS, 120.0, "How long the demon rages.")
@number("--seed", "N", click.INT, 1, "The same seed gives the same schedule of faults.")
@number("--processes", "N", PROCESSES, 3, "Servers, each with a process that serves.")
@number("--students", "N", STUDENTS, 300, "Students who book, cancel and are moved.")
@number("--hubspot-limit", "N", COUNT, 190, "Calls that HubSpot takes per 10 seconds.")
@number("--hubspot-latency-ms", "MS", click.IntRange(0, 60_000), 50, "Milliseconds that a HubSpot call takes.")
@number("--patience-s", "S", click.FloatRange(1, 3600), 60.0, "Seconds that all may take to end when it is calm.")
@click.option("--keep", type=click.Path(path_type=Path), metavar="DIR", help="Keep all files in this folder.")
@click.option(
    "--judge",
    "kept",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Play nothing; judge the files of an earlier run again.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as JSON.")
# For the controls of CI alone: with a guard taken away the judge must find something.
@click.option("--without", type=click.Choice(controls.GUARDS), hidden=True)
def torture_command(
    *, keep: Path | None, kept: Path | None, as_json: bool, without: str | None, **wanted: object
) -> None:
    """Attack the service: students book, cancel and are moved while a demon kills its parts.

    Brings its own stores, its own emulated HubSpot and several servers on this machine. The demon kills servers, the
    relay, Postgres, Valkey and HubSpot with signal 9 and starts them again, empties Redis, freezes servers, and lets
    HubSpot lose, delay and refuse calls. Then all is calm, and a judge compares what every student was told with what
    is in HubSpot, in the ledger and in every view. Exit 1 when a promise was broken.
    """
    if kept is not None:
        report = judge(history.read_kept(kept))
    else:
        plan = msgspec.convert({**wanted, "without": without or ""}, Torture)
        report = run(lambda: torture(plan, keep, say=say))
    click.echo(msgspec.json.encode(report).decode() if as_json else told(report))
    if as_json and not report.passed:
        say(told(report))
    raise SystemExit(0 if report.passed else 1)


def told(report: Report) -> str:
    """Everything a person wants to know of a torture."""
    kills = ", ".join(f"{name} {count}" for name, count in msgspec.structs.asdict(report.kills).items())
    lines = [
        f"  Students   {report.requests:,} requests,  {report.booked:,} booked,  {report.cancelled:,} cancelled",
        f"  Killed     {kills}",
        f"  Wrong      {report.lost} lost,  {report.duplicates} duplicates,  {report.oversold} oversold,  "
        f"{report.stranded} stranded,  {report.unresolved} unresolved",
        f"  Away       {report.longest_outage_ms:,.0f} ms at the longest,  {report.recovery_max_s:g} s after a kill",
    ]
    for violation in report.violations:
        lines.append(f"  BROKEN ({violation.kind}): {violation.sentence}")
        lines += [f"      {line}" for line in violation.history]
    lines.append("All promises were kept." if report.passed else f"{len(report.violations)} promises were BROKEN.")
    return "\n".join(lines)
