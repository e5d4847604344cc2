"""`lastseat torture` refuses what is not on this machine, judges kept files again, and prints what the docs say."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lastseat.cli import main
from lastseat.errors import SetupError
from lastseat.rehearsal.loopback import is_here, need_loopback, refuse_elsewhere
from lastseat.rehearsal.torture import keep_folder
from tests.torture.good_torture import GoodTorture

NAMES = ("SUPABASE_DB_URL", "SUPABASE_URL", "REDIS_URL", "HUBSPOT_BASE_URL", "LASTSEAT_HOST")


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def lastseat(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(main, list(arguments), env=environment, prog_name="lastseat")


@pytest.mark.parametrize("command", ["torture", "rush"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SUPABASE_DB_URL", "postgresql://me:secret-word@db.example.org:5432/postgres"),
        ("SUPABASE_DB_URL", "postgresql:///postgres?host=db.example.org"),
        ("SUPABASE_URL", "https://project.example.org"),
        ("REDIS_URL", "rediss://:secret-word@10.1.2.3:6379"),
        ("HUBSPOT_BASE_URL", "https://api.hubapi.com"),
        ("LASTSEAT_HOST", "0.0.0.0"),
    ],
)
def test_nothing_but_this_machine_is_attacked(command: str, name: str, value: str):
    result = lastseat(command, **{name: value})
    assert result.exit_code == 2, result.output
    assert len(result.stderr.splitlines()) == 1
    assert name in result.stderr
    assert "on this machine only" in result.stderr
    assert "secret-word" not in result.output


def test_addresses_of_this_machine_are_no_obstacle():
    here = {
        "SUPABASE_DB_URL": "postgresql://postgres@127.0.0.1:5432/postgres",
        "REDIS_URL": "unix:///run/redis.sock",
        "HUBSPOT_BASE_URL": "http://localhost:8766",
        "LASTSEAT_HOST": "::1",
        "SUPABASE_URL": "",
    }
    refuse_elsewhere(here, "A torture")
    assert is_here("127.8.9.1")
    assert not any(is_here(host) for host in ("", "127.0.0.1.example.org", "192.168.0.1", "::", "example.org"))


def test_the_stack_itself_must_be_on_this_machine():
    need_loopback(["postgresql://x@127.0.0.1:1/x", "redis://localhost:2", "http://127.0.0.1:3"])
    with pytest.raises(SetupError):
        need_loopback(["http://127.0.0.1:3", "redis://10.0.0.1:6379"])


def test_a_kept_torture_is_judged_again_from_its_files(tmp_path: Path):
    torture = GoodTorture()
    kept = str(torture.write(tmp_path / "kept"))
    result = lastseat("torture", "--judge", kept, "--json")
    assert result.exit_code == 0, result.output
    assert list(json.loads(result.stdout)) == [
        "requests", "booked", "cancelled", "kills", "violations", "lost", "duplicates", "oversold", "stranded",
        "unresolved", "longest_outage_ms", "recovery_max_s",
    ]  # fmt: skip
    assert list(json.loads(result.stdout)["kills"]) == ["server", "relay", "postgres", "valkey", "emulator"]
    assert "All promises were kept." in lastseat("torture", "--judge", kept).stdout
    torture.records.pop()
    torture.write(tmp_path / "kept")
    result = lastseat("torture", "--judge", kept)
    assert result.exit_code == 1
    assert "BROKEN (lost): Booking LS-5" in result.stdout
    assert "student eve to server 0: book 501 [k7] → 201 Active → LS-5" in result.stdout


def test_a_folder_that_no_torture_filled_is_not_judged(tmp_path: Path):
    result = lastseat("torture", "--judge", str(tmp_path))
    assert result.exit_code == 2
    assert "run.json" in result.stderr


def test_a_torture_does_not_write_over_other_files_but_over_its_own(tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(SetupError, match="holds other files"):
        keep_folder(tmp_path)
    with pytest.raises(SetupError, match="is not a folder"):
        keep_folder(tmp_path / "thesis.txt")
    assert list(keep_folder(GoodTorture().write(tmp_path / "kept")).iterdir()) == []


@pytest.mark.parametrize(
    "arguments", [("--seconds", "1"), ("--students", "3"), ("--processes", "0"), ("--without", "everything")]
)
def test_an_impossible_torture_is_refused_before_anything_starts(arguments: tuple[str, str]):
    result = lastseat("torture", *arguments)
    assert result.exit_code == 2
    assert arguments[0] in result.stderr


def test_the_switches_of_the_controls_are_not_on_show():
    assert "--without" not in lastseat("torture", "--help").output
