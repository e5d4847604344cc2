"""The HubSpot client, its budget and its deliveries, on the emulator and a real Valkey; never on a real portal."""
