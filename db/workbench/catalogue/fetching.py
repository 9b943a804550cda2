"""Runs statements on the system catalogue of a user's database, with a time limit."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from db.errors import TimedOut, Unavailable

if TYPE_CHECKING:  # psycopg is imported with the first connection
    from db.workbench.connections.libpq import Connection

Fetch: TypeAlias = Callable[[str, Sequence[Any]], Awaitable[Sequence[Any]]]
"""Runs one statement on the database and returns its rows."""

_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = {:.0f}"


async def read_catalogue(
    connection: "Connection", read: Callable[[Fetch], Awaitable[Any]], timeout_s: float
) -> Any:
    """Calls `read` within one read-only transaction, whose statements see the same catalogue.

    Raises:
        TimedOut: The database did not answer within `timeout_s`.
        Unavailable: It refused a statement.
    """
    from psycopg import AsyncRawCursor, Error, OperationalError  # a driver, imported at first use
    from psycopg.errors import QueryCanceled

    from db.workbench.connections.libpq import abort_after, command

    try:
        # The server's timeout comes first; the second one is for a server that does not answer.
        with abort_after(connection, timeout_s + 1):
            await command(connection, _BEGIN.format(timeout_s * 1000))
            async with AsyncRawCursor(connection) as cursor:

                async def fetch(sql: str, values: Sequence[Any]) -> Sequence[Any]:
                    await cursor.execute(sql, values)
                    return await cursor.fetchall()

                found = await read(fetch)
            await command(connection, "ROLLBACK")  # nothing was written
            return found
    except (QueryCanceled, OperationalError):
        raise TimedOut(
            f"The database did not return its catalogue within {timeout_s:.0f} seconds.",
            hint="Request fewer schemas, tables or columns at once, or try again later.",
        ) from None
    except Error as error:
        raise Unavailable(
            "The database refused to return its catalogue: "
            f"{error.diag.message_primary or type(error).__name__}.",
            hint="Grant the role of the connection the right to read the schema `pg_catalog`.",
        ) from None
