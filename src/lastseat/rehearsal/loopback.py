"""Refuses to rehearse when the environment names a service elsewhere; looks at names only and asks nobody."""

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import urlsplit

from lastseat.errors import SetupError

ADDRESSES: Final = ("SUPABASE_DB_URL", "SUPABASE_URL", "REDIS_URL", "HUBSPOT_BASE_URL")
HOST: Final = "LASTSEAT_HOST"


def refuse_elsewhere(environment: Mapping[str, str], what: str) -> None:
    """Raise SetupError when a variable leads to another machine.

    A rehearsal brings its own stores and would not touch that service; but who has it set may believe that it does.
    """
    named = [(name, environment[name]) for name in (*ADDRESSES, HOST) if environment.get(name)]
    for name, value in named:
        if not is_here(value if name == HOST else _host(value)):
            raise SetupError(
                f"{what} plays on this machine only, and {name} leads elsewhere.",
                way_out=f"Unset {name} for this command: it brings its own stores, HubSpot and servers.",
            )


def need_loopback(urls: Iterable[str]) -> None:
    """The same for the addresses of the very stack that is about to be harmed."""
    for url in urls:
        if not is_here(_host(url)):
            raise SetupError("A part of this stack is not on this machine.", way_out="This is a fault of Lastseat.")


def is_here(host: str) -> bool:
    """Whether this host is this machine, by its loopback address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _host(url: str) -> str:
    """The host of an address; of a socket in the file system it is this machine, of anything unclear nobody's."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return "localhost" if parts.scheme == "unix" else parts.hostname or ""
