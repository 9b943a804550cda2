"""Executes one statement and reads its result within limits."""
