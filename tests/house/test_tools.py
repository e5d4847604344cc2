"""Lint, format, types and import rules hold, so that the one test command covers them."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from tests.house import rules

_BIN = Path(sys.executable).parent
_PLANTED = {
    "lastseat/reads/planted.py": "from lastseat.writes import __doc__ as a\nimport asyncpg\n",
    "lastseat/web/planted.py": "from lastseat.stores import __doc__ as a\n",
    "lastseat/embedded/planted.py": "from lastseat import model\n",
    "hubspot_emulator/planted.py": "from lastseat import errors\n",
}


def _run(
    *command: str, cwd: Path = rules.ROOT, stdin: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    program = str(_BIN / command[0])
    return subprocess.run(
        [program, *command[1:]],
        cwd=cwd,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", **environment},
    )


def test_ruff_finds_nothing():
    result = _run("ruff", "check", "--no-cache", "--output-format=concise", ".")
    assert result.returncode == 0, result.stdout


def test_ruff_would_find_something():
    planted = "def f(x=[]) -> None:\n    eval(x)\n"
    result = _run("ruff", "check", "--no-cache", "--stdin-filename", "src/lastseat/planted.py", "-", stdin=planted)
    assert result.returncode == 1
    assert "B006" in result.stdout
    assert "S307" in result.stdout


def test_everything_is_formatted():
    result = _run("ruff", "format", "--no-cache", "--check", ".")
    assert result.returncode == 0, result.stdout


def test_a_badly_formatted_file_would_be_seen():
    result = _run("ruff", "format", "--check", "--stdin-filename", "src/lastseat/planted.py", "-", stdin="x  =  1\n")
    assert result.returncode == 1


def test_types_are_strict_and_right(tmp_path):
    """The planted file proves, in the same run, that a wrong type is seen."""
    planted = tmp_path / "planted.py"
    planted.write_text("def f(x) -> int:\n    return 'text'\n")
    result = _run("basedpyright", "--outputjson", "src", str(planted))
    findings = [
        (Path(finding["file"]).name, finding.get("rule"), f"{finding['file']}: {finding['message']}")
        for finding in json.loads(result.stdout)["generalDiagnostics"]
    ]
    assert [text for name, _, text in findings if name != planted.name] == []
    assert {rule for name, rule, _ in findings if name == planted.name} >= {
        "reportReturnType",
        "reportMissingParameterType",
    }


def test_imports_follow_the_drawing():
    result = _run("lint-imports", "--no-cache", "--no-logo", PYTHONPATH=str(rules.ROOT / "src"))
    assert result.returncode == 0, result.stdout


def test_each_import_rule_would_be_missed_if_broken(tmp_path):
    shutil.copytree(rules.ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(rules.ROOT / "pyproject.toml", tmp_path)
    for name, text in _PLANTED.items():
        (tmp_path / "src" / name).write_text(text)
    result = _run("lint-imports", "--no-cache", "--no-logo", cwd=tmp_path, PYTHONPATH=str(tmp_path / "src"))
    assert result.returncode == 1
    assert result.stdout.count(" BROKEN") == 5, result.stdout
    assert " KEPT" not in result.stdout
