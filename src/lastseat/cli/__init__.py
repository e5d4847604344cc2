"""The command line `lastseat`; each command lives in a module of its own, none does the work itself."""

import click

from lastseat.cli.checking import doctor
from lastseat.cli.database import schema
from lastseat.cli.frame import Commands
from lastseat.cli.people import token
from lastseat.cli.plays import demo, rush
from lastseat.cli.portal import portal
from lastseat.cli.serving import serve
from lastseat.cli.torture import torture_command
from lastseat.cli.upkeep import backfill, sync

HELP = """Books seats in mock exams in a rush: HubSpot is the record, Supabase the seat ledger, Redis makes it fast.

Start with `lastseat demo`: it brings everything along, plays a booking rush and leaves the site open. Nothing has
to be installed or configured for it. Then `lastseat rush` measures, `lastseat doctor` checks, and `lastseat serve`
runs the real thing with the settings of the environment.
"""


@click.group(
    cls=Commands, help=HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(package_name="lastseat")
def main() -> None:
    """Nothing happens before a command is chosen."""


for command in (demo, serve, rush, torture_command, doctor, schema, token):
    main.add_command(command)
for command in (portal, backfill, sync):
    main.add_command(command)
