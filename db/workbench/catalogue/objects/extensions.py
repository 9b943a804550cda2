"""Extensions that are installed in a database."""

from typing import NamedTuple
from uuid import UUID

from db.workbench.catalogue.objects.kinds import ObjectKind, in_keys


class ExtensionRow(NamedTuple):
    id: UUID
    connection_id: UUID
    name: str
    version: str
    schema_name: str
    owner: str
    comment: str | None

    @property
    def key(self) -> tuple[str, ...]:
        return (self.name,)


_ITEMS = """
SELECT 0::bigint AS parent, e.extname::text COLLATE "C" AS name, e.oid::bigint AS id,
       e.extversion, n.nspname::text AS schema, pg_get_userbyid(e.extowner)::text, d.description
FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace
LEFT JOIN pg_description AS d ON d.objoid = e.oid AND d.classoid = 'pg_extension'::regclass
WHERE true
"""
EXTENSIONS = ObjectKind(
    "extensions", ExtensionRow, _ITEMS, "$1::bigint[] IS NOT NULL", in_keys("e.extname")
)
