"""The catalogue of a user's database: schemas, tables, functions and all that belongs to them.

objects         the kinds of objects: rows and SQL of each
reader          lists and finds objects, with one statement for each level of a query
snapshot        what completion and search need of a whole database
snapshot_cache  keeps the snapshots of the databases that are in use
run_changes     marks a catalogue as changed after the runs that change it
"""

from db.workbench.catalogue.read_only_risks import ReadOnlyRisk, ReadOnlyRiskKind
from db.workbench.catalogue.reader import DATABASE, MAX_COLUMNS, CatalogueReader

__all__ = [
    "DATABASE",
    "MAX_COLUMNS",
    "CatalogueReader",
    "ReadOnlyRisk",
    "ReadOnlyRiskKind",
]
