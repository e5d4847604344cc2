"""The limit for peers that take nothing is set at our own port only, is inherited, and stays within reason."""

import contextlib
import socket
import sys

import pytest

from lastseat.settings import Settings
from lastseat.web import listening
from lastseat.web.listening import letting_go, limit, silence_ms
from tests.web.readers import true

linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such limit")


def limit_of(handle: socket.socket) -> int:
    return handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)


@linux
def test_connections_have_the_limit_of_their_listener():
    with contextlib.ExitStack() as held:
        ours, other = (held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2))
        assert limit(ours.getsockname()[1], 7_000) == 1
        line = held.enter_context(socket.create_connection(ours.getsockname()))
        accepted = held.enter_context(ours.accept()[0])
        assert [limit_of(each) for each in (ours, accepted, other, line)] == [7_000, 7_000, 0, 0]
        assert limit(ours.getsockname()[1], 8_000) == 1
        assert limit_of(accepted) == 8_000, "also one that was accepted before"


@linux
async def test_a_listener_that_comes_late_is_found(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(listening, "LOOK_S", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as before:
        port = before.getsockname()[1]
    async with letting_go(Settings(port=port, events_slow_s=2)):
        with socket.create_server(("127.0.0.1", port)) as ours:
            await true(lambda: limit_of(ours) == 6_000)


@pytest.mark.parametrize(("slow_s", "ms"), [(10, 30_000), (0.01, 1_000), (86_400 * 365, 86_400_000)])
def test_nobody_has_less_than_a_second_or_more_than_a_day(slow_s: float, ms: int):
    assert silence_ms(Settings(events_slow_s=slow_s)) == ms
