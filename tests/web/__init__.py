"""The web room over fakes: no socket, no store, no other room."""
