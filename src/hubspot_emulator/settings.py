"""What can be turned while the emulator runs: limits, latency and the switches; never holds state."""

from typing import Annotated, Any, Literal, TypeVar

import msgspec

T = TypeVar("T", bound=msgspec.Struct)
Count = Annotated[int, msgspec.Meta(ge=0)]
Amount = Annotated[float, msgspec.Meta(ge=0)]

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

    calls: Count = 190
    window_ms: Count = 10_000
    search_per_s: Count = 5
    daily: Count = 625_000
    latency_ms: Amount = 0
    jitter_ms: Amount = 0
    uri_bytes: Count = 16_000
    # Other apps on the account share the search and the daily limit; another process that uses the
    # same token shares the rolling window too.
    other_search_per_s: Amount = 0
    other_calls_per_s: Amount = 0
    same_token_calls_per_s: Amount = 0


class Switches(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Where HubSpot's behaviour is unconfirmed, or differs: a client must be right under each value."""

    heed_trace_ids: bool = True
    echo_trace_ids: bool = False
    unset: Literal["null", "absent"] = "null"
    conflict_rolls_back: bool = True
    refused_calls_count: bool = False
    retry_after: Literal["never", "sometimes", "always"] = "never"
    upsert_order: Literal["shuffled", "reversed", "input"] = "shuffled"
    archived_holds_unique: bool = False
    search_counts_in_window: bool = False
    search_lag_ms: Amount = 2_000


class Webhook(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Where events go and how they are signed; no URL, no events."""

    url: str = ""
    secret: str = "emulator-secret"  # noqa: S105  the documented default of a local emulator
    signature: Literal["v1", "v3"] = "v3"
    properties: list[str] = []  # none: every property that is not HubSpot's own
    subscription_id: int = 3_300_001
    app_id: int = 1_200_001
    retry_over_s: Amount = 86_400.0  # from the first delivery to the tenth retry; each wait is twice the one before


def with_changes(old: T, changes: dict[str, Any]) -> T:
    """A copy of `old` with `changes`; a wrong name or type raises ValueError that names it."""
    try:
        return msgspec.convert(msgspec.structs.asdict(old) | changes, type(old), strict=False)
    except msgspec.ValidationError as problem:
        raise ValueError(str(problem)) from None
