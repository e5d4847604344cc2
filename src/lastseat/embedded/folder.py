"""The data folder: which one, who may reach it, who holds it, its passwords; never deletes what may hold data."""

import fcntl
import os
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Self

from lastseat.embedded.account import Account, account_name, first_barrier, service_account
from lastseat.errors import SetupError

Say = Callable[[str], None]
"""Takes one line for the operator."""

SYSTEM_FOLDER = Path("/var/lib/lastseat")
MARK = "lastseat.held"
MADE_BY_US = "LASTSEAT"
ELSEWHERE = "Set LASTSEAT_DATA_DIR to another folder."


def silent(_line: str) -> None:
    """A `Say` that says nothing."""


def data_folder(explicit: Path | None = None, *, on_progress: Say = silent) -> Path:
    """The folder for databases, passwords and logs; made if it is missing, refused in one line if unusable."""
    account = service_account()
    if explicit is not None:
        return prepare(explicit, account)
    folder = _user_folder()
    if account is not None and (barrier := first_barrier(folder.resolve(), account)) is not None:
        on_progress(f"Data goes to {SYSTEM_FOLDER}: Postgres runs as {account.name!r}, who cannot pass {barrier}.")
        folder = SYSTEM_FOLDER
    return prepare(folder, account)


def _user_folder() -> Path:
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "lastseat"
    base = os.environ.get("XDG_DATA_HOME", "")
    # The XDG rules say that a relative path here is to be ignored.
    return (Path(base) if base.startswith("/") else Path.home() / ".local" / "share") / "lastseat"


def prepare(folder: Path, account: Account | None) -> Path:
    """Make the folder if needed and prove that we can write it and `account` can reach it."""
    try:
        whole = folder.expanduser().resolve()
        if account is not None:
            _open_own(whole)
            _refuse_barrier(whole, account)
        _make(whole, 0o755 if account is not None else 0o700)
        writable = os.access(whole, os.W_OK | os.X_OK)
    except OSError as problem:
        raise SetupError(
            f"Cannot use the data folder {folder}: {problem.strerror}.",
            way_out="Set LASTSEAT_DATA_DIR to a folder you can write.",
        ) from problem
    if not writable:
        owner = account_name(whole.stat().st_uid)
        raise SetupError(f"Cannot write the data folder {whole}: it belongs to {owner!r}.", way_out=ELSEWHERE)
    return whole


def _open_own(folder: Path) -> None:
    """Let others pass through a folder that is ours alone, as `mktemp -d` makes one; they still cannot list it."""
    if not folder.is_dir() or folder.stat().st_uid != os.geteuid():
        return
    if (folder / MARK).exists() or not any(folder.iterdir()):
        folder.chmod(folder.stat().st_mode | 0o011)


def _refuse_barrier(folder: Path, account: Account) -> None:
    barrier = first_barrier(folder, account)
    if barrier is not None:
        mode = barrier.stat().st_mode & 0o777
        raise SetupError(
            f"Cannot use the data folder {folder}: Postgres refuses root and runs as {account.name!r}, "
            f"who cannot pass {barrier} (mode {mode:04o}).",
            way_out=f"Set LASTSEAT_DATA_DIR to a folder such as {SYSTEM_FOLDER}, or run as an ordinary user.",
        )


def _make(folder: Path, mode: int) -> None:
    """Make the folder and what is missing above it, all with this mode whatever the umask is."""
    if folder.is_dir():
        return
    _make(folder.parent, mode)
    folder.mkdir(exist_ok=True)
    folder.chmod(mode)


class Hold:
    """The right to use something in the data folder: a flock that ends with us, however we end."""

    def __init__(self, path: Path, what: str) -> None:
        """Take it now, or say in one line who has it."""
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as problem:
            raise SetupError(f"Cannot open {path}: {problem.strerror}.", way_out=ELSEWHERE) from problem
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as problem:
            holder = os.pread(self._file, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._file)
            if not isinstance(problem, BlockingIOError):
                raise SetupError(f"Cannot claim {path}: {problem.strerror}.", way_out=ELSEWHERE) from problem
            raise SetupError(
                f"{what} is in use by another Lastseat (process {holder}).",
                way_out="Stop that one, or set LASTSEAT_DATA_DIR=… to another folder for this one.",
            ) from problem
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Give it back; the file stays, since removing it would let two others hold two files of one name."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def password(path: Path) -> str:
    """The password kept in this file, made up on first use; only we can read the file."""
    try:
        if not path.exists():
            write_private(path, secrets.token_urlsafe(24) + "\n")
        word = path.read_text().strip()
    except OSError as problem:
        raise SetupError(f"Cannot keep the password file {path}: {problem.strerror}.", way_out=ELSEWHERE) from problem
    if not word:
        raise SetupError(f"The password file {path} is empty.", way_out="Put it back from a backup. " + ELSEWHERE)
    return word


def write_private(path: Path, text: str, owner: Account | None = None) -> None:
    """Write a whole file that only its owner can read; a crash leaves the old one or the new one."""
    draft = _draft_of(path)
    draft.unlink(missing_ok=True)
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(file, text.encode())
        if owner is not None:
            os.fchown(file, owner.uid, owner.gid)
        os.fsync(file)
    finally:
        os.close(file)
    draft.replace(path)
    sync_folder(path.parent)


def _draft_of(path: Path) -> Path:
    return path.with_name(path.name + ".tmp")


def sync_folder(folder: Path) -> None:
    """Make renames in this folder survive a power cut."""
    file = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def make_own(folder: Path, owner: Account | None) -> None:
    """Make a folder that only `owner` (None: we) can enter."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if owner is not None:
        os.chown(folder, owner.uid, owner.gid)


def sign(folder: Path, owner: Account | None) -> None:
    """Leave the file by which we know a finished folder as ours."""
    write_private(folder / MADE_BY_US, "Made by Lastseat; do not edit.\n", owner)


def is_finished(folder: Path) -> bool:
    """Whether we made and finished this folder; refuses one with files that are not ours, drops an empty one."""
    if not folder.exists():
        return False
    if (folder / MADE_BY_US).exists():
        return True
    # Crash: `sign` was cut short in a folder that had nothing in it yet, and left its draft.
    left = [path for path in folder.iterdir() if path.name != _draft_of(folder / MADE_BY_US).name]
    if left:
        raise SetupError(f"{folder} holds files that Lastseat did not make.", way_out=ELSEWHERE)
    _draft_of(folder / MADE_BY_US).unlink(missing_ok=True)
    folder.rmdir()
    return False


def refuse_stranger(folder: Path, owner: Account | None) -> None:
    """Refuse a folder that another account made: as root yesterday and as a user today, or the reverse."""
    wanted = owner.uid if owner is not None else os.geteuid()
    found = folder.stat().st_uid
    if found != wanted:
        raise SetupError(
            f"{folder} belongs to {account_name(found)!r} and the server would run as {account_name(wanted)!r}.",
            way_out="Start it as the user who made it (root or not), or set LASTSEAT_DATA_DIR to another folder.",
        )
