"""Database sessions: each is one connection, held by one process, with one statement at a time."""
