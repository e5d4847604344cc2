"""Settings come from the environment once; a wrong one is a single clear line."""

import pytest

from lastseat import settings
from lastseat.errors import SetupError


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch):
    for field in settings.Settings.model_fields.values():
        monkeypatch.delenv(str(field.alias), raising=False)


def test_without_any_variable_the_defaults_hold():
    loaded = settings.load()
    assert loaded.supabase_db_url is None
    assert loaded.hubspot_rate_limit == 100
    assert loaded.timezone == "America/Toronto"


def test_vendors_names_are_used_as_they_are_and_ours_have_a_prefix(monkeypatch):
    monkeypatch.setenv("HUBSPOT_RATE_LIMIT", "10")
    monkeypatch.setenv("LASTSEAT_PORT", "9000")
    monkeypatch.setenv("PORT", "1")
    loaded = settings.load()
    assert (loaded.hubspot_rate_limit, loaded.port) == (10, 9000)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LASTSEAT_PORT", "seventy"),
        ("LASTSEAT_PORT", "70000"),
        ("LASTSEAT_TIMEZONE", "Mars/Base"),
        ("LASTSEAT_TIMEZONE", "../etc/passwd"),
        ("LASTSEAT_LEASE_S", "0"),
        ("LASTSEAT_LEASE_S", "-1"),
        ("LASTSEAT_LEASE_S", "nan"),
        ("LASTSEAT_DEADLINE_S", "inf"),
        ("HUBSPOT_RATE_LIMIT", "0"),
        ("HUBSPOT_BASE_URL", "api.hubapi.com"),
        ("HUBSPOT_BASE_URL", "https://"),
        ("HUBSPOT_BASE_URL", "http://[::1"),
        ("LASTSEAT_PROCESSES", ""),
        ("LASTSEAT_BOOKING_FIELDS", "dominant_hand"),
        ("LASTSEAT_BOOKING_FIELDS", '["dominant_hand"]'),
        ("LASTSEAT_BOOKING_FIELDS", '{"Clinical Skills": ["shoe_size"]}'),
    ],
)
def test_a_wrong_value_is_one_line_that_names_the_variable(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(SetupError) as caught:
        settings.load()
    assert name in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    "name", ["SUPABASE_DB_URL", "SUPABASE_SERVICE_KEY", "SUPABASE_JWT_SECRET", "REDIS_URL", "HUBSPOT_ACCESS_TOKEN"]
)
def test_a_secret_never_shows_when_settings_are_printed(monkeypatch, name):
    monkeypatch.setenv(name, "the-secret-itself")
    assert "the-secret-itself" not in repr(settings.load())


def test_settings_do_not_change_after_the_start():
    with pytest.raises(ValueError, match="frozen"):
        settings.load().port = 1


def test_a_test_may_override_any_setting_by_its_field():
    assert settings.load(deadline_s=0.2).deadline_s == 0.2
