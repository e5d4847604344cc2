"""The house stays tidy: small pieces, one word for one thing, reasons where a rule is set aside."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from tests.house import rules

Rule = Callable[[str], Iterator[str]]


def _faults(rule: Rule, files: Iterable[Path]) -> list[str]:
    return [f"{rules.short(path)}: {fault}" for path in files for fault in rule(path.read_text("utf-8"))]


def _python() -> list[Path]:
    return rules.with_suffix(".py")


def _sources() -> list[Path]:
    return rules.with_suffix(".py", under="src/")


def test_every_function_fits_on_one_screen():
    assert _faults(rules.long_functions, _python()) == []


def test_every_module_stays_short():
    assert _faults(rules.long_modules, [*_python(), *rules.with_suffix(".sql", ".lua", ".html", ".js", ".css")]) == []


def test_every_module_says_what_it_does_and_what_it_never_does():
    modules = [path for path in _sources() if path.name != "__init__.py"]
    assert _faults(rules.weak_docstrings, modules) == []


def test_every_ignored_rule_has_its_reason():
    assert _faults(rules.unreasoned_ignores, _python()) == []


def test_words_that_mean_nothing_are_not_names():
    assert _faults(rules.forbidden_names, _sources()) == []
    assert [fault for path in rules.tracked() for fault in rules.forbidden_file_name(rules.short(path))] == []


def test_no_file_names_a_package_registry_or_a_folder_of_one_machine():
    assert _faults(rules.foreign_places, rules.tracked()) == []


def test_every_sql_and_lua_file_has_its_header():
    files = rules.with_suffix(".sql", ".lua", under="src/")
    assert files
    assert _faults(rules.missing_header, files) == []


def test_every_decision_ends_with_what_enforces_it():
    decisions = rules.with_suffix(".md", under="docs/decisions/")
    assert decisions
    assert _faults(rules.unenforced, decisions) == []


_LONG_FUNCTION = "def f():\n" + "    pass\n" * rules.FUNCTION_LINES
_FITTING_FUNCTION = "def f():\n" + "    pass\n" * (rules.FUNCTION_LINES - 1)
_HEADER = "-- Purpose: a\n-- Inputs: b\n-- Results: c\n-- Invariant: d\n"


@pytest.mark.parametrize(
    ("rule", "bad", "good"),
    [
        (rules.long_functions, _LONG_FUNCTION, _FITTING_FUNCTION),
        (rules.long_functions, _LONG_FUNCTION.replace("def", "async def"), _FITTING_FUNCTION),
        (rules.long_modules, "x\n" * (rules.MODULE_LINES + 1), "x\n" * rules.MODULE_LINES),
        (rules.weak_docstrings, "x = 1", '"""Reads files; never writes one."""'),
        (rules.weak_docstrings, '"""Reads files."""', '"""Reads files; never writes one."""'),
        (rules.weak_docstrings, '"""Reads files. Never writes."""', '"""Reads files (e.g. SQL), writes none."""'),
        (rules.weak_docstrings, '"""Reads\nfiles, writes none."""', '"""Reads; writes none.\n\nAnd more.\n"""'),
        (rules.unreasoned_ignores, "x = 1  # noqa" + ": S101", "x = 1  # noqa" + ": S101  # the test's own"),
        (rules.unreasoned_ignores, "x = 1  # pyright" + ": ignore[x]", "x = 1  # pyright" + ": ignore[x]  no stubs"),
        (rules.unreasoned_ignores, "x = 1  # type" + ": ignore", "x = 1  # a type is given"),
        (rules.forbidden_names, "class BudgetManager: ...", "class Budget: ..."),
        (rules.forbidden_names, "def f(error_handler): ...", "def f(handle): ..."),
        (rules.forbidden_names, "self.seat_lock = 1", "self.block = seats.lock"),
        (rules.forbidden_names, "import re as utils", "from logging import StreamHandler"),
        (rules.forbidden_file_name, "src/lastseat/web/utils.py", "src/lastseat/web/blocks.py"),
        (rules.foreign_places, f"see https://{rules.REGISTRY_HOSTS[0]}/x", "see https://example.org/x"),
        (rules.foreign_places, "cd /" + "work/x", "cd docs/work/x"),
        (rules.foreign_places, 'x = "/' + 'root/.cache"', 'x = "~/.cache"'),
        (rules.missing_header, _HEADER.replace("Invariant", "Note"), _HEADER),
        (rules.unenforced, "# A\n\nEnforced by: a test\n\nMore.", "# A\n\nMore.\n\nEnforced by: a test\n"),
    ],
)
def test_each_rule_catches_its_fault(rule: Rule, bad: str, good: str):
    assert list(rule(bad)) != []
    assert list(rule(good)) == []
