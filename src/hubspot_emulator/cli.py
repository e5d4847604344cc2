"""The command line `hubspot-emulator`; never starts more than one emulator."""

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click
import msgspec

from hubspot_emulator.calls import Landed
from hubspot_emulator.failures import ApiError
from hubspot_emulator.faults import NAMES, Faults, split
from hubspot_emulator.journal import lines
from hubspot_emulator.pipeline import Emulator
from hubspot_emulator.seeding import Seed
from hubspot_emulator.server import Server, run_until
from hubspot_emulator.settings import PLANS, Limits, Switches, Webhook, with_changes
from hubspot_emulator.standard import DEFAULT_PORTAL_ID, first_events
from hubspot_emulator.store import Store
from hubspot_emulator.views import state

FAULT_HELP = "\b\n" + "\n".join(f"{name:18} {text}" for name, text in NAMES.items())


def _choices(kind: Any) -> str:  # noqa: ANN401  any annotation of a switch
    return f" of {', '.join(get_args(kind))}" if get_origin(kind) is Literal else ""


SWITCH_HELP = "\b\n" + "\n".join(
    f"{one.name:24} {one.default!r}{_choices(one.type)}" for one in msgspec.structs.fields(Switches)
)
EPILOG = f"""\b
Faults (NAME[@OPERATION or @reads or @writes][=CHANCE or =COUNTx][:ARG], comma separated):

{FAULT_HELP}

\b
Switches (NAME=VALUE), with their defaults:

{SWITCH_HELP}
"""


@click.command(epilog=EPILOG, context_settings={"max_content_width": 110})
@click.option("--port", default=8766, show_default=True, help="Port; 0 asks for a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--data", type=click.Path(path_type=Path), help="Folder that keeps everything; none: memory only.")
@click.option("--limit", type=int, help="Calls per rolling window and app; default is the plan's.")
@click.option("--plan", type=click.Choice(list(PLANS)), default="professional", show_default=True)
@click.option("--window-ms", default=10_000, show_default=True, help="Length of the rolling window.")
@click.option("--search-limit", default=5, show_default=True, help="Searches per second and account.")
@click.option("--daily-limit", type=int, help="Calls per day and account; default is the plan's.")
@click.option("--latency-ms", default=0.0, show_default=True, help="How long every call takes.")
@click.option("--jitter-ms", default=0.0, show_default=True, help="Added at random to the latency.")
@click.option("--token", "tokens", multiple=True, help="TOKEN or TOKEN=SCOPE,SCOPE; repeat for more apps.")
@click.option("--portal", type=click.Choice(["standard", "empty"]), default="standard", show_default=True)
@click.option("--portal-id", default=DEFAULT_PORTAL_ID, show_default=True)
@click.option("--snapshot", type=click.Path(exists=True, path_type=Path), help="Start a new folder from it.")
@click.option("--seed-file", type=click.Path(exists=True, path_type=Path), help="Records for a new folder.")
@click.option("--faults", default="", help="What goes wrong, and switches; see below.")
@click.option("--seed", default=0, show_default=True, help="Makes faults and orders repeatable.")
@click.option("--switch", "switches", multiple=True, help="NAME=VALUE; see below.")
@click.option("--other-searches", default=0.0, help="Searches per second of other apps on the account.")
@click.option("--other-calls", default=0.0, help="Calls per second of other apps, for the daily limit.")
@click.option("--same-token-calls", default=0.0, help="Calls per second of another user of the same token.")
@click.option("--webhook-url", default="", help="Is told about changed properties of custom objects.")
@click.option("--webhook-secret", default=Webhook().secret, show_default=True)
@click.option("--webhook-signature", type=click.Choice(["v1", "v3"]), default="v3", show_default=True)
@click.option("--print-state", is_flag=True, help="Print what the --data folder holds as JSON, and stop.")
@click.option("--ready-file", type=click.Path(path_type=Path), help="Is given the address when it listens.")
def main(**given: Any) -> None:  # noqa: ANN401  click hands over what the options above declare
    """A local HubSpot CRM: real limits, real refusals, and faults on demand."""
    try:
        with Store(given["data"]) as store:
            if given["print_state"]:
                click.echo(msgspec.json.encode(state(store.portal)))
                return
            emulator = _emulator(store, given)
            _run(_serve(emulator, given))
    except (ValueError, OSError) as problem:
        raise click.ClickException(str(problem)) from None


def _emulator(store: Store, given: dict[str, Any]) -> Emulator:
    calls, daily = PLANS[given["plan"]]
    limits = Limits(
        calls=given["limit"] if given["limit"] is not None else calls,
        window_ms=given["window_ms"],
        search_per_s=given["search_limit"],
        daily=given["daily_limit"] if given["daily_limit"] is not None else daily,
        latency_ms=given["latency_ms"],
        jitter_ms=given["jitter_ms"],
        other_search_per_s=given["other_searches"],
        other_calls_per_s=given["other_calls"],
        same_token_calls_per_s=given["same_token_calls"],
    )
    rules, named = split(given["faults"])
    turned = dict(part.partition("=")[::2] for part in given["switches"])
    emulator = Emulator(
        store,
        limits=limits,
        switches=with_changes(Switches(), named | turned),
        tokens=list(given["tokens"]),
        faults=Faults(rules, given["seed"]),
        webhook=Webhook(
            url=given["webhook_url"],
            secret=given["webhook_secret"],
            signature=given["webhook_signature"],
        ),
        seed=given["seed"],
    )
    if store.fresh:
        _fill(emulator, given)
    return emulator


def _fill(emulator: Emulator, given: dict[str, Any]) -> None:
    if given["snapshot"] is not None:
        found = [msgspec.convert(line, Landed) for line in lines(given["snapshot"])]
        emulator.start_over(event for entry in found for event in entry.ev)
    else:
        emulator.start_over(first_events(given["portal"], given["portal_id"]))
    if given["seed_file"] is not None:
        try:
            emulator.sow(msgspec.json.decode(given["seed_file"].read_bytes(), type=Seed))
        except (ApiError, msgspec.MsgspecError) as problem:
            raise ValueError(f"{given['seed_file']}: {problem}") from None


async def _serve(emulator: Emulator, given: dict[str, Any]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    if sys.platform != "win32":  # there, Ctrl-C ends the process without ceremony
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)

    def ready(url: str) -> None:
        print(f"hubspot-emulator listening on {url}", flush=True)  # noqa: T201  the one line of output
        if given["ready_file"] is not None:
            _write_ready(given["ready_file"], url)

    server = Server(emulator, given["host"], given["port"])
    await run_until(server, stop, ready)


def _write_ready(path: Path, url: str) -> None:
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    fresh.write_text(url + "\n", encoding="utf-8")
    fresh.replace(path)


def _run(work: Coroutine[Any, Any, None]) -> None:
    if sys.platform == "win32":
        asyncio.run(work)
        return
    import uvloop  # noqa: PLC0415  there is none for Windows

    uvloop.run(work)
