"""Runs Postgres and Valkey from the installed wheels on this machine; never stands in for them with a fake."""

import sys

from lastseat.errors import SetupError

if sys.platform == "win32":
    raise SetupError(
        "Lastseat brings its own Postgres and Valkey on Linux and macOS only.",
        way_out="On Windows run it in WSL, or set SUPABASE_DB_URL and REDIS_URL to servers of yours.",
    )
