"""Fixtures of the tests of gathering."""

from tests.fixtures.notes import hasty, narrow, notes, observer

__all__ = ["hasty", "narrow", "notes", "observer"]
