"""Indexes of tables."""

from typing import NamedTuple
from uuid import UUID

from db.workbench.catalogue.objects.kinds import ObjectKind, in_keys


class IndexRow(NamedTuple):
    """An item of `columns` is a name or an expression."""

    id: UUID
    connection_id: UUID
    name: str
    schema_name: str
    table_name: str
    method: str
    columns: list[str]
    included_columns: list[str]
    predicate: str | None
    is_unique: bool
    is_primary_key: bool
    is_valid: bool
    comment: str | None

    @property
    def key(self) -> tuple[str, ...]:
        return (self.schema_name, self.name)


_COLUMNS = """ARRAY(SELECT pg_get_indexdef(i.indexrelid, number, true)
  FROM generate_series({}, {}) AS number ORDER BY number)"""
_ITEMS = f"""
SELECT i.indrelid::bigint AS parent, c.relname::text COLLATE "C" AS name, c.oid::bigint AS id,
       n.nspname::text AS schema, t.relname::text AS table, m.amname::text,
       {_COLUMNS.format(1, "i.indnkeyatts")}, {_COLUMNS.format("i.indnkeyatts + 1", "i.indnatts")},
       pg_get_expr(i.indpred, i.indrelid, true), i.indisunique, i.indisprimary, i.indisvalid,
       d.description
FROM pg_index AS i
JOIN pg_class AS c ON c.oid = i.indexrelid
JOIN pg_class AS t ON t.oid = i.indrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_am AS m ON m.oid = c.relam
LEFT JOIN pg_description AS d
  ON d.objoid = c.oid AND d.classoid = 'pg_class'::regclass AND d.objsubid = 0
WHERE t.relkind <> 't'
"""  # noqa: S608 - constants
INDEXES = ObjectKind(
    "indexes",
    IndexRow,
    _ITEMS,
    "i.indrelid = ANY($1::bigint[]::oid[])",
    in_keys("n.nspname", "c.relname"),
)
