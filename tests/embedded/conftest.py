"""Stacks of their own for tests that kill and spoil; copied from one made once, since initdb is slow."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lastseat.embedded.stack import EmbeddedStack
from tests.embedded.attack import copied
from tests.embedded_stack import make_open_folder


@pytest.fixture(scope="session")
def _finished_folder() -> Iterator[Path]:
    folder = make_open_folder()
    with EmbeddedStack(folder):
        pass
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def made_folder(_finished_folder: Path, open_folder: Path) -> Path:
    """A data folder with a database in it, nobody running."""
    return copied(_finished_folder, open_folder)


@pytest.fixture
def own_stack(made_folder: Path) -> Iterator[EmbeddedStack]:
    """A running stack that the test may kill."""
    with EmbeddedStack(made_folder) as running:
        yield running
