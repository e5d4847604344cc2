"""Says what a SQLSTATE means for a caller, the same over both transports; never sees a connection."""

from lastseat.errors import LastseatError, LeaseLost, Refused, Unavailable, Uncertain


def meaning_of(state: str, message: str, where: str) -> LastseatError:
    """The error to raise for an error that Postgres itself reported; its transaction was rolled back."""
    line = message.splitlines()[0] if message else "no message"
    if state == "LS001":
        return LeaseLost(line)
    if state.startswith(("08", "40")):  # the connection broke, or a deadlock: resend unchanged
        return Uncertain(f"{where}: {line} ({state})")
    if state.startswith(("22", "23")):
        return Refused(f"the database refused the values: {line}")
    if state in {"42883", "3F000", "42P01", "PGRST202", "PGRST106"}:
        return Unavailable(f"{where}: the schema is not applied; run `lastseat schema apply` ({state})")
    return Unavailable(f"{where}: {line} ({state})")
