"""The only room that opens sockets: Postgres, Redis, HubSpot; knows no rules of booking."""
