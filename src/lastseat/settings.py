"""Every setting, read from the environment once at start; never read anywhere else.

Names: `SUPABASE_*`, `REDIS_*` and `HUBSPOT_*` as they are, all others with the prefix `LASTSEAT_`.
Durations are seconds, so that a test can run in a hundredth of the time.
"""

import json
import zoneinfo
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, ValidationInfo
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from lastseat.errors import SetupError

_VENDOR_PREFIXES = ("supabase_", "redis_", "hubspot_")


def _environment_name(field: str) -> str:
    return field.upper() if field.startswith(_VENDOR_PREFIXES) else f"LASTSEAT_{field.upper()}"


def _known_zone(name: str) -> str:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"{name!r} is not a time zone; use a name such as America/Toronto") from error
    return name


def _outlives_a_call(lease_s: float, info: ValidationInfo) -> float:
    """The lease is renewed after a quarter; with less than a call's time-out left, no call would ever start."""
    call_s = info.data.get("hubspot_timeout_s", 0.0) + info.data.get("lease_margin_s", 0.0)
    if lease_s * 0.75 <= call_s:
        least = "HUBSPOT_TIMEOUT_S and LASTSEAT_LEASE_MARGIN_S together"
        raise ValueError(f"{lease_s:g} is too short: three quarters of it must be longer than {least}, {call_s:g}")
    return lease_s


def _an_address(url: str) -> str:
    try:
        place = urlsplit(url)
        known = place.scheme in {"http", "https"} and bool(place.hostname) and place.port != 0
    except ValueError:
        known = False
    if not known:
        raise ValueError(f"{url!r} is not an address; use one such as https://api.hubapi.com")
    return url


def _listed(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        words: object = json.loads(value)
    except ValueError:
        words = None
    if not isinstance(words, list) or not words:
        raise ValueError('it is not a JSON list of words, such as ["Calgary", "Online"]')
    return words  # pyright: ignore[reportUnknownVariableType]  # its parts are checked by pydantic


def _table(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)  # its shape is checked by pydantic
    except ValueError as error:
        raise ValueError('it is not a JSON object, such as {"Clinical Skills": ["dominant_hand"]}') from error


def _leaves_room(most: int, known: ValidationInfo) -> int:
    """A stream is a request that goes on; a server takes no other while all its places are taken."""
    places: int | None = known.data.get("backpressure")
    if places is not None and most >= places:
        raise ValueError(f"it must be below LASTSEAT_BACKPRESSURE={places}, or open streams keep all else out")
    return most


AskedField = Literal["dominant_hand", "attending_location"]
FieldsByType = Annotated[dict[str, tuple[AskedField, ...]], NoDecode, BeforeValidator(_table)]
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)]
Seconds = Annotated[float, Field(gt=0, le=86_400 * 366)]
Count = Annotated[int, Field(ge=1)]
Limit = Annotated[int, Field(ge=0)]


class Settings(BaseSettings):
    """The whole configuration; a wrong value is one clear line at start (`load`)."""

    model_config = SettingsConfigDict(
        alias_generator=_environment_name, populate_by_name=True, extra="ignore", frozen=True
    )

    # Where the stores are. Unset: the embedded ones are started.
    supabase_db_url: SecretStr | None = None
    supabase_url: str | None = None
    supabase_rest_path: str = "/rest/v1"
    supabase_service_key: SecretStr | None = None
    supabase_jwt_secret: SecretStr | None = None
    redis_url: SecretStr | None = None

    # HubSpot.
    hubspot_access_token: SecretStr | None = None
    hubspot_base_url: Annotated[str, AfterValidator(_an_address)] = "https://api.hubapi.com"
    hubspot_api_version: str = "v3"
    hubspot_rate_limit: Count = 100
    hubspot_rate_window_s: Seconds = 10.0
    hubspot_headroom: Annotated[int, Field(ge=0)] = 0
    hubspot_booking_type: str = "2-50158943"
    hubspot_exam_type: str = "2-50158913"
    hubspot_contact_type: str = "0-1"
    hubspot_booking_key: str = "booking_id"
    hubspot_exam_key: str = "lastseat_exam_id"
    hubspot_timeout_s: Seconds = 4.0
    hubspot_connect_timeout_s: Seconds = 2.0
    hubspot_search_limit: Count = 4
    hubspot_search_window_s: Seconds = 1.0
    hubspot_daily_pause_s: Seconds = 900.0
    hubspot_busy_pause_s: Seconds = 2.0
    hubspot_move_pause_s: Seconds = 60.0
    hubspot_extra_wait_s: Seconds = 1.0
    hubspot_accepted_s: Seconds = 60.0

    # The server.
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8700
    processes: Annotated[int, Field(ge=1, le=64)] = 1
    backlog: Count = 16_384
    backpressure: Count = 16_384
    demo: bool = False
    data_dir: Path | None = None
    timezone: Annotated[str, AfterValidator(_known_zone)] = "America/Toronto"
    postgres_pool: Count = 6

    # What the school offers; lists as JSON.
    mock_types: Words = ("Situational Judgment", "Clinical Skills", "Mini-mock", "Mock Discussion")
    locations: Words = (
        "Mississauga",
        "Mississauga - B9",
        "Mississauga - Lab D",
        "Calgary",
        "Vancouver",
        "Montreal",
        "Richmond Hill",
        "Online",
    )

    booking_fields: FieldsByType = {
        "Situational Judgment": ("attending_location",),
        "Clinical Skills": ("dominant_hand",),
        "Mini-mock": ("attending_location",),
    }
    booking_fields_needed: bool = False

    # Limits and live seats. 0: no limit.
    limit_window_s: Seconds = 10.0
    limit_writes: Limit = 600
    limit_reads: Limit = 3_000
    limit_address_reads: Limit = 0
    events_tick_s: Seconds = 0.1
    events_share: Annotated[float, Field(gt=0, le=1)] = 0.25
    events_heartbeat_s: Seconds = 15.0
    events_slow_s: Seconds = 10.0
    events_most: Annotated[int, Field(ge=0, validate_default=True), AfterValidator(_leaves_room)] = 12_000
    events_account_most: Limit = 20
    events_address_most: Limit = 0

    # The write path.
    claim_window_s: Seconds = 0.002
    claim_batch: Annotated[int, Field(ge=1, le=1000)] = 250
    deadline_s: Seconds = 0.75
    relay_window_s: Seconds = 0.025
    relay_window_max_s: Seconds = 0.1
    relay_poll_s: Seconds = 0.5
    relay_poll_alone_s: Seconds = 0.05
    link_quiet_s: Seconds = 0.25
    lease_margin_s: Seconds = 0.5
    lease_s: Annotated[float, Field(gt=0, le=3600, validate_default=True), AfterValidator(_outlives_a_call)] = 8.0
    lease_offer_s: Seconds = 1.0
    verify_after_s: Annotated[float, Field(gt=0, le=3000)] = 60.0
    backoff_first_s: Seconds = 0.5
    backoff_most_s: Annotated[float, Field(gt=0, le=600)] = 30.0
    probe_most_s: Seconds = 5.0
    key_ttl_s: Seconds = 86_400.0
    outbox_keep_s: Seconds = 30 * 86_400.0
    housekeeping_s: Seconds = 60.0
    breaker_failures: Count = 3
    breaker_first_s: Seconds = 0.25
    breaker_most_s: Seconds = 2.0
    breaker_probe_s: Seconds = 1.0
    watch_s: Seconds = 30.0
    watch_exams: Count = 3

    # The read path.
    gate_ttl_s: Seconds = 60.0
    exams_ttl_s: Seconds = 60.0
    bookings_ttl_s: Seconds = 300.0
    body_age_s: Seconds = 0.1
    stale_s: Seconds = 3600.0
    check_every_s: Seconds = 1.0
    store_timeout_s: Seconds = 5.0
    redis_timeout_s: Seconds = 0.25

    @property
    def names_supabase(self) -> bool:
        """Whether a database is named, over either transport; else the embedded one is meant."""
        return self.supabase_db_url is not None or bool(self.supabase_url)


def load(**overrides: object) -> Settings:
    """Read the environment; raise SetupError naming the variable, its value's fault and what is allowed."""
    try:
        return Settings(**overrides)  # pyright: ignore[reportArgumentType]  # names are checked by pydantic
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        # A default at fault has the field's name, a value from the environment that of its variable.
        name = ".".join(
            _environment_name(str(part)) if part in Settings.model_fields else str(part) for part in first["loc"]
        )
        raise SetupError(f"{name}: {first['msg']}.", way_out=f"Set {name} to an allowed value.") from error
