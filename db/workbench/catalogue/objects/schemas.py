"""Schemas of a database."""

from typing import NamedTuple
from uuid import UUID

from db.workbench.catalogue.objects.kinds import IS_SHOWN_SCHEMA, ObjectKind, in_keys


class SchemaRow(NamedTuple):
    id: UUID
    connection_id: UUID
    name: str
    comment: str | None
    owner: str

    @property
    def key(self) -> tuple[str, ...]:
        return (self.name,)


_ITEMS = f"""
SELECT 0::bigint AS parent, n.nspname::text COLLATE "C" AS name, n.oid::bigint AS id,
       obj_description(n.oid, 'pg_namespace') AS comment, pg_get_userbyid(n.nspowner)::text
FROM pg_namespace AS n WHERE {IS_SHOWN_SCHEMA}
"""  # noqa: S608 - constants
_OF_DATABASE = "$1::bigint[] IS NOT NULL"
EVERY_SCHEMA = ObjectKind("schemas", SchemaRow, _ITEMS, _OF_DATABASE, in_keys("n.nspname"))
SCHEMAS = ObjectKind(
    "schemas",
    SchemaRow,
    _ITEMS,
    f"{_OF_DATABASE} AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'",
    in_keys("n.nspname"),
)
"""Without the schemas of PostgreSQL itself, to which the prefix `pg_` is reserved."""
