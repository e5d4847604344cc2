"""A local HubSpot CRM for tests: real limits, real refusals, and no code shared with what it tests."""
