"""The demon's schedule is the seed's, and does what a torture of two minutes promises."""

from collections import Counter

import pytest

from hubspot_emulator.faults import split
from lastseat.rehearsal.schedule import KILLS, LAST_S, LATE, LONGEST_LATE_S, WEATHER, drawn_up, told


def test_the_same_seed_gives_the_same_schedule_and_another_one_another():
    first = drawn_up(seed=7, seconds=120, processes=3)
    assert first == drawn_up(seed=7, seconds=120, processes=3)
    assert told(first) == told(drawn_up(seed=7, seconds=120, processes=3))
    assert first != drawn_up(seed=8, seconds=120, processes=3)


@pytest.mark.parametrize("seed", range(1, 30))
def test_two_minutes_hold_fifteen_kills_of_all_kinds(seed: int):
    blows = drawn_up(seed=seed, seconds=120, processes=3)
    kills = Counter(blow.what for blow in blows if blow.what in KILLS)
    assert kills.total() >= 15
    assert min(kills[kind] for kind in KILLS) >= 3
    assert [blow.at_s for blow in blows] == sorted(blow.at_s for blow in blows)
    assert max(blow.at_s for blow in blows) <= 120 - LAST_S
    assert {blow.server for blow in blows if blow.what in ("server", "freeze")} <= {0, 1, 2}


def test_a_torture_of_45_seconds_meets_every_kind_of_kill():
    for seed in range(30):
        assert {blow.what for blow in drawn_up(seed=seed, seconds=45, processes=1)} >= set(KILLS)


def test_the_emulator_knows_all_weather_and_nothing_lands_later_than_is_looked_for():
    for text in (*WEATHER, *LATE):
        rules, switches = split(text)
        assert rules
        assert switches == {}
        assert all(rule.seconds(2) <= LONGEST_LATE_S for rule in rules if rule.name in ("late", "stall"))


def test_every_blow_is_told_in_words():
    blows = drawn_up(seed=7, seconds=120, processes=3)
    words = told(blows)
    assert len(words) == len(blows)
    for word in ("kill server 0", "kill the relay", "kill postgres", "flush Redis", "freeze server", "spoil HubSpot"):
        assert any(word in line for line in words)
