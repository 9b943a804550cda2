"""Reads the settings of a PgBouncer in front of Howdah's own database.

Its console answers simple queries only, which asyncpg cannot read rows of.
"""

import asyncio
from collections.abc import Mapping

import psycopg
from psycopg.conninfo import make_conninfo

TIMEOUT_S = 3


async def read_pgbouncer_settings(dsn: str) -> Mapping[str, str]:
    """The settings by name. Empty if the pooler is another one, or does not show them to the user.

    They are shown to the users in PgBouncer's `admin_users` and `stats_users`.
    """
    try:
        async with asyncio.timeout(TIMEOUT_S):
            connection = await psycopg.AsyncConnection.connect(
                make_conninfo(dsn, dbname="pgbouncer"), autocommit=True
            )
            async with connection:
                rows = await (await connection.execute("SHOW CONFIG")).fetchall()
    except (psycopg.Error, OSError):
        return {}
    return {str(name): str(value) for name, value, *_ in rows}
