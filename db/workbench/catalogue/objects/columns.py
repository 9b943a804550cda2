"""Columns of tables, and attributes of composite types."""

from enum import StrEnum
from typing import Annotated, NamedTuple
from uuid import UUID

import msgspec

from db.workbench.catalogue.objects.kinds import ObjectKind, in_keys


class ColumnIdentity(StrEnum):
    """The values are those of `pg_attribute.attidentity`."""

    ALWAYS = "a"
    BY_DEFAULT = "d"


class ColumnGeneration(StrEnum):
    """The values are those of `pg_attribute.attgenerated`."""

    STORED = "s"
    VIRTUAL = "v"


class ColumnRow(NamedTuple):
    """`id` holds the OID of the relation and the number of the column: columns have no OID."""

    id: UUID
    connection_id: UUID
    name: str
    schema_name: str
    table_name: str
    position: Annotated[int, msgspec.Meta(ge=1, le=2**15)]
    type: str
    nullable: bool
    expression: str | None
    is_primary_key: bool
    references: str | None
    comment: str | None
    identity: ColumnIdentity | None
    generated: ColumnGeneration | None
    collation: str | None

    @property
    def key(self) -> tuple[str, ...]:
        return (self.schema_name, self.table_name, self.name)

    @property
    def default(self) -> str | None:
        """Also the expression of a generated column."""
        return self.expression


_ITEMS = """
SELECT a.attrelid::bigint AS parent, a.attname::text COLLATE "C" AS name,
       (a.attrelid::bigint << 16) + a.attnum AS id, n.nspname::text AS schema,
       c.relname::text AS table, a.attnum::int AS position,
       format_type(a.atttypid, a.atttypmod), NOT a.attnotnull,
       pg_get_expr(d.adbin, d.adrelid), coalesce(k.is_key, false), k.target, s.description,
       nullif(a.attidentity, '')::text, nullif(a.attgenerated, '')::text,
       CASE WHEN a.attcollation <> t.typcollation THEN a.attcollation::regcollation::text END
FROM pg_attribute AS a
JOIN pg_class AS c ON c.oid = a.attrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_type AS t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
LEFT JOIN pg_description AS s
  ON s.objoid = a.attrelid AND s.classoid = 'pg_class'::regclass AND s.objsubid = a.attnum
LEFT JOIN LATERAL (
  SELECT bool_or(contype = 'p') AS is_key,
         min(confrelid::regclass::text) FILTER (WHERE contype = 'f') AS target
  FROM pg_constraint WHERE conrelid = a.attrelid AND a.attnum = ANY(conkey)
) AS k ON true
WHERE a.attnum > 0 AND NOT a.attisdropped
"""
COLUMNS = ObjectKind(
    "columns",
    ColumnRow,
    _ITEMS,
    "a.attrelid = ANY($1::bigint[]::oid[])",
    in_keys("n.nspname", "c.relname", "a.attname"),
    order="position",
)
