"""Association types are discovered once for all processes, and anew when HubSpot refuses them."""

import msgspec
import pytest

from lastseat.errors import Unavailable
from lastseat.model import OutboxKind
from lastseat.stores.hubspot import LinkType
from lastseat.stores.link_memory import CURSOR, RememberingHubSpot
from lastseat.writes.delivery import Delivery
from tests.hubspot_client.doubles import link
from tests.upkeep.world import EXAM, World

pytestmark = pytest.mark.embedded
KIND: OutboxKind = "link_exam"


@pytest.fixture
async def process(world: World):
    """Each call is another process over the same ledger."""
    opened: list[RememberingHubSpot] = []

    def start() -> tuple[RememberingHubSpot, Delivery]:
        hubspot = RememberingHubSpot(world.settings, world.store)
        opened.append(hubspot)
        return hubspot, Delivery(hubspot, world.budget, world.settings, hubspot.recall)

    yield start
    for hubspot in opened:
        await hubspot.close()


def rows(world: World, count: int = 2):
    [exam] = world.sow("exams", EXAM)
    bookings = world.sow("bookings", *({"booking_id": f"b-{n}"} for n in range(count)))
    made = [link(n, booking, "7") for n, booking in enumerate(bookings)]
    return [msgspec.structs.replace(one, kind=KIND, exam_id=exam) for one in made]


async def test_a_takeover_costs_no_call(world: World, process):
    _, first = process()
    assert await first.prepare() is None
    assert world.calls("labels") == 2
    hubspot, successor = process()
    assert await successor.prepare() is None
    assert hubspot.knows("link_exam")
    assert hubspot.knows("link_contact")
    assert world.calls() == 2
    results = await successor.link(await world.budget.reserve(KIND), KIND, rows(world), lambda: True)
    assert {result.outcome for result in results} == {"written"}


async def test_without_the_memory_each_takeover_asks_again(world: World, process):
    for _ in range(2):
        hubspot, _ = process()
        await Delivery(hubspot, world.budget, world.settings).prepare()
    assert world.calls("labels") == 4


async def test_a_type_that_hubspot_refuses_is_learnt_anew(world: World, process):
    hubspot, delivery = process()
    await delivery.prepare()
    pair = ">".join(hubspot._pair(KIND))
    wrong = {**hubspot.link_types, pair: LinkType(category="USER_DEFINED", type_id=9999)}
    await world.store.save_cursor(CURSOR, wrong)
    hubspot, delivery = process()
    await delivery.prepare()
    links = rows(world)
    refused = await delivery.link(await world.budget.reserve(KIND), KIND, links, lambda: True)
    assert {result.outcome for result in refused} == {"portal"}
    written = await delivery.link(await world.budget.reserve(KIND), KIND, links, lambda: True)
    assert {result.outcome for result in written} == {"written"}
    kept, _ = await world.store.cursor(CURSOR)
    assert b"9999" not in kept


async def test_one_bad_row_does_not_make_the_type_forgotten(world: World, process):
    hubspot, delivery = process()
    await delivery.prepare()
    links = rows(world, 3)
    links[1] = msgspec.structs.replace(links[1], hubspot_id="404404")
    await delivery.link(await world.budget.reserve(KIND), KIND, links, lambda: True)
    assert hubspot.knows(KIND)
    assert world.calls("labels") == 2


async def test_a_memory_that_is_away_costs_calls_and_nothing_else(world: World, process, monkeypatch):
    async def away(*_args):
        raise Unavailable("away")

    monkeypatch.setattr(world.store, "cursor", away)
    monkeypatch.setattr(world.store, "save_cursor", away)
    hubspot, delivery = process()
    assert await delivery.prepare() is None
    assert hubspot.knows(KIND)
