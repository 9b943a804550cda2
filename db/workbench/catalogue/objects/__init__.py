"""The kinds of objects in the catalogue of a user's database: rows, enums and SQL of each.

kinds       how the objects of any kind are listed and found
privileges  what the role may do with an object
"""

from db.workbench.catalogue.objects.columns import ColumnGeneration, ColumnIdentity, ColumnRow
from db.workbench.catalogue.objects.constraints import (
    ConstraintKind,
    ConstraintRow,
    ForeignKeyAction,
)
from db.workbench.catalogue.objects.extensions import ExtensionRow
from db.workbench.catalogue.objects.functions import FunctionKind, FunctionRow, FunctionVolatility
from db.workbench.catalogue.objects.indexes import IndexRow
from db.workbench.catalogue.objects.kinds import CatalogueRow, ObjectFact, ObjectKind, Oid
from db.workbench.catalogue.objects.privileges import DatabasePrivilege
from db.workbench.catalogue.objects.rules import (
    PolicyCommand,
    PolicyRow,
    TriggerEvent,
    TriggerFiring,
    TriggerRow,
    TriggerTiming,
)
from db.workbench.catalogue.objects.schemas import SchemaRow
from db.workbench.catalogue.objects.sequences import SequenceRow
from db.workbench.catalogue.objects.tables import TableDetails, TableKind, TableRow
from db.workbench.catalogue.objects.types import DatabaseTypeKind, TypeRow

__all__ = [
    "CatalogueRow",
    "ColumnGeneration",
    "ColumnIdentity",
    "ColumnRow",
    "ConstraintKind",
    "ConstraintRow",
    "DatabasePrivilege",
    "DatabaseTypeKind",
    "ExtensionRow",
    "ForeignKeyAction",
    "FunctionKind",
    "FunctionRow",
    "FunctionVolatility",
    "IndexRow",
    "ObjectFact",
    "ObjectKind",
    "Oid",
    "PolicyCommand",
    "PolicyRow",
    "SchemaRow",
    "SequenceRow",
    "TableDetails",
    "TableKind",
    "TableRow",
    "TriggerEvent",
    "TriggerFiring",
    "TriggerRow",
    "TriggerTiming",
    "TypeRow",
]
