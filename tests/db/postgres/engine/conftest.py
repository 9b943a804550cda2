"""Fixtures of the engine's tests."""

from tests.fixtures.notes import hasty, narrow, notes, observer

__all__ = ["hasty", "narrow", "notes", "observer"]
