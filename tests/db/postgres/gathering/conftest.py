"""Fixtures of the tests of gathering."""

import pytest

from db.postgres.engine import Database
from tests.fixtures.database import Statements
from tests.fixtures.notes import hasty, narrow, notes, observer

__all__ = ["hasty", "narrow", "notes", "observer"]


@pytest.fixture
def sent(committed: Database) -> Statements:
    """The statements that the database receives."""
    statements = Statements()
    committed.observe = statements.append
    return statements
