"""Constraints of tables, with foreign keys in both directions."""

from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from db.kit.base import sql_list
from db.workbench.catalogue.objects.kinds import ObjectKind, in_keys


class ConstraintKind(StrEnum):
    """The values are those of `pg_constraint.contype`."""

    CHECK = "c"
    EXCLUSION = "x"
    FOREIGN_KEY = "f"
    PRIMARY_KEY = "p"
    UNIQUE = "u"


class ForeignKeyAction(StrEnum):
    """The values are those of `pg_constraint.confupdtype` and `confdeltype`."""

    NO_ACTION = "a"
    RESTRICT = "r"
    CASCADE = "c"
    SET_NULL = "n"
    SET_DEFAULT = "d"


class ConstraintRow(NamedTuple):
    id: UUID
    connection_id: UUID
    name: str
    schema_name: str
    table_name: str
    kind: ConstraintKind
    columns: list[str]
    clause: str
    is_deferrable: bool
    is_initially_deferred: bool
    is_validated: bool
    comment: str | None
    referenced_schema: str | None
    referenced_name: str | None
    referenced_columns: list[str] | None
    on_update: ForeignKeyAction | None
    on_delete: ForeignKeyAction | None

    @property
    def key(self) -> tuple[str, ...]:
        return (self.schema_name, self.table_name, self.name)


_COLUMNS = """ARRAY(
  SELECT a.attname::text FROM unnest(k.{key}) WITH ORDINALITY AS part(number, position)
  JOIN pg_attribute AS a ON a.attrelid = k.{table} AND a.attnum = part.number
  ORDER BY part.position)"""
_ITEMS = """
SELECT k.{parent}::bigint AS parent, k.conname::text COLLATE "C" AS name, k.oid::bigint AS id,
       n.nspname::text AS schema, c.relname::text AS table, k.contype::text AS kind, {columns},
       pg_get_constraintdef(k.oid), k.condeferrable, k.condeferred, k.convalidated, d.description,
       target_n.nspname::text, target.relname::text,
       CASE WHEN k.contype = 'f' THEN {referenced} END,
       CASE WHEN k.contype = 'f' THEN k.confupdtype::text END,
       CASE WHEN k.contype = 'f' THEN k.confdeltype::text END
FROM pg_constraint AS k
JOIN pg_class AS c ON c.oid = k.conrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_class AS target ON target.oid = k.confrelid
LEFT JOIN pg_namespace AS target_n ON target_n.oid = target.relnamespace
LEFT JOIN pg_description AS d ON d.objoid = k.oid AND d.classoid = 'pg_constraint'::regclass
WHERE k.contype IN {kinds}
"""
_NAMED = in_keys("n.nspname", "c.relname", "k.conname")


def _items(parent: str) -> str:
    return _ITEMS.format(
        parent=parent,
        columns=_COLUMNS.format(key="conkey", table="conrelid"),
        referenced=_COLUMNS.format(key="confkey", table="confrelid"),
        kinds=sql_list(ConstraintKind),
    )


CONSTRAINTS = ObjectKind(
    "constraints",
    ConstraintRow,
    _items("conrelid"),
    "k.conrelid = ANY($1::bigint[]::oid[])",
    _NAMED,
)
REFERENCING = ObjectKind(
    "foreign keys",
    ConstraintRow,
    _items("confrelid"),
    "k.contype = 'f' AND k.conparentid = 0 AND k.confrelid = ANY($1::bigint[]::oid[])",
    _NAMED,
)
"""Foreign keys by the table that they reference, without those that partitions inherit."""
