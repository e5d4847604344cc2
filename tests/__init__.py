"""The tests: sentences about what must hold; run on real parts."""
