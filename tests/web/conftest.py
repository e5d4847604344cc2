"""An application over fakes and somebody to call it; opens no socket."""

import pytest

from lastseat.web.app import create_app
from tests.web.caller import Caller
from tests.web.fakes import World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def caller(world: World) -> Caller:
    return Caller(create_app(world.services()))


@pytest.fixture
def demo(world: World) -> Caller:
    """Somebody who calls an application in demo mode."""
    return Caller(create_app(world.services(demo=True)))
