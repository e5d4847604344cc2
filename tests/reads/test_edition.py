"""What may be given out again unasked: over at a change, and never kept beyond a tenth of a second."""

from collections.abc import Callable

import pytest

from lastseat.model import Announcement
from lastseat.reads.edition import Edition
from lastseat.reads.exams import AHEAD
from tests.reads.clocked import Clock, Site
from tests.reads.fakes import Supabase


async def edition_of(site: Site) -> Edition:
    """The one that is given out now, with its list made."""
    await site.reads.available()
    at_hand = site.reads.available_at_hand()
    assert at_hand is not None
    return at_hand[1]


@pytest.mark.parametrize("news", ["seats", "exams", "elsewhere"])
async def test_an_edition_is_over_as_soon_as_anything_in_it_changes(
    site: Callable[..., Site], supabase: Supabase, clock: Clock, news: str
):
    supabase.add("1")
    reader, writer = site(), site()
    edition = await edition_of(reader)
    assert edition.until > clock.age_s
    sold = supabase.take("1", 5, version=2)
    if news == "elsewhere":  # not announced here: the next load finds it
        await writer.bulletin.announce(Announcement(gates=[sold]))
        clock.age_s += reader.process.settings.body_age_s * 1.01
        assert edition.until < clock.age_s
        await reader.reads.available()
    elif news == "seats":
        await reader.bulletin.announce(Announcement(gates=[sold]))
    else:
        supabase.add("2")
        await reader.bulletin.announce(Announcement(exams_changed=True))
    assert edition.until == 0
    assert (edition.bodies, edition.capacities, edition.shown) == ({}, {}, None)
    assert reader.reads._edition is not edition
    shown = {exam["id"]: exam["remaining"] for exam in await reader.listed()}
    assert shown == ({"1": 20, "2": 20} if news == "exams" else {"1": 15})


async def test_an_edition_asks_for_a_reader_before_it_is_too_old_and_goes_on_when_nothing_changed(
    site: Callable[..., Site], supabase: Supabase, clock: Clock
):
    supabase.add("1")
    reader = site()
    edition, age_s = await edition_of(reader), reader.process.settings.body_age_s
    began_at = clock.age_s
    assert edition.until == pytest.approx(began_at + age_s * AHEAD)
    clock.age_s = began_at + age_s * 0.9
    assert reader.reads.available_at_hand() is not None
    assert edition.until == pytest.approx(began_at + age_s)  # while the load runs
    loaded = reader.reads._loading
    assert loaded is not None
    await loaded
    assert reader.reads._edition is edition
    assert edition.until == pytest.approx(clock.age_s + age_s * AHEAD)
    assert edition.true_at == clock.age_s
