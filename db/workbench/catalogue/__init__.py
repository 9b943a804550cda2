"""The catalogue of a user's database: its schemas, tables and columns."""

from db.workbench.catalogue.reader import CatalogueReader
from db.workbench.catalogue.rows import ColumnRow, SchemaRow, TableKind, TableRow

__all__ = ["CatalogueReader", "ColumnRow", "SchemaRow", "TableKind", "TableRow"]
