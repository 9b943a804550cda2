"""`definitions`: SQL that recreates the objects of a user's database."""

from db.workbench.catalogue.definitions.reading import DefinedKind, Fetch, definitions

__all__ = ["DefinedKind", "Fetch", "definitions"]
