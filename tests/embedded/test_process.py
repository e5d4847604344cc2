"""Children end with us, whatever ends us, and are stopped by us alone."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lastseat.embedded import process
from lastseat.embedded.account import service_account
from lastseat.embedded.process import LAUNCH, Child, spawn_child
from lastseat.errors import SetupError
from tests.embedded.attack import is_root, lives, numbers, program, until, until_gone

SLEEP = ["/bin/sleep", "60"]

PARENT = """
import signal, sys
from pathlib import Path
from lastseat.embedded import process
from lastseat.embedded.account import service_account
process.HAS_DEATH_SIGNAL = sys.argv[2] == "kernel"
user = service_account() if sys.argv[3] == "other" else None
child = process.spawn_child(["/bin/sleep", "60"], log_path=Path(sys.argv[1]), user=user)
while Path(f"/proc/{child.pid}/comm").read_text() != "sleep\\n":
    assert child.poll() is None, child.output()
print(child.pid, child._watcher.pid if child._watcher else "", flush=True)
signal.pause()
"""


@pytest.fixture
def log_path(open_folder: Path) -> Path:
    return open_folder / "child.log"


@pytest.mark.parametrize("user", ["same", "other"])
@pytest.mark.parametrize("means", ["kernel", "shell"])
def test_child_ends_when_its_parent_is_killed(log_path: Path, means: str, user: str) -> None:
    with program(PARENT, log_path, means, user) as parent:
        pids = numbers(parent)
        assert len(pids) == (1 if means == "kernel" else 2)
        assert all(lives(pid) for pid in pids)
        parent.kill()
        until_gone(*pids)


def test_without_death_signal_and_shell_the_child_would_live_on(log_path: Path) -> None:
    without = PARENT.replace("print(", "child._watcher.kill(); child._watcher.wait(); print(")
    with program(without, log_path, "shell", "same") as parent:
        pid = numbers(parent)[0]
        parent.kill()
        parent.wait()
        time.sleep(0.2)
        assert lives(pid)
        os.kill(pid, signal.SIGKILL)


def in_a_thread_that_ends(start: Callable[[], int]) -> None:
    """Start a sleeper in a thread that waits for it to be under way and then ends."""

    def work() -> None:
        comm = Path(f"/proc/{start()}/comm")
        until(lambda: comm.read_text() == "sleep\n", "exec")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def test_child_started_in_a_thread_outlives_the_thread(log_path: Path) -> None:
    started: list[Child] = []
    in_a_thread_that_ends(lambda: started.append(spawn_child(SLEEP, log_path=log_path)) or started[0].pid)
    assert started[0].wait(0.2) is None
    assert started[0].kill() == -signal.SIGKILL


def test_a_plain_fork_in_a_thread_would_be_shot_when_the_thread_ends() -> None:
    words = [sys.executable, "-I", "-S", LAUNCH, os.getpid(), signal.SIGKILL.value, -1, -1, *SLEEP]
    started: list[subprocess.Popen[bytes]] = []
    in_a_thread_that_ends(lambda: started.append(subprocess.Popen([*map(str, words)])) or started[0].pid)
    assert started[0].wait(5) == -signal.SIGKILL


def test_child_of_a_parent_that_is_already_gone_does_not_start() -> None:
    words = [sys.executable, "-I", "-S", LAUNCH, 1, signal.SIGKILL.value, -1, -1, *SLEEP]
    assert subprocess.run([str(word) for word in words], check=False, timeout=5).returncode == 126


def test_child_runs_as_the_other_user_and_in_no_group_of_ours(log_path: Path) -> None:
    account = service_account()
    groups = os.getgroups()
    if is_root():
        os.setgroups([*groups, 4])
    try:
        child = spawn_child(["/bin/sh", "-c", "id -u; id -G"], log_path=log_path, user=account)
    finally:
        if is_root():
            os.setgroups(groups)
    assert child.wait(5) == 0
    user, member_of = child.output().splitlines()
    assert int(user) == (account.uid if account else os.geteuid())
    assert user != "0"
    assert account is None or member_of == str(account.gid)


def test_ctrl_c_in_the_terminal_does_not_reach_the_child(log_path: Path) -> None:
    told = "signal.signal(signal.SIGINT, lambda *_: os.write(1, b'told\\n'))"
    source = PARENT.replace("child =", f"import os; {told}\nchild =").replace("pause()", "pause(); signal.pause()")
    with program(source, log_path, "kernel", "same") as parent:
        (pid,) = numbers(parent)
        assert os.getsid(pid) == os.getsid(parent.pid)
        os.killpg(parent.pid, signal.SIGINT)
        assert parent.stdout is not None
        assert parent.stdout.readline() == "told\n"
        assert lives(pid)
        parent.kill()
        until_gone(pid)


def test_a_child_that_ignores_the_request_is_killed(log_path: Path) -> None:
    child = spawn_child(["/bin/sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 0.05; done"], log_path=log_path)
    until(lambda: "deaf" in child.output(), "the trap")
    assert child.stop((signal.SIGTERM, 0.1)) == -signal.SIGKILL


def test_kill_takes_what_the_child_started(log_path: Path) -> None:
    child = spawn_child(["/bin/sh", "-c", "sleep 60 & echo $!; wait"], log_path=log_path)
    until(lambda: "\n" in child.output(), "the pid")
    child.kill()
    until_gone(int(child.output()))


def test_stopping_a_child_ends_its_watcher(log_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "HAS_DEATH_SIGNAL", False)
    child = spawn_child(SLEEP, log_path=log_path)
    watcher = child._watcher
    assert watcher is not None
    assert child.stop() == -signal.SIGTERM
    assert watcher.returncode == 0


def test_a_broken_pipe_ends_the_child_as_it_would_in_a_shell(log_path: Path) -> None:
    child = spawn_child(["/bin/sh", "-c", "(yes; echo $? >&2) | head -1"], log_path=log_path)
    assert child.wait(5) == 0
    assert "Broken pipe" not in child.output()


def test_our_tokens_are_not_in_the_childs_environment(log_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUBSPOT_ACCESS_TOKEN", "pat-secret")
    child = spawn_child(["/usr/bin/env"], log_path=log_path)
    assert child.wait(5) == 0
    assert "PATH=" in child.output()
    assert "pat-secret" not in child.output()


def test_output_is_only_what_this_child_wrote(log_path: Path) -> None:
    for word in ("one", "two"):
        child = spawn_child(["/bin/echo", word], log_path=log_path)
        assert child.wait(5) == 0
        assert child.output() == f"{word}\n"
    assert log_path.read_text() == "one\ntwo\n"
    assert log_path.stat().st_mode & 0o777 == 0o600


def test_a_program_that_is_missing_is_named(log_path: Path) -> None:
    child = spawn_child([log_path.with_name("absent")], log_path=log_path)
    assert child.wait(5) == 126
    assert child.output() == f"cannot run {log_path.with_name('absent')}: No such file or directory\n"


def test_a_large_log_is_put_aside(log_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LOG_LIMIT", 10)
    log_path.write_text("x" * 11)
    assert spawn_child(["/bin/echo", "new"], log_path=log_path).wait(5) == 0
    assert log_path.read_text() == "new\n"
    assert log_path.with_name("child.log.1").read_text() == "x" * 11


def test_a_log_that_cannot_be_written_is_one_line(log_path: Path) -> None:
    with pytest.raises(SetupError, match=r"^Cannot write the log .*: No such file or directory\. Free some"):
        spawn_child(SLEEP, log_path=log_path / "nowhere")


CHAIN = """
import os, signal, sys
from lastseat.embedded import process
process.HAS_DEATH_SIGNAL = sys.argv[1] == "kernel"
middle = os.getpid()
below = os.fork()
if below == 0:
    process.die_with_parent(parent_pid=middle)
    print(os.getpid(), flush=True)
signal.pause()
"""


@pytest.mark.parametrize("means", ["kernel", "thread"])
def test_a_worker_of_ours_ends_with_the_server_that_started_it(means: str) -> None:
    with program(CHAIN, means) as server:
        (worker,) = numbers(server)
        server.kill()
        until_gone(worker)


def test_a_worker_whose_server_is_already_gone_ends_at_once() -> None:
    source = "from lastseat.embedded.process import die_with_parent; die_with_parent(parent_pid=1); print('alive')"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False, timeout=10)
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, "")


STARTER = """
import subprocess, sys
subprocess.run([sys.argv[1], "-c", sys.argv[2]])
"""
STARTED = """
import os, signal
from lastseat.embedded.process import die_with_uv
die_with_uv()
print(os.getpid(), flush=True)
signal.alarm(20)
signal.pause()
"""


@pytest.mark.parametrize(("name", "ends"), [("uv", True), ("shell", False)])
def test_a_killed_uv_takes_us_along_and_a_killed_shell_does_not(open_folder: Path, name: str, ends: bool) -> None:
    starter = open_folder / name
    starter.symlink_to(Path(sys.executable).resolve())
    command = [str(starter), "-c", STARTER, sys.executable, STARTED]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        (pid,) = numbers(running)
        running.kill()
        running.wait()
        if ends:
            until_gone(pid)
        else:
            time.sleep(0.2)
            assert lives(pid)
            os.kill(pid, signal.SIGKILL)
