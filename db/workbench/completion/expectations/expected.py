"""What can stand at a cursor, as kinds of names and keywords."""

from enum import Enum, auto
from typing import NamedTuple

from db.workbench.completion.statement.queries import Source


class Offer(Enum):
    """A kind of names."""

    COLUMNS = auto()
    """Columns of the sources in scope."""
    TARGET_COLUMNS = auto()
    """Columns of `Expected.target`, unqualified."""
    COMMON_COLUMNS = auto()
    """Columns that a join with USING can name."""
    OUTPUT_COLUMNS = auto()
    """Columns that the select list names."""
    ALIASES = auto()
    RELATIONS = auto()
    COMMON_TABLES = auto()
    SEQUENCES = auto()
    VIEWS = auto()
    MATERIALIZED_VIEWS = auto()
    FUNCTIONS = auto()
    """Functions that give a value."""
    ROW_FUNCTIONS = auto()
    PROCEDURES = auto()
    ROUTINES = auto()
    TRIGGER_FUNCTIONS = auto()
    TYPES = auto()
    SCHEMAS = auto()
    SETTINGS = auto()


VALUES = (Offer.COLUMNS, Offer.ALIASES, Offer.FUNCTIONS, Offer.SCHEMAS)
ROWS = (Offer.COMMON_TABLES, Offer.RELATIONS, Offer.SCHEMAS, Offer.ROW_FUNCTIONS)
TABLES = (Offer.RELATIONS, Offer.SCHEMAS)


class Expected(NamedTuple):
    """`offers` and `keywords` are in the order in which they are useful here."""

    offers: tuple[Offer, ...] = ()
    keywords: tuple[str, ...] = ()
    target: Source | None = None
    taken: frozenset[str] = frozenset()
    """Columns that are named already."""
    compared: tuple[str, ...] = ()
    """The column that a value is compared with or assigned to."""
    first_keywords: tuple[str, ...] = ()
    """Keywords that come before the names, such as SELECT at the start of a subquery."""


NOTHING = Expected()
