"""The catalogue of a user's database: its schemas, tables and columns."""

from db.workbench.catalogue.read_only_risks import ReadOnlyRisk, ReadOnlyRiskKind
from db.workbench.catalogue.reader import MAX_COLUMNS, CatalogueReader
from db.workbench.catalogue.rows import ColumnRow, SchemaRow, TableKind, TableRow

__all__ = [
    "MAX_COLUMNS",
    "CatalogueReader",
    "ColumnRow",
    "ReadOnlyRisk",
    "ReadOnlyRiskKind",
    "SchemaRow",
    "TableKind",
    "TableRow",
]
