"""Small parts on their own, without any store."""
