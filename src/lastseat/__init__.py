"""Books seats in a rush: exact in Postgres, recorded in HubSpot, fast from Redis."""

__version__ = "0.1.0"
