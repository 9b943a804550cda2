"""What keeps a role from migrating the database. Asks the catalog and changes nothing."""

from collections.abc import Collection

from db.postgres.route.one_connection import open_connection

_EXTENSIONS = ("pg_trgm", "btree_gin")
_RIGHTS = """
SELECT current_user::text AS role, current_schema()::text AS schema,
       coalesce(has_schema_privilege(current_schema()::text, 'CREATE'), false) AS may_create,
       array(SELECT relname::text FROM pg_class
             WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'
               AND relname = ANY($1) AND NOT pg_has_role(relowner, 'USAGE')
             ORDER BY relname) AS of_others,
       array(SELECT name FROM unnest($2::text[]) AS needed (name)
             WHERE NOT EXISTS (SELECT FROM pg_extension WHERE extname = name)
               AND NOT has_database_privilege(current_database(), 'CREATE')) AS extensions
"""


async def find_missing_rights(direct_url: str, tables: Collection[str]) -> list[str]:
    """What the user of `direct_url` may not do, of what migrations of `tables` need.

    Raises:
        HowdahError: the database cannot be asked.
    """
    async with open_connection(direct_url, application_name="howdah rights") as connection:
        [found] = await connection.fetch(_RIGHTS, list(tables), list(_EXTENSIONS))
    role, schema, may_create, of_others, extensions = found
    missing = []
    if not may_create:
        missing.append(f"{role} may not create tables in the schema {schema or '(none)'}.")
    if of_others:
        missing.append(f"{role} does not own all tables: {', '.join(of_others)}.")
    if extensions:
        missing.append(f"{role} may not create the extensions {', '.join(extensions)}.")
    return missing
