"""Types of a schema, without array types and the row types of tables."""

from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from db.workbench.catalogue.objects.kinds import ObjectKind, Oid, in_keys


class DatabaseTypeKind(StrEnum):
    """The values are those of `pg_type.typtype`."""

    BASE = "b"
    COMPOSITE = "c"
    DOMAIN = "d"
    ENUM = "e"
    MULTIRANGE = "m"
    PSEUDO = "p"
    RANGE = "r"


class TypeRow(NamedTuple):
    """`relation_oid` is that of the relation with the attributes of a composite type."""

    id: UUID
    connection_id: UUID
    name: str
    schema_name: str
    kind: DatabaseTypeKind
    comment: str | None
    owner: str
    relation_oid: Oid
    labels: list[str] | None
    base_type: str | None
    nullable: bool
    default: str | None
    checks: list[str]
    subtype: str | None

    @property
    def key(self) -> tuple[str, ...]:
        return (self.schema_name, self.name)


_ITEMS = """
SELECT t.typnamespace::bigint AS parent, t.typname::text COLLATE "C" AS name, t.oid::bigint AS id,
       n.nspname::text AS schema, t.typtype::text AS kind, d.description,
       pg_get_userbyid(t.typowner)::text, t.typrelid::bigint,
       CASE WHEN t.typtype = 'e' THEN ARRAY(
         SELECT e.enumlabel::text FROM pg_enum AS e WHERE e.enumtypid = t.oid
         ORDER BY e.enumsortorder) END,
       CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod) END,
       NOT t.typnotnull, t.typdefault,
       ARRAY(SELECT pg_get_constraintdef(k.oid) FROM pg_constraint AS k
             WHERE k.contypid = t.oid AND k.contype = 'c' ORDER BY k.conname),
       format_type(r.rngsubtype, NULL)
FROM pg_type AS t
JOIN pg_namespace AS n ON n.oid = t.typnamespace
LEFT JOIN pg_class AS c ON c.oid = t.typrelid
LEFT JOIN pg_type AS element ON element.typarray = t.oid
LEFT JOIN pg_range AS r ON r.rngtypid = t.oid
LEFT JOIN pg_description AS d
  ON d.objoid = t.oid AND d.classoid = 'pg_type'::regclass AND d.objsubid = 0
WHERE element.oid IS NULL AND (c.oid IS NULL OR c.relkind = 'c')
"""
TYPES = ObjectKind(
    "types",
    TypeRow,
    _ITEMS,
    "t.typnamespace = ANY($1::bigint[]::oid[])",
    in_keys("n.nspname", "t.typname"),
)
