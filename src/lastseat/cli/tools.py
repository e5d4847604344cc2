"""Opens what an operator's commands work with: stores, budget, HubSpot; serves nobody and does no work itself."""

from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from lastseat.cli import running
from lastseat.cli.folders import DEMO
from lastseat.cli.frame import run, say
from lastseat.cli.serving import bring_stores
from lastseat.cli.standing import need_transport
from lastseat.embedded.folder import data_folder
from lastseat.errors import SetupError
from lastseat.settings import Settings, load
from lastseat.stores.bulletin import RedisBulletin
from lastseat.stores.cursors import UpkeepStore
from lastseat.stores.hubspot_lists import HubSpotLists
from lastseat.stores.rate_budget import SharedBudget
from lastseat.stores.redis import RedisTrips
from lastseat.stores.views import ViewStore
from lastseat.upkeep import schema
from lastseat.wire import database_of, ledger_of

NO_REDIS: Final = "redis://127.0.0.1:1"
"""Where no Redis is: the budget then keeps to a cautious share of its own."""


@dataclass(frozen=True)
class Tools:
    """What a command works with while it runs."""

    settings: Settings
    store: UpkeepStore
    lists: HubSpotLists
    budget: SharedBudget
    bulletin: RedisBulletin


def settings_with_stores(open_stores: ExitStack) -> Settings:
    """The environment's settings, with the stores of what runs in the data folder, or else with stores of our own."""
    settings = load()
    need_transport(settings)
    if not settings.names_supabase or settings.redis_url is None:
        folder = data_folder(settings.data_dir, on_progress=say)
        note = running.read_note(folder)
        if note is None and settings.hubspot_access_token is None:
            note = running.read_note(folder / DEMO)
            if note is None:
                need_token(settings)
        stores = bring_stores(settings, open_stores).environment if note is None else note.environment
        if "HUBSPOT_ACCESS_TOKEN" in stores and settings.hubspot_access_token is not None:
            raise SetupError(
                "A demo runs in the data folder, and HUBSPOT_ACCESS_TOKEN names a portal that is not the demo's.",
                way_out="Stop the demo, or set SUPABASE_DB_URL and REDIS_URL, or another LASTSEAT_DATA_DIR.",
            )
        settings = load(**{name.lower(): value for name, value in stores.items() if _is_unset(settings, name)})
        if note is None and "SUPABASE_DB_URL" in stores:
            run(lambda: schema.apply_to(stores["SUPABASE_DB_URL"]))
    need_token(settings)
    return settings


def need_token(settings: Settings) -> None:
    """Refuse to begin without a token."""
    if settings.hubspot_access_token is None:
        raise SetupError("HUBSPOT_ACCESS_TOKEN is not set.", way_out="Set it to your private app's token.")


@asynccontextmanager
async def tools(settings: Settings) -> AsyncGenerator[Tools]:
    """Everything, closed at the end."""
    url = NO_REDIS if settings.redis_url is None else settings.redis_url.get_secret_value()
    database, lists = database_of(settings), HubSpotLists(settings)
    async with redis_of(settings) as trips:
        views = ViewStore(trips, settings)
        bulletin = RedisBulletin(trips, views, url=url, settings=settings)
        try:
            store = ledger_of(settings, database)
            yield Tools(settings, store, lists, SharedBudget(trips, settings), bulletin)
        finally:
            await bulletin.close()
            await views.close()
            await lists.close()
            await database.close()


@asynccontextmanager
async def redis_of(settings: Settings) -> AsyncGenerator[RedisTrips]:
    """The connection to Redis, which may be away."""
    url = NO_REDIS if settings.redis_url is None else settings.redis_url.get_secret_value()
    trips = RedisTrips(url, timeout_s=settings.redis_timeout_s)
    try:
        yield trips
    finally:
        await trips.close()


def _is_unset(settings: Settings, name: str) -> bool:
    field: object = getattr(settings, name.lower(), None)
    return name.lower() not in settings.model_fields_set or field is None
