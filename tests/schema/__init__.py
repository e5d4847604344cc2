"""The schema: applied once, whole or not at all."""
