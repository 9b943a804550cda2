"""Fixtures of the tests of traces."""

from tests.fixtures.notes import notes

__all__ = ["notes"]
