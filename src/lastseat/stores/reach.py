"""Says whether a server answers at all, in one line each; never signs in to HubSpot and never changes anything."""

import asyncio
from typing import Final
from urllib.parse import urlsplit

from lastseat.errors import LastseatError
from lastseat.stores.redis import RedisTrips

CONNECT_S: Final = 3.0


async def redis_fault(url: str) -> str | None:
    """Why Redis cannot be used, or None."""
    place = urlsplit(url)
    trips = RedisTrips(url, timeout_s=CONNECT_S)
    try:
        await trips.execute("PING")
    except LastseatError as problem:
        return f"Cannot use Redis at {place.hostname}:{place.port or 6379}: {problem.message.rstrip('.')}."
    finally:
        await trips.close()
    return None


async def hubspot_fault(base_url: str) -> str | None:
    """Why HubSpot cannot be reached, or None; no call is made, so the budget is not touched."""
    place = urlsplit(base_url)
    secure = place.scheme == "https"
    port = place.port or (443 if secure else 80)
    try:
        async with asyncio.timeout(CONNECT_S):
            _, writer = await asyncio.open_connection(place.hostname, port, ssl=secure)
    except (OSError, TimeoutError) as problem:
        said = getattr(problem, "strerror", None) or "no answer in time"
        return f"Cannot reach HubSpot at {place.hostname}:{port}: {said}."
    writer.close()
    return None
