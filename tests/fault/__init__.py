"""Every step meets every fault."""
