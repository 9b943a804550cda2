"""Tables, views, materialized views and foreign tables of a schema."""

from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from db.kit.base import sql_list
from db.workbench.catalogue.objects.kinds import ObjectFact, ObjectKind, in_keys


class TableKind(StrEnum):
    """The values are those of `pg_class.relkind`."""

    TABLE = "r"
    PARTITIONED_TABLE = "p"
    VIEW = "v"
    MATERIALIZED_VIEW = "m"
    FOREIGN_TABLE = "f"


class TableRow(NamedTuple):
    id: UUID
    connection_id: UUID
    name: str
    schema_name: str
    kind: TableKind
    comment: str | None
    row_estimate: int | None

    @property
    def key(self) -> tuple[str, ...]:
        return (self.schema_name, self.name)


class TableDetails(NamedTuple):
    """What only single tables are asked for. `parent` is the key of the partitioned table."""

    owner: str
    has_row_security: bool
    partition_key: str | None
    partition_bound: str | None
    parent_schema: str | None
    parent_name: str | None


_ITEMS = """
SELECT {parent}::bigint AS parent, c.relname::text COLLATE "C" AS name, c.oid::bigint AS id,
       n.nspname::text AS schema, c.relkind::text AS kind, description AS comment,
       CASE WHEN c.relkind = 'v' OR c.reltuples < 0 THEN NULL ELSE c.reltuples::bigint END AS rows
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace {joined}
LEFT JOIN pg_description AS d
  ON d.objoid = c.oid AND d.classoid = 'pg_class'::regclass AND d.objsubid = 0
WHERE c.relkind IN {kinds}
"""
# The comments are joined: obj_description() is called for each row, and takes 90 % of the time.
_KINDS = sql_list(TableKind)
_NAMED = in_keys("n.nspname", "c.relname")
TABLES = ObjectKind(
    "tables",
    TableRow,
    _ITEMS.format(parent="c.relnamespace", joined="", kinds=_KINDS),
    "c.relnamespace = ANY($1::bigint[]::oid[])",
    _NAMED,
)
PARTITIONS = ObjectKind(
    "partitions",
    TableRow,
    _ITEMS.format(
        parent="i.inhparent", joined="JOIN pg_inherits AS i ON i.inhrelid = c.oid", kinds=_KINDS
    ),
    "c.relispartition AND i.inhparent = ANY($1::bigint[]::oid[])",
    _NAMED,
)
DETAILS: ObjectFact[TableDetails] = ObjectFact(
    """
SELECT c.oid::bigint, pg_get_userbyid(c.relowner)::text, c.relrowsecurity,
       CASE WHEN c.relkind = 'p' THEN pg_get_partkeydef(c.oid) END,
       CASE WHEN c.relispartition THEN pg_get_expr(c.relpartbound, c.oid) END,
       n.nspname::text, parent.relname::text
FROM pg_class AS c
LEFT JOIN pg_inherits AS i ON i.inhrelid = c.oid AND c.relispartition
LEFT JOIN pg_class AS parent ON parent.oid = i.inhparent
LEFT JOIN pg_namespace AS n ON n.oid = parent.relnamespace
WHERE c.oid = ANY($1::bigint[]::oid[])
""",
    TableDetails,
)
QUERIES: ObjectFact[str | None] = ObjectFact(
    """
SELECT oid::bigint, pg_get_viewdef(oid, true) FROM pg_class
WHERE oid = ANY($1::bigint[]::oid[]) AND relkind IN ('v', 'm')
""",
    str | None,
)
SIZES: ObjectFact[int | None] = ObjectFact(
    """
SELECT oid::bigint, pg_total_relation_size(oid) FROM pg_class
WHERE oid = ANY($1::bigint[]::oid[]) AND relkind NOT IN ('v', 'f')
""",
    int | None,
)
"""Sizes of tables with their indexes and TOAST, and of indexes. Waits for a locked one."""
