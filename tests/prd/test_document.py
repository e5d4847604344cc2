"""The page that links lines, tests and code is whole: every line once, every test there, every test linked."""

import re

import pytest

from tests.house import rules
from tests.house.test_docs import unknown_proofs

LINES = {"Testing Checklist": 14, "Security Checklist": 7, "Success Criteria": 14}
ROW = re.compile(r"^\| (?P<line>[^|]+) \| `(?P<test>tests/prd/[^`]+)` \| (?P<where>[^|]+) \|$", re.MULTILINE)


def page() -> str:
    return (rules.ROOT / "docs/prd.md").read_text("utf-8")


def section(title: str) -> str:
    return page().split(f"\n## {title}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize("title", LINES)
def test_every_line_of_a_checklist_has_its_own_test(title):
    rows = list(ROW.finditer(section(title)))
    assert len(rows) == LINES[title]
    assert len({row["line"] for row in rows}) == len({row["test"] for row in rows}) == LINES[title]


@pytest.mark.parametrize("title", LINES)
def test_every_test_and_every_place_that_is_named_is_there(title):
    assert unknown_proofs(section(title)) == []
    named = re.findall(r"`((?:src|bench|\.ci)/[^`]+)`", section(title))
    assert named
    assert [name for name in named if not (rules.ROOT / name).exists()] == []


@pytest.mark.parametrize("title", LINES)
def test_every_test_is_named_after_its_line(title):
    """Most words of the line stand in the name of its test."""
    for row in ROW.finditer(section(title)):
        words = re.findall(r"[a-z0-9]+", row["line"].lower().replace("<", "less than "))
        name = row["test"].rpartition("::")[2]
        assert sum(word in name for word in words) >= 0.5 * len(words), row["line"]


def test_no_test_of_a_line_is_left_out():
    tests = {
        f"{rules.short(path)}::{name}"
        for path in rules.with_suffix(".py", under="tests/prd/")
        if path.name != "test_document.py"
        for name in re.findall(r"def (test_\w+)", path.read_text("utf-8"))
    }
    linked = {row["test"] for title in LINES for row in ROW.finditer(section(title))}
    assert sorted(tests - linked) == ["tests/prd/test_security_checklist.py::test_a_key_in_a_file_would_be_seen"]
