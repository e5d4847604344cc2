"""Tests of the torture: its schedule, its students, its demon and above all its judge."""
