"""Chooses TCP ports on the loopback address; never promises that a port is still free a moment later."""

import random
import socket

LOOPBACK = "127.0.0.1"
# Limit: below 32768, where Linux (and above it macOS) hands out ports for outgoing connections: a server
# port taken from that range collides with whatever connection happens to be open.
LOWEST, HIGHEST = 20_000, 32_767
TRIES = 50


def is_free(port: int) -> bool:
    """Whether a server could listen on the port right now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the servers do: without it a port closed a moment ago counts as taken for a minute.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def free_port() -> int:
    """A port that is free now.

    Race: another program may take it before the server binds it; the starter sees "in use" and asks again.
    """
    for _ in range(TRIES):
        port = random.randint(LOWEST, HIGHEST)  # noqa: S311  not a secret, only spread out
        if is_free(port):
            return port
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
