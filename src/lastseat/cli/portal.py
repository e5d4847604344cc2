"""`lastseat portal`: says what a HubSpot portal lacks, and makes it after asking; never touches a record."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import click
import msgspec

from lastseat.cli.frame import run, say
from lastseat.cli.tools import need_token, redis_of
from lastseat.errors import SetupError
from lastseat.settings import Settings, load
from lastseat.stores.hubspot_portal import HubSpotPortal
from lastseat.stores.rate_budget import SharedBudget
from lastseat.upkeep.calls import Calls
from lastseat.upkeep.portal import Plan, PortalCheck, Seen, findings
from lastseat.upkeep.portal_needs import Finding

PATIENCE_S = 20.0
SCOPES_FIRST = "Add the scopes first, then run this again."


@click.group(short_help="Check the HubSpot portal, or make what it lacks.")
def portal() -> None:
    """Compare the HubSpot portal with what this service needs."""


@portal.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(*, as_json: bool) -> None:
    """Say what is missing, each with the way out; exit 1 when something is.

    Looks at the token and its scopes, the object types, their properties, the unique keys (HUBSPOT_BOOKING_KEY,
    HUBSPOT_EXAM_KEY) and the association types. Writes nothing.
    """
    settings = _settings()
    seen = run(lambda: _looked(settings))
    found = findings(seen, settings)
    click.echo(_as_json(found) if as_json else told(seen, found))
    raise SystemExit(1 if found else 0)


@portal.command()
@click.option("--yes", is_flag=True, help="Make it without asking.")
def setup(*, yes: bool) -> None:
    """Make what the portal lacks: object types, properties, association types; asks first.

    HubSpot can make values unique only in a new property. Where the key exists without being unique, another one
    (lastseat_id) is made. Prints the settings that follow. Exit 1 when something is left that only you can change.
    """
    given = _settings()
    seen, plan, planned = run(lambda: _planned(given))
    _refuse_blind(seen, planned)
    settings = planned
    for line in plan.lines:
        say(f"To make: {line}")
    if plan.lines:
        if not yes and not click.confirm("Make this in the portal?", err=True):
            raise SystemExit(1)
        settings = run(lambda: _made(plan, planned))
    left = findings(run(lambda: _looked(settings)), settings)
    if not plan.lines and not left:
        say("Nothing is missing.")
    for name, value in plan.settings.items():
        click.echo(f"{name}={value}")
    if plan.settings:
        say("Set these in the environment of the service.")
    for one in left:
        say(_line(one))
    raise SystemExit(1 if left else 0)


def _settings() -> Settings:
    settings = load()
    need_token(settings)
    return settings


@asynccontextmanager
async def _check(settings: Settings) -> AsyncGenerator[PortalCheck]:
    client = HubSpotPortal(settings)
    try:
        async with redis_of(settings) as trips:
            calls = Calls(SharedBudget(trips, settings), settings, "portal", patience_s=PATIENCE_S, begins=True)
            yield PortalCheck(client, calls, settings)
    finally:
        await client.close()


async def _looked(settings: Settings) -> Seen:
    async with _check(settings) as portal:
        return await portal.look()


async def _planned(settings: Settings) -> tuple[Seen, Plan, Settings]:
    async with _check(settings) as portal:
        seen, plan = await portal.prepared()
        return seen, plan, portal.settings


async def _made(plan: Plan, settings: Settings) -> Settings:
    async with _check(settings) as portal:
        await portal.make(plan)
        return portal.settings


def _refuse_blind(seen: Seen, settings: Settings) -> None:
    """What may not be read cannot be told from what is missing."""
    if not seen.token_works:
        [finding] = findings(seen, settings)
        raise SetupError(f"{finding.subject} {finding.fault}.", way_out=finding.fix)
    if seen.scopes:
        raise SetupError(f"The token lacks {', '.join(sorted(seen.scopes))}.", way_out=SCOPES_FIRST)


def told(seen: Seen, found: Sequence[Finding]) -> str:
    """The findings for people."""
    if not found:
        counts = ", ".join(f"{len(there)} properties of {kind}" for kind, there in seen.properties.items())
        return f"Nothing is missing. Looked at the token, its scopes, {counts}, and the association types."
    return "\n".join(_line(one) for one in found)


def _line(one: Finding) -> str:
    return f"{one.subject} {one.fault}. {one.fix}"


def _as_json(found: Sequence[Finding]) -> str:
    return msgspec.json.encode({"complete": not found, "findings": found}).decode()
