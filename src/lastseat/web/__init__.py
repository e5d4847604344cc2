"""HTTP: turns requests into calls of the rooms behind it and answers them; decides nothing about seats."""
