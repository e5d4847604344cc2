"""What the command line does with a stop that comes between two of its steps."""

import signal
import subprocess
import sys

import pytest

STEPS = """
import asyncio, os, signal, sys
from lastseat.cli.frame import run
async def step():
    await asyncio.sleep(0)
run(step)
os.kill(os.getpid(), int(sys.argv[1]))
print("deaf")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_stop_after_a_step_is_not_lost(number: signal.Signals):
    ended = subprocess.run(
        [sys.executable, "-c", STEPS, str(number.value)], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (-number, "")
