"""`definitions`: SQL that recreates the objects of a user's database."""

from db.workbench.catalogue.definitions.reading import DefinedKind, definitions

__all__ = ["DefinedKind", "definitions"]
