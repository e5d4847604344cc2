"""Becomes another program that ends when its parent ends; run as a script, never imports the rest of Lastseat.

    python -I -S launch.py PARENT_PID DEATH_SIGNAL UID GID PROGRAM [ARGUMENT…]

A script of its own instead of Popen's preexec_fn, which may deadlock in a process with threads.
UID -1 keeps the user.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
CANNOT_RUN = 126


def end_with_parent_thread(death_signal: int) -> None:
    """Ask Linux to send us `death_signal` when the thread that forked us ends (elsewhere it does nothing)."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")


def become(uid: int, gid: int) -> None:
    """Give root up for good."""
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def main(arguments: list[str]) -> None:
    """Drop the user, tie our life to the parent's, then run the program."""
    parent_pid, death_signal, uid, gid = (int(argument) for argument in arguments[:4])
    program = arguments[4:]
    # Python ignores these two, and an ignored signal stays ignored in the program we become.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    if uid >= 0:
        become(uid, gid)
    end_with_parent_thread(death_signal)  # after become(): a change of user clears it
    if os.getppid() != parent_pid:
        # Race: the parent ended between its fork and our prctl, so no signal will ever come.
        sys.exit(CANNOT_RUN)
    os.execv(program[0], program)  # noqa: S606  the program is ours; no shell is wanted


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except OSError as problem:
        sys.stderr.write(f"cannot run {sys.argv[5]}: {problem.strerror}\n")
        sys.exit(CANNOT_RUN)
