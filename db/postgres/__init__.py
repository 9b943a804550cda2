"""Howdah's own PostgreSQL: the engine, its connections, migrations and the embedded server."""
