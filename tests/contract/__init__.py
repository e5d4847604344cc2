"""Contracts that two sides must keep, tried from outside."""
