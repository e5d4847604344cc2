"""The write path: admit, claim, write, mirror, announce, link."""
