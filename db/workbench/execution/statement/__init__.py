"""Executes one statement: its connection, its stop, and how it ended."""
