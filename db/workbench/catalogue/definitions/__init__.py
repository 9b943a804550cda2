"""`definitions`: SQL that recreates the objects of a user's database.

reading  which parts make the definition of each kind, and how they are read
others   the SQL of the parts
"""

from db.workbench.catalogue.definitions.reading import (
    MAX_DEFINITION_BYTES,
    DefinedKind,
    definitions,
)

__all__ = ["MAX_DEFINITION_BYTES", "DefinedKind", "definitions"]
