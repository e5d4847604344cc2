"""What every command shares: errors as one line, Ctrl-C as an orderly stop, progress on stderr; knows no command."""

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

import click

from lastseat.errors import LastseatError, SetupError

SETUP_EXIT: Final = 2
FAILED_EXIT: Final = 1
INTERRUPTED_EXIT: Final = 130
STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
Done = TypeVar("Done")


class Stopped(Exception):  # not an error: somebody asked for it
    """The operator asked us to stop, and everything has been stopped."""


class Commands(click.Group):
    """A group whose commands say what is wrong in one line, and never show a traceback for it."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401  # click's own signature
        """Run the command; exit 2 for what must be set up, 1 for what failed, 130 for a stop."""
        try:
            return super().invoke(ctx)
        except LastseatError as problem:
            say(f"lastseat: {problem.message}")
            ctx.exit(SETUP_EXIT if isinstance(problem, SetupError) else FAILED_EXIT)
        except Stopped:
            ctx.exit(INTERRUPTED_EXIT)


def say(line: str) -> None:
    """One line for the operator; stdout is kept for results."""
    click.echo(line, err=True)


def run(work: Callable[[], Coroutine[Any, Any, Done]]) -> Done:
    """Run it to its end, or on Ctrl-C cancel it once and wait until it has put everything away."""
    with asyncio.Runner(loop_factory=_fast_loop()) as runner:
        return runner.run(_stoppable(work))


async def _stoppable(work: Callable[[], Coroutine[Any, Any, Done]]) -> Done:
    loop = asyncio.get_running_loop()
    task = loop.create_task(work())
    stopped = False

    def stop() -> None:
        nonlocal stopped
        # A second Ctrl-C changes nothing: cut short, the stop would leave the stores to recover at the next start.
        if not stopped:
            stopped = True
            task.cancel()
            # After the cancel: where the terminal has gone, saying anything fails.
            say("Stopping …")

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop)
    try:
        return await task
    except asyncio.CancelledError:
        if stopped:
            raise Stopped from None
        raise
    finally:
        # Race: a loop that is closed with its handlers leaves them in place, deaf: a stop right after would be lost.
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)


def _fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop  # noqa: PLC0415  # there is none for Windows

    return uvloop.new_event_loop
