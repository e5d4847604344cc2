"""Chooses the port of the site, or says in one line that it is taken; never listens on it."""

import socket

from lastseat.embedded.ports import free_port
from lastseat.errors import SetupError


def is_taken(host: str, port: int) -> str | None:
    """Why nobody could listen there now, or None."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As the server does; without it a port closed a moment ago counts as taken for a minute.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as problem:
            return (problem.strerror or str(problem)).lower()
    return None


def need_free_port(host: str, port: int) -> None:
    """Refuse a port on which the server could not listen.

    The server itself would not notice: its processes share their port, also with another server of this user.
    """
    if port and (why := is_taken(host, port)):
        raise SetupError(
            f"Cannot listen on {host}:{port}: {why}.",
            way_out="Stop what uses it, or choose another with --port or LASTSEAT_PORT.",
        )


def wanted_or_free(host: str, port: int) -> int:
    """This port, or a free one when it is taken."""
    return free_port() if is_taken(host, port) else port
