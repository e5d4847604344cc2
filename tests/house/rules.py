"""Rules that read files and name each fault as one line; they never change a file."""

import ast
import gc
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
FUNCTION_LINES = 60
MODULE_LINES = 400
NOT_NAMES = frozenset(
    {"manager", "managers", "helper", "helpers", "util", "utils", "handler", "handlers", "lock", "locks"}
)
HEADER = ("Purpose:", "Inputs:", "Results:", "Invariant:")
DENIAL = re.compile(r"\b(never|no|not|nothing|nobody|none|only|neither|cannot)\b|n't\b", re.IGNORECASE)
# Written in halves, so that this file does not break its own rule.
REGISTRY_HOSTS = ("pypi." + "org", "pythonhosted." + "org", "npmjs." + "org", "npmjs." + "com", "crates." + "io")
MACHINE_PATH = re.compile(r"(?<![\w.$}*])/(?:work(?![\w-])|(?:root|home|opt|Users)" + r"/[\w.])")
IGNORE = re.compile(
    r"#\s*(?:noqa(?::\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*)?|type:\s*ignore(?:\[[^\]]*\])?|pyright:\s*\w+(?:\[[^\]]*\])?)"
    r"(?P<reason>.*)"
)
ENFORCED = re.compile(r"^\**Enforced by:\**\s*\S", re.MULTILINE)


@cache
def tracked() -> tuple[Path, ...]:
    """Every file that git tracks or would track, and that is there; without git, all but hidden folders."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode == 0:
        found = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    else:
        found = [
            path for path in ROOT.rglob("*") if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
        ]
    return tuple(sorted(path for path in found if path.is_file() and path.suffix not in {".png", ".ico", ".woff2"}))


def parsed(text: str) -> ast.Module:
    """The syntax tree; without a collection meanwhile, which CPython 3.11 may answer with a SystemError."""
    gc.disable()
    try:
        return ast.parse(text)
    finally:
        gc.enable()


def with_suffix(*suffixes: str, under: str = "") -> list[Path]:
    return [path for path in tracked() if path.suffix in suffixes and short(path).startswith(under)]


def short(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def long_functions(text: str) -> Iterator[str]:
    for node in ast.walk(parsed(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES:
                yield f"{node.name} has {lines} lines; {FUNCTION_LINES} are allowed"


def long_modules(text: str) -> Iterator[str]:
    if (lines := text.count("\n")) > MODULE_LINES:
        yield f"{lines} lines; {MODULE_LINES} are allowed"


def weak_docstrings(text: str) -> Iterator[str]:
    """A module says in its first line, as one sentence, what it does and what it never does."""
    first = (ast.get_docstring(parsed(text)) or "").split("\n\n")[0]
    if "\n" in first or not first.endswith(".") or ". " in first.replace("e.g. ", ""):
        yield f"the docstring does not begin with one sentence on one line: {first!r}"
    elif not DENIAL.search(first):
        yield f"the docstring does not say what the module never does: {first!r}"


def unreasoned_ignores(text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), start=1):
        match = IGNORE.search(line)
        if match and len(re.findall(r"[a-z]{2,}", match["reason"])) < 2:
            yield f"line {number} ignores a rule without a reason"


def forbidden_names(text: str) -> Iterator[str]:
    for name, number in _names(parsed(text)):
        for word in _words(name):
            if word in NOT_NAMES:
                yield f"line {number}: {name} uses the word {word}"


def _names(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name, node.lineno
            case ast.arg():
                yield node.arg, node.lineno
            case ast.Name(ctx=ast.Store()):
                yield node.id, node.lineno
            case ast.Attribute(value=ast.Name(id="self"), ctx=ast.Store()):
                yield node.attr, node.lineno
            case ast.alias(asname=str(name)):
                yield name, node.lineno
            case _:
                pass


def _words(name: str) -> list[str]:
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]


def forbidden_file_name(path: str) -> Iterator[str]:
    for word in re.findall(r"[a-z]+", path.lower()):
        if word in NOT_NAMES:
            yield f"the path uses the word {word}"


def foreign_places(text: str) -> Iterator[str]:
    """Package registries and folders of one machine: the first are the reader's choice, the second are not there."""
    for number, line in enumerate(text.splitlines(), start=1):
        if any(host in line for host in REGISTRY_HOSTS):
            yield f"line {number} names a package registry"
        if MACHINE_PATH.search(line):
            yield f"line {number} names a folder of one machine"


def missing_header(text: str) -> Iterator[str]:
    comment = "\n".join(line for line in text.splitlines()[:14] if line.startswith("--"))
    for word in HEADER:
        if word not in comment:
            yield f"the header lacks {word}"


def unenforced(text: str) -> Iterator[str]:
    last = text.strip().split("\n\n")[-1]
    if not ENFORCED.search(last):
        yield "does not end with a paragraph 'Enforced by:'"
