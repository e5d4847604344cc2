"""The embedded Postgres and Valkey, attacked."""
