"""What can be turned while the emulator runs: limits, latency and the switches; never holds state."""

from typing import Any, Literal, TypeVar

import msgspec

T = TypeVar("T", bound=msgspec.Struct)

Plan = Literal["free", "starter", "professional", "enterprise", "increase"]

# plan -> (calls per 10 s per app, calls per day per account)
PLANS: dict[str, tuple[int, int]] = {
    "free": (100, 250_000),
    "starter": (100, 250_000),
    "professional": (190, 625_000),
    "enterprise": (190, 1_000_000),
    "increase": (250, 2_000_000),
}


class Limits(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """How many calls pass, and how long each takes."""

    calls: int = 190
    window_ms: int = 10_000
    search_per_s: int = 5
    daily: int = 625_000
    latency_ms: float = 0
    jitter_ms: float = 0
    uri_bytes: int = 16_000
    # Other apps on the account share the search and the daily limit; another process that uses the
    # same token shares the rolling window too.
    other_search_per_s: float = 0
    other_calls_per_s: float = 0
    same_token_calls_per_s: float = 0


class Switches(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Where HubSpot's behaviour is unconfirmed, or differs: a client must be right under each value."""

    echo_trace_ids: bool = False
    unset: Literal["null", "absent"] = "null"
    conflict_rolls_back: bool = True
    refused_calls_count: bool = False
    retry_after: Literal["never", "sometimes", "always"] = "never"
    upsert_order: Literal["shuffled", "reversed", "input"] = "shuffled"
    archived_holds_unique: bool = False
    search_counts_in_window: bool = False
    search_lag_ms: float = 2_000


def with_changes(old: T, changes: dict[str, Any]) -> T:
    """A copy of `old` with `changes`; a wrong name or type raises ValueError that names it."""
    try:
        return msgspec.convert(msgspec.structs.asdict(old) | changes, type(old), strict=False)
    except msgspec.ValidationError as problem:
        raise ValueError(str(problem)) from None
