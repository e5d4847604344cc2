"""Plays a booking rush against a stack of its own and judges it from what it left; never touches a live service."""
