"""One school per test, as for the tests beside other apps."""

from tests.beside.conftest import school

__all__ = ["school"]
