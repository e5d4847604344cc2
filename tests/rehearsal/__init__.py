"""Tests of the dress rehearsal: its judge, its clients, its stack."""
