"""Other apps that share the Redis, and what they cannot do to us."""
