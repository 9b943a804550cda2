"""The role of the application, which owns its database and is no superuser.

A statement that a bug let in could otherwise read files and run programs of the server's account.
The superuser makes the role, and installs amcheck for the integrity check.
"""

import asyncpg

from db.postgres.embedded.cluster import APPLICATION, NAME

# A cluster of an earlier version: everything belongs to the superuser. REASSIGN OWNED refuses the
# first superuser of a cluster, and ALTER TABLE is for sequences and views too.
_TAKE_OVER = f"""
DO $$
DECLARE found record;
BEGIN
  FOR found IN SELECT oid::regclass AS name FROM pg_class AS c
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S')
      AND relowner = '{NAME}'::regrole AND NOT EXISTS (
        SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid
          AND deptype IN ('a', 'e', 'i'))
  LOOP EXECUTE format('ALTER TABLE %s OWNER TO {APPLICATION}', found.name); END LOOP;
  FOR found IN SELECT oid::regprocedure AS name FROM pg_proc AS p
    WHERE pronamespace = 'public'::regnamespace AND proowner = '{NAME}'::regrole
      AND NOT EXISTS (
        SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = p.oid
          AND deptype = 'e')
  LOOP EXECUTE format('ALTER ROUTINE %s OWNER TO {APPLICATION}', found.name); END LOOP;
END $$
"""  # noqa: S608 - constants
_HAS_ROLE = "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)"

OWNS_DATABASE = """
SELECT pg_get_userbyid(datdba) = current_user FROM pg_database WHERE datname = current_database()
"""


async def prepare_application_role(
    connection: "asyncpg.Connection[asyncpg.Record]", password: str
) -> None:
    """Makes the role and gives it the database; may be repeated. `connection` is a superuser's."""
    quoted = password.replace("'", "''")
    async with connection.transaction():
        if not await connection.fetchval(_HAS_ROLE, APPLICATION):
            await connection.execute(f"CREATE ROLE {APPLICATION} LOGIN")
        await connection.execute(f"ALTER ROLE {APPLICATION} PASSWORD '{quoted}'")
        await connection.execute(f"ALTER DATABASE {NAME} OWNER TO {APPLICATION}")
        await connection.execute(_TAKE_OVER)
        await connection.execute("CREATE EXTENSION IF NOT EXISTS amcheck")
        await connection.execute(
            f"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO {APPLICATION}"
        )
