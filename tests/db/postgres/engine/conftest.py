"""Fixtures of the engine's tests."""

from tests.fixtures.notes import narrow, notes, observer

__all__ = ["narrow", "notes", "observer"]
