"""Other people's servers, run against our emulator: they keep it as hard as HubSpot is."""
