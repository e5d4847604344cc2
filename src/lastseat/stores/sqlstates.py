"""Says what a failed call means for a caller, the same over both transports; never sees a connection."""

from typing import Final

from lastseat.errors import LastseatError, LeaseLost, Refused, Unavailable, Uncertain

VALUES: Final = ("22", "23", "54")
"""Classes of errors that a value causes: asked again, it causes them again."""

APPLY: Final = "Run `lastseat schema apply`, or paste `lastseat schema print` into Supabase's SQL editor."

_ABORTED_CLASSES: Final = (*VALUES, "0A", "26", "28", "3D", "3F", "42", "53", "55", "P0")
_ABORTED: Final = frozenset({"25006", "25P02", "57014"})
_BEFORE_POSTGRES: Final = ("PGRST1", "PGRST2", "PGRST3")

_NO_SCHEMA: Final = frozenset({"42883", "3F000", "42P01", "PGRST202"})
_NOT_EXPOSED: Final = "PGRST106"
_NOT_ALLOWED: Final = "42501"
_POOLED: Final = frozenset({"26000", "42P05"})


class Shut(Unavailable):
    """The database answers, and only the operator can make it let us in; `way_out` says how."""

    def __init__(self, message: str, *, way_out: str) -> None:
        super().__init__(message, retry_after_s=30.0)
        self.way_out = way_out


def proves_abort(state: str) -> bool:
    """Whether an error says that nothing happened: the statement was refused or ended while it ran.

    Anything else may have come after the commit: the connection broke (08), the server ended (57P), a pooler or the
    disk failed (XX, 58), a deadlock (40, which is to be sent again anyway), or a word that is not known here.
    """
    return state in _ABORTED or state.startswith((*_ABORTED_CLASSES, *_BEFORE_POSTGRES, "LS"))


def meaning_of(state: str, message: str, where: str) -> LastseatError:
    """The error to raise for an error that Postgres or PostgREST itself reported."""
    line = message.splitlines()[0] if message else "no message"
    sentence = f"{where}: {line} ({state})"
    if state == "LS001":
        return LeaseLost(line)
    if not proves_abort(state):
        return Uncertain(sentence)
    if state.startswith(VALUES):
        return Refused(f"the database refused the values: {line}")
    return _shut(state, where) or Unavailable(sentence)


def _shut(state: str, where: str) -> Shut | None:
    if state in _NO_SCHEMA:
        return Shut(f"{where}: the schema is not applied ({state})", way_out=APPLY)
    if state == _NOT_EXPOSED:
        way_out = "Add lastseat_api to the exposed schemas of the project's API settings."
        return Shut(f"{where}: the schema lastseat_api is not exposed", way_out=way_out)
    if state == _NOT_ALLOWED:
        way_out = "Connect as the owner of the schema, or with the service key; then run `lastseat schema apply`."
        return Shut(f"{where}: this role may not call it", way_out=way_out)
    if state in _POOLED:
        # Limit: a pooler that came between after the start; the next start finds it and asks without names.
        return Shut(f"{where}: a transaction pooler lost a statement", way_out="Start again.")
    return None
