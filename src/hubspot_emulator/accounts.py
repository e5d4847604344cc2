"""Which token belongs to which app and what it may do; never keeps a token longer than its digest."""

import hashlib
from dataclasses import dataclass

from hubspot_emulator.failures import missing_scopes, unauthenticated

ALL = "*"
DEFAULT_TOKEN = "pat-demo"  # noqa: S105  the documented token of a local emulator


@dataclass(frozen=True)
class App:
    """One private app: its name in logs and its scopes."""

    name: str
    scopes: frozenset[str]


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


class Accounts:
    """The apps of a portal by token. `TOKEN` has every scope, `TOKEN=scope,scope` only these."""

    def __init__(self, tokens: list[str]) -> None:
        self._apps: dict[bytes, App] = {}
        for number, text in enumerate(tokens or [DEFAULT_TOKEN], 1):
            token, _, scopes = text.partition("=")
            granted = frozenset(scopes.split(",")) if scopes else frozenset({ALL})
            self._apps[_digest(token)] = App(f"app-{number}", granted)

    def app(self, authorization: str | None) -> App:
        """The app that calls, or 401."""
        kind, _, token = (authorization or "").partition(" ")
        if kind.lower() != "bearer" or not token.strip():
            raise unauthenticated(sent_any=False)
        app = self._apps.get(_digest(token.strip()))
        if app is None:
            raise unauthenticated(sent_any=True)
        return app


def refuse_unscoped(app: App, needed: list[str]) -> None:
    """403 naming what the token lacks."""
    lacking = [scope for scope in needed if scope not in app.scopes]
    if ALL not in app.scopes and lacking:
        raise missing_scopes(lacking)
