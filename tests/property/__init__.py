"""The ledger against a simple model, whatever the order of things."""
