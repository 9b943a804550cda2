"""Sequences of a schema."""

from typing import NamedTuple
from uuid import UUID

from db.workbench.catalogue.objects.kinds import ObjectKind, in_keys


class SequenceRow(NamedTuple):
    """`table_schema`, `table_name` and `column_name` are those of the column that owns it."""

    id: UUID
    connection_id: UUID
    name: str
    schema_name: str
    data_type: str
    start_value: int
    increment: int
    min_value: int
    max_value: int
    cache_size: int
    is_cycled: bool
    last_value: int | None
    owner: str
    table_schema: str | None
    table_name: str | None
    column_name: str | None
    comment: str | None

    @property
    def key(self) -> tuple[str, ...]:
        return (self.schema_name, self.name)


# As the view pg_sequences does: pg_sequence_last_value() fails without the privilege.
_ITEMS = """
SELECT c.relnamespace::bigint AS parent, c.relname::text COLLATE "C" AS name, c.oid::bigint AS id,
       n.nspname::text AS schema, format_type(s.seqtypid, NULL), s.seqstart, s.seqincrement,
       s.seqmin, s.seqmax, s.seqcache, s.seqcycle,
       CASE WHEN has_sequence_privilege(c.oid, 'SELECT,USAGE')
         THEN pg_sequence_last_value(c.oid::regclass) END,
       pg_get_userbyid(c.relowner)::text, tn.nspname::text, t.relname::text, a.attname::text,
       d.description
FROM pg_class AS c
JOIN pg_sequence AS s ON s.seqrelid = c.oid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_depend AS o
  ON o.classid = 'pg_class'::regclass AND o.objid = c.oid AND o.objsubid = 0
  AND o.refclassid = 'pg_class'::regclass AND o.refobjsubid > 0 AND o.deptype IN ('a', 'i')
LEFT JOIN pg_class AS t ON t.oid = o.refobjid
LEFT JOIN pg_namespace AS tn ON tn.oid = t.relnamespace
LEFT JOIN pg_attribute AS a ON a.attrelid = o.refobjid AND a.attnum = o.refobjsubid
LEFT JOIN pg_description AS d
  ON d.objoid = c.oid AND d.classoid = 'pg_class'::regclass AND d.objsubid = 0
WHERE c.relkind = 'S'
"""
SEQUENCES = ObjectKind(
    "sequences",
    SequenceRow,
    _ITEMS,
    "c.relnamespace = ANY($1::bigint[]::oid[])",
    in_keys("n.nspname", "c.relname"),
)
