"""The small page at `/_emulator`; never asks for anything but the control endpoints."""

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>HubSpot emulator</title>
<h1>HubSpot emulator</h1>
"""
