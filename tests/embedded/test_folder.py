"""The data folder is one that we can write and the servers can reach, and no parent of it is ever changed."""

import os
import stat
import sys
from pathlib import Path

import pytest

from lastseat.embedded import folder as folders
from lastseat.embedded.account import Account, account_name, first_barrier, service_account
from lastseat.embedded.folder import Hold, data_folder, password, prepare, write_private
from lastseat.errors import SetupError

OTHER = Account("nobody", 65432, 65432)  # not the number of whoever runs the tests


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> Account:
    """The choice of a folder as root makes it, also when the tests run as a user."""
    monkeypatch.setattr(folders, "service_account", lambda: OTHER)
    return OTHER


@pytest.fixture
def as_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "service_account", lambda: None)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("as_user")
def test_a_user_gets_the_folder_of_the_user(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(open_folder / "share"))
    chosen = data_folder()
    assert chosen == open_folder / "share" / "lastseat"
    assert mode(chosen) == 0o700


@pytest.mark.usefixtures("as_user")
@pytest.mark.parametrize("setting", ["", "relative/path"])
def test_without_a_setting_it_is_below_the_home(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    monkeypatch.setenv("HOME", str(open_folder))
    monkeypatch.setenv("XDG_DATA_HOME", setting)
    assert data_folder() == open_folder / ".local" / "share" / "lastseat"


@pytest.mark.usefixtures("as_user")
def test_on_macos_it_is_below_the_library(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(open_folder))
    monkeypatch.setattr(sys, "platform", "darwin")
    assert data_folder() == open_folder / "Library" / "Application Support" / "lastseat"


@pytest.mark.usefixtures("as_root")
def test_root_with_a_closed_home_gets_the_systems_folder_and_is_told(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = open_folder / "root"
    home.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "share"))
    monkeypatch.setattr(folders, "SYSTEM_FOLDER", open_folder / "var" / "lib" / "lastseat")
    lines: list[str] = []
    chosen = data_folder(on_progress=lines.append)
    assert chosen == open_folder / "var" / "lib" / "lastseat"
    assert lines == [f"Data goes to {chosen}: Postgres runs as 'nobody', who cannot pass {home}."]
    assert mode(home) == 0o700
    assert not (home / "share").exists()


@pytest.mark.usefixtures("as_root")
def test_root_with_an_open_home_keeps_the_folder_of_the_user(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(open_folder / "share"))
    assert data_folder() == open_folder / "share" / "lastseat"


@pytest.mark.usefixtures("as_root")
def test_a_named_folder_below_a_closed_one_is_refused_and_nothing_changes(open_folder: Path) -> None:
    closed = open_folder / "closed"
    closed.mkdir(mode=0o700)
    (closed / "thesis.txt").touch()
    with pytest.raises(SetupError) as refusal:
        data_folder(closed / "deep" / "data")
    assert str(refusal.value) == (
        f"Cannot use the data folder {closed}/deep/data: Postgres refuses root and runs as 'nobody', "
        f"who cannot pass {closed} (mode 0700). "
        "Set LASTSEAT_DATA_DIR to a folder such as /var/lib/lastseat, or run as an ordinary user."
    )
    assert mode(closed) == 0o700
    assert [path.name for path in closed.iterdir()] == ["thesis.txt"]


@pytest.mark.usefixtures("as_root")
def test_a_new_empty_folder_of_our_own_is_opened_for_passing_only(open_folder: Path) -> None:
    made_by_mktemp = open_folder / "tmp.x"
    made_by_mktemp.mkdir(mode=0o700)
    assert data_folder(made_by_mktemp) == made_by_mktemp
    assert mode(made_by_mktemp) == 0o711


@pytest.mark.usefixtures("as_root")
def test_a_closed_folder_with_other_files_in_it_stays_closed(open_folder: Path) -> None:
    theirs = open_folder / "theirs"
    theirs.mkdir(mode=0o700)
    (theirs / "thesis.txt").touch()
    with pytest.raises(SetupError, match=r"cannot pass .*theirs \(mode 0700\)"):
        data_folder(theirs)
    assert mode(theirs) == 0o700


@pytest.mark.usefixtures("as_root")
def test_missing_parents_are_made_passable_whatever_the_umask(open_folder: Path) -> None:
    before = os.umask(0o077)
    try:
        chosen = data_folder(open_folder / "a" / "b")
    finally:
        os.umask(before)
    assert first_barrier(chosen, OTHER) is None


@pytest.mark.usefixtures("as_user")
def test_a_relative_name_and_a_link_lead_to_the_real_folder(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (open_folder / "real").mkdir()
    (open_folder / "link").symlink_to("real")
    monkeypatch.chdir(open_folder)
    assert data_folder(Path("link")) == (open_folder / "real").resolve()


@pytest.mark.usefixtures("as_user")
def test_a_file_in_the_place_of_the_folder_is_one_line(open_folder: Path) -> None:
    (open_folder / "file").touch()
    with pytest.raises(SetupError, match=r"^Cannot use the data folder .*/file/data: File exists\. Set LAST"):
        data_folder(open_folder / "file" / "data")


def test_a_folder_that_cannot_be_made_is_one_line(monkeypatch: pytest.MonkeyPatch, open_folder: Path) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(SetupError, match=r"new: No space left on device\. Set LASTSEAT_DATA_DIR"):
        prepare(open_folder / "new", None)


def test_a_folder_we_may_not_write_is_one_line(monkeypatch: pytest.MonkeyPatch, open_folder: Path) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    owner = account_name(os.geteuid())
    with pytest.raises(SetupError, match=rf"^Cannot write the data folder .*: it belongs to '{owner}'\. Set"):
        prepare(open_folder, None)


def test_the_barrier_is_the_outermost_folder_that_is_closed(open_folder: Path) -> None:
    inner = open_folder / "outer" / "inner"
    inner.mkdir(parents=True)
    inner.chmod(0o700)
    assert first_barrier(inner, OTHER) == inner
    inner.parent.chmod(0o750)
    assert first_barrier(inner / "missing", OTHER) == inner.parent
    owner = Account("owner", inner.stat().st_uid, inner.stat().st_gid)
    assert first_barrier(inner, owner) is None
    inner.parent.chmod(0o710)
    assert first_barrier(inner, Account("member", 65533, inner.stat().st_gid)) == inner


def test_root_hands_the_servers_to_nobody_and_a_user_keeps_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    account = service_account()
    assert account is not None
    assert account.name == "nobody"
    assert account.uid != 0
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert service_account() is None


def test_a_machine_without_a_nobody_uses_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr("lastseat.embedded.account.STAND_IN", "no-such-user")
    assert service_account() == Account("no-such-user", 65534, 65534)
    assert account_name(4_000_000_000) == "4000000000"


def test_a_hold_is_refused_to_a_second_and_free_after_release(open_folder: Path) -> None:
    path = open_folder / "part.held"
    words = rf"^The part is in use by another Lastseat \(process {os.getpid()}\)\. Stop that one"
    with Hold(path, "The part"), pytest.raises(SetupError, match=words):
        Hold(path, "The part")
    with Hold(path, "The part") as again:
        again.release()
        again.release()


def test_a_hold_that_cannot_be_written_is_one_line(open_folder: Path) -> None:
    with pytest.raises(SetupError, match=r"^Cannot open .*part\.held: No such file or directory\. Set"):
        Hold(open_folder / "absent" / "part.held", "The part")


def test_a_password_is_made_once_and_only_we_can_read_it(open_folder: Path) -> None:
    path = open_folder / "server.password"
    word = password(path)
    assert len(word) >= 32
    assert password(path) == word
    assert password(open_folder / "other.password") != word
    assert mode(path) == 0o600


def test_an_empty_password_file_is_refused(open_folder: Path) -> None:
    (open_folder / "server.password").touch()
    with pytest.raises(SetupError, match=r"^The password file .* is empty\. Put it back"):
        password(open_folder / "server.password")


def test_a_private_file_is_replaced_whole_and_a_left_over_draft_is_no_obstacle(open_folder: Path) -> None:
    path = open_folder / "settings"
    (open_folder / "settings.tmp").write_text("half")
    write_private(path, "one")
    write_private(path, "two")
    assert path.read_text() == "two"
    assert mode(path) == 0o600
    assert not (open_folder / "settings.tmp").exists()
