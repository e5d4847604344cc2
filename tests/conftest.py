"""Registers the fixtures that every test folder may use; holds none itself."""

pytest_plugins = ["tests.embedded_stack"]
