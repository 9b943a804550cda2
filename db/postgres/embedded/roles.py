"""The role of the application, which owns its database and is no superuser.

A statement that a bug let in could otherwise read files and run programs of the server's account.
The superuser makes the role, and installs amcheck for the integrity check.
"""

import asyncpg

from db.postgres.embedded.cluster import APPLICATION, NAME

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
        await connection.execute("CREATE EXTENSION IF NOT EXISTS amcheck")
        await connection.execute(
            f"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO {APPLICATION}"
        )
