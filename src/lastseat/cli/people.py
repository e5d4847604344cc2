"""`lastseat token`: a token for a sample person of the demo; never one that a real project would accept."""

import click

from lastseat.cli.folders import DEMO
from lastseat.embedded.folder import data_folder
from lastseat.errors import Refused
from lastseat.rehearsal.tokens import demo_secret, staff_token, student_token
from lastseat.settings import load
from lastseat.web.fields import is_record_id


@click.command(short_help="Print a token for a sample person of the demo.")
@click.option("--contact", metavar="ID", help="Sign in as this student: the HubSpot record id of the contact.")
@click.option("--staff", is_flag=True, help="Sign in as a member of staff with every permission.")
def token(contact: str | None, *, staff: bool) -> None:
    """Print a bearer token for the demo (valid for 30 days).

    It is signed with the demo's own secret, which `lastseat demo` keeps in its data folder. For a real project tokens
    come from Supabase Auth.
    """
    if bool(contact) == staff:
        raise click.UsageError("Give one of --contact ID and --staff.")
    if contact and not is_record_id(contact):
        raise Refused(f"{contact!r} is not a HubSpot record id: digits only.", field="contact")
    secret = demo_secret(data_folder(load().data_dir) / DEMO)
    click.echo(student_token(secret, contact) if contact else staff_token(secret))
