"""The page about the emulator names everything that can be asked of it."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from hubspot_emulator.cli import main
from hubspot_emulator.control import Control
from hubspot_emulator.faults import NAMES
from hubspot_emulator.pipeline import Emulator
from hubspot_emulator.settings import PLANS, Switches
from hubspot_emulator.store import Store

DOCS = (Path(__file__).parents[2] / "docs" / "emulator.md").read_text("utf-8")
HELP = CliRunner().invoke(main, ["--help"]).output


@pytest.mark.parametrize("name", [*NAMES, *Switches.__struct_fields__])
def test_every_fault_and_switch_is_in_the_docs_and_in_the_help(name):
    assert f"`{name}`" in DOCS
    assert f" {name} " in HELP


def test_every_control_endpoint_is_in_the_docs():
    for method, name in Control(Emulator(Store(None)))._table:
        assert f"`{method} /_emulator/{name}" in DOCS, name


def test_every_plan_is_in_the_docs():
    assert all(plan in DOCS for plan in PLANS)
