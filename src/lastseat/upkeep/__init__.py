"""What an operator starts by hand: schema, checks, migration; never part of a request."""
