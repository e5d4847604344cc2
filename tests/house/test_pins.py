"""What is installed is what is written down, so that two machines run the same code."""

import importlib.metadata
import re
import tomllib

from tests.house import rules

_INSTALLERS = {"pip", "setuptools", "wheel", "uv", "lastseat"}
_PIN = re.compile(r"([A-Za-z0-9._-]+)(?:\[[\w,]+\])?==([^\s;]+)(?:\s*;.*)?")


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _written() -> list[str]:
    project = tomllib.loads((rules.ROOT / "pyproject.toml").read_text())
    groups = project["dependency-groups"].values()
    direct = [*project["project"]["dependencies"], *(one for group in groups for one in group)]
    return [*direct, *project["tool"]["uv"]["constraint-dependencies"], *project["build-system"]["requires"]]


def unpinned(requirements: list[str]) -> list[str]:
    return [one for one in requirements if not _PIN.fullmatch(one)]


def test_every_requirement_is_one_version():
    assert unpinned(_written()) == []


def test_a_range_would_be_caught():
    assert unpinned(["redis[hiredis]==8.1.0", "tzdata==2026.6 ; sys_platform == 'win32'", "click>=8"]) == ["click>=8"]


def test_everything_that_is_installed_is_pinned():
    pins = {_plain(match[1]): match[2] for one in _written() if (match := _PIN.fullmatch(one))}
    installed = {_plain(one.name): one.version for one in importlib.metadata.distributions()}
    foreign = {f"{name} {version}" for name, version in installed.items() if pins.get(name) != version}
    assert {one for one in foreign if one.split()[0] not in _INSTALLERS} == set()


def test_every_direct_dependency_is_explained():
    text = (rules.ROOT / "docs" / "dependencies.md").read_text()
    project = tomllib.loads((rules.ROOT / "pyproject.toml").read_text())
    direct = [
        *project["project"]["dependencies"],
        *(one for group in project["dependency-groups"].values() for one in group),
    ]
    names = [re.split(r"[\[=]", one)[0] for one in direct]
    assert [name for name in names if name not in text] == []
