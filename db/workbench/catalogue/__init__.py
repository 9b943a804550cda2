"""The catalogue of a user's database: its schemas, tables and columns."""

from db.workbench.catalogue.reader import MAX_COLUMNS, CatalogueReader
from db.workbench.catalogue.rows import ColumnRow, SchemaRow, TableKind, TableRow

__all__ = ["MAX_COLUMNS", "CatalogueReader", "ColumnRow", "SchemaRow", "TableKind", "TableRow"]
