"""A bench whose number is worse than its bar says so; each bar in use is fed such a number."""

import runpy

import pytest

from tests.house import rules

MISSED = runpy.run_path(str(rules.ROOT / "bench" / "bars.py"))["missed"]
BARS = {"least": (">=", 4), "most": ("<=", 250), "below": ("<", 50)}


@pytest.mark.parametrize(
    ("planted", "said"),
    [
        ({}, []),
        ({"least": 3.99}, ["least is 3.99, must be >= 4"]),
        ({"most": 251}, ["most is 251, must be <= 250"]),
        ({"below": 50}, ["below is 50, must be < 50"]),
    ],
)
def test_each_number_worse_than_its_bar_is_named(planted: dict[str, float], said: list[str]):
    met = {"least": 4, "most": 250, "below": 49.9}
    assert list(MISSED({**met, **planted}, BARS, whole=True)) == said


def test_a_whole_run_must_have_measured_all():
    assert list(MISSED({"most": 1}, BARS, whole=True)) == ["least was not measured", "below was not measured"]
    assert list(MISSED({"most": 1}, BARS, whole=False)) == []
