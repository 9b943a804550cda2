"""The catalogue of a user's database: its schemas, tables and columns.

reader          the objects of one level, with one statement
snapshot        what completion and search need of a whole database
snapshot_cache  keeps the snapshots of the databases that are in use
run_changes     marks a catalogue as changed after the runs that change it
"""

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
