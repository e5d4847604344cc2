"""The HubSpot emulator over raw HTTP: every rule of the vendor, one test."""
