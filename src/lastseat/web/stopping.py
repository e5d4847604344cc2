"""Tells that this process is asked to stop, while the server waits for answers under way; stops nothing itself."""

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Generator
from types import FrameType

ASKED = (signal.SIGTERM, signal.SIGINT)


@contextlib.contextmanager
def when_asked_to_stop(tell: Callable[[], None]) -> Generator[None]:
    """Call `tell` in the loop at SIGTERM or SIGINT, besides whatever the server does then.

    The server learns of a signal through the loop, which stays as it is; only the handling by Python is added to.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are for the main thread; whoever runs us elsewhere ends streams by the lifespan
        return
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in ASKED}

    def heard(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(tell)
        others = before[signal.Signals(number)]
        if callable(others):
            others(number, frame)

    for number, others in before.items():
        if callable(others):
            signal.signal(number, heard)
    try:
        yield
    finally:
        for number, others in before.items():
            if callable(others):
                signal.signal(number, others)
