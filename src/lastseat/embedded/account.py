"""Chooses the account the servers run as when we are root; never changes the mode of a folder it did not make."""

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

STAND_IN = "nobody"
NOBODY_ID = 65534  # where a container has no /etc/passwd entry for it


@dataclass(frozen=True)
class Account:
    """A user of this machine a child may be handed to."""

    name: str
    uid: int
    gid: int


def service_account() -> Account | None:
    """Who the servers run as when we are root (Postgres refuses root); None: as ourselves."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(STAND_IN)
    except KeyError:
        return Account(STAND_IN, NOBODY_ID, NOBODY_ID)
    return Account(STAND_IN, entry.pw_uid, entry.pw_gid)


def account_name(uid: int) -> str:
    """The name of a user id, or the number itself where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def may_pass(folder: Path, account: Account) -> bool:
    """Whether the account may step through this one folder (mode bits only; ACLs are not read)."""
    status = folder.stat()
    if status.st_uid == account.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == account.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def first_barrier(path: Path, account: Account) -> Path | None:
    """The outermost existing folder on the way to and including `path` that the account cannot pass."""
    way = [*reversed(path.parents), path]
    return next((step for step in way if step.is_dir() and not may_pass(step, account)), None)
