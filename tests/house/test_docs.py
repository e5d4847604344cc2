"""The documents say what is in the code: names, settings, commands and links are compared, not trusted."""

import re
from pathlib import Path

import pytest

from lastseat.settings import Settings
from tests.house import generated, rules

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s#]+)(?:#[^)]*)?\)")
_ROW = re.compile(r"^\| `(\w+)` \| (.*?) \|", re.MULTILINE)
_TERMS = (
    "exam", "capacity", "seat", "claim", "booking", "outbox", "relay", "lease", "gate", "view", "mirror", "backfill",
    "sync", "reconcile", "rate budget", "group commit",
)  # fmt: skip


def _text(name: str) -> str:
    return (rules.ROOT / name).read_text("utf-8")


def broken_links(path: Path, text: str) -> list[str]:
    targets = [target for target in _LINK.findall(text) if "://" not in target and not target.startswith("mailto:")]
    return [target for target in targets if not (path.parent / target).exists()]


def test_every_link_between_documents_leads_somewhere():
    for path in rules.with_suffix(".md"):
        assert (rules.short(path), broken_links(path, path.read_text("utf-8"))) == (rules.short(path), [])


def test_a_dead_link_would_be_seen():
    assert broken_links(rules.ROOT / "README.md", "[a](docs/none.md) [b](LICENSE) [c](https://example.org)") == [
        "docs/none.md"
    ]


def unnamed_modules(document: str, modules: list[str]) -> list[str]:
    return [module for module in modules if f"`{module}`" not in document]


def _modules() -> list[str]:
    found = [rules.short(path).removeprefix("src/") for path in rules.with_suffix(".py", under="src/")]
    return [name.removeprefix("lastseat/") for name in found if not name.endswith("__init__.py")]


def test_every_module_is_in_the_directory_tour():
    assert unnamed_modules(_text("docs/architecture.md"), _modules()) == []


def test_the_directory_tour_names_no_module_that_is_gone():
    named = set(re.findall(r"`((?:[\w]+/)*\w+\.py)`", _text("docs/architecture.md")))
    assert sorted(named - set(_modules())) == []


def test_a_forgotten_module_would_be_seen():
    assert unnamed_modules("`a/b.py`", ["a/b.py", "b.py"]) == ["b.py"]


def _shown(default: object) -> str:
    return "" if default is None else f"`{default}`" if not isinstance(default, float) else f"`{default:.12g}`"


def test_the_table_of_settings_is_the_settings():
    written = dict(_ROW.findall(_text("docs/settings.md")))
    real = {str(field.alias): _shown(field.default) for field in Settings.model_fields.values()}
    assert {name: value.strip() for name, value in written.items()} == real


def test_the_readme_names_only_settings_that_exist():
    names = {str(field.alias) for field in Settings.model_fields.values()}
    assert set(re.findall(r"`((?:SUPABASE|REDIS|HUBSPOT|LASTSEAT)_[A-Z_]+)`", _text("README.md"))) <= names


def test_the_readme_names_every_command_and_no_other():
    from lastseat.cli import main

    named = set(re.findall(r"`lastseat (\w+)", _text("README.md")))
    assert named == set(main.commands)


@pytest.mark.parametrize("term", _TERMS)
def test_the_glossary_defines(term):
    assert re.search(rf"^\| {term} \| \S", _text("docs/glossary.md"), re.MULTILINE)


def unknown_proofs(text: str) -> list[str]:
    """The places that a document names as proof and that are not there; a test is named as `file::test`."""
    missing = []
    for name in re.findall(r"`([\w./]+(?:::\w+)?)`", text):
        place, _, test = name.partition("::")
        if "/" not in place:
            continue
        path = rules.ROOT / place
        if not path.exists() or (test and f"def {test}(" not in path.read_text("utf-8")):
            missing.append(name)
    return missing


@pytest.mark.parametrize(
    "document", ["docs/invariants.md", *(rules.short(p) for p in rules.with_suffix(".md", under="docs/decisions/"))]
)
def test_what_is_named_as_proof_is_there(document):
    assert unknown_proofs(_text(document).split("Enforced by:")[-1]) == []


def test_a_proof_that_is_gone_would_be_seen():
    assert unknown_proofs("`tests/none.py` `tests/house/test_docs.py::test_none` `tests/house`") == [
        "tests/none.py",
        "tests/house/test_docs.py::test_none",
    ]


def test_every_decision_is_numbered_in_order():
    numbers = [int(path.name[:4]) for path in rules.with_suffix(".md", under="docs/decisions/")]
    assert numbers == list(range(1, len(numbers) + 1))


def test_the_changelog_has_a_place_for_the_next_change():
    assert "\n## [Unreleased]\n" in _text("CHANGELOG.md")


def test_every_table_and_every_function_of_the_database_is_described():
    sql = "\n".join(path.read_text("utf-8") for path in rules.with_suffix(".sql", under="src/"))
    defined = re.findall(r"create table hubspot_sync\.(\w+)|function lastseat_api\.(\w+)", sql)
    names = {table or function for table, function in defined}
    text = _text("docs/data.md")
    assert names
    assert sorted(name for name in names if f"`{name}`" not in text) == []


@pytest.mark.parametrize("name", generated.PARTS)
def test_generated_parts_are_up_to_date(name):
    assert _text(name) == generated.fresh(name), "run `just docs`"


_GUARDS = (
    "row lock", "its place before the checks", "gate version", "lease fencing", "CAS on cancel", "idempotency key",
    "read-back", "unknown is not refused", "upsert by a unique property", "results by name", "bisecting",
    "`verify_at`", "durable sent mark", "repeated announcement",
)  # fmt: skip
_CONTROL = re.compile(r"test_without_|_would_")


def _sections() -> dict[str, str]:
    parts = re.split(r"^## ", _text("docs/invariants.md"), flags=re.MULTILINE)
    return {re.split(r"[.\n]", part)[0]: part for part in parts[1:]}


def _tests_in(row: str) -> list[str]:
    return re.findall(r"`(tests/[\w/]+\.py::test_\w+)`", row)


def no_controls(names: list[str]) -> list[str]:
    """Those that take no guard away: a control is called so, or runs once with its guard and once without."""
    found = []
    for name in names:
        place, _, test = name.partition("::")
        text = (rules.ROOT / place).read_text("utf-8")
        if not _CONTROL.search(test) and not re.search(
            rf'(@GUARDED|ids=\["guarded", "not guarded"\]\))\nasync def {test}\(', text
        ):
            found.append(name)
    return found


def test_every_invariant_names_its_check_its_tests_and_its_control():
    from lastseat.invariants import CHECKS

    sections = _sections()
    assert [name for name in sections if name != "Guards"] == list(CHECKS)
    for name, (_, check) in CHECKS.items():
        rows = dict(re.findall(r"^\| (\w+) \| (.*) \|$", sections[name], re.MULTILINE))
        assert rows["check"].startswith(f"`{check.__name__}`")
        assert _tests_in(rows["tests"])
        assert _tests_in(rows["control"])
        assert no_controls(_tests_in(rows["control"])) == []


def test_every_guard_of_the_write_path_has_its_control_and_no_control_is_forgotten():
    guards = dict(re.findall(r"^\| ([^|]+) \| [^|]+ \| (`tests/.*) \|$", _sections()["Guards"], re.MULTILINE))
    assert tuple(guards) == _GUARDS
    for row in guards.values():
        assert _tests_in(row)
        assert no_controls(_tests_in(row)) == []
    there = re.findall(r"@GUARDED\nasync def (test_\w+)\(", _text("tests/fault/test_controls.py"))
    assert there
    assert [test for test in there if f"::{test}`" not in _text("docs/invariants.md")] == []


def test_what_attacks_all_invariants_is_named():
    for folder in ("tests/fault/test_matrix.py", "tests/property", "tests/fault/test_real_kills.py", "tests/torture"):
        assert f"`{folder}" in _text("docs/invariants.md").split("## Guards")[0]


def test_a_control_that_takes_nothing_away_would_be_seen():
    plain = "tests/rehearsal/test_invariants.py::test_a_planted_fault_is_found_by_its_invariant"
    assert no_controls([plain, "tests/fault/test_controls.py::test_a_row_is_in_one_relays_hands_only"]) == [plain]
