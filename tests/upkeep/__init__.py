"""Tests of what an operator starts by hand: backfill, sync, portal."""
