"""Runs statements on the system catalogue of a user's database, with a time limit."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import msgspec

from db.errors import TimedOut, TooLarge, Unavailable

if TYPE_CHECKING:  # psycopg is imported with the first connection
    import psycopg

    from db.workbench.connections.libpq import Connection

T = TypeVar("T")
Fetch: TypeAlias = Callable[[str, Sequence[Any]], Awaitable[Sequence[Any]]]
"""Runs one statement on the database and returns its rows."""

CHUNK_ROWS = 500
"""Rows that libpq buffers at once in a catalogue of limited size."""

# A database may have functions and operators that fit the types of our statements better than those
# of PostgreSQL, and its owner may set a search path in which other objects hide them. So statements
# are parsed with the schema of PostgreSQL alone. What they print depends on the path, so that the
# one of the role is set when they are executed, behind that schema.
_ONLY_POSTGRES = "SET LOCAL search_path = pg_catalog, pg_temp"
_BEGIN = f"""
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SET LOCAL jit = off; -- it takes longer than the statements
SET LOCAL statement_timeout = {{:.0f}};
SELECT pg_catalog.set_config('howdah.search_path', pg_catalog.concat('pg_catalog',
  pg_catalog.regexp_replace(pg_catalog.current_setting('search_path'), '^ *(?=[^ ])', ', ')), true);
{_ONLY_POSTGRES}
"""
# The condition depends on no row, so that PostgreSQL evaluates it before the first one, and OFFSET
# keeps it outside of the statement.
_IN_PATH = """SELECT * FROM ({}
OFFSET 0) AS found WHERE (SELECT pg_catalog.set_config(
  'search_path', pg_catalog.current_setting('howdah.search_path'), true)) IS NOT NULL"""


async def read_catalogue(
    connection: "Connection",
    read: Callable[[Fetch], Awaitable[T]],
    timeout_s: float,
    *,
    in_path: bool = True,
    max_bytes: int | None = None,
) -> T:
    """Calls `read` within one read-only transaction, whose statements see the same catalogue.

    Statements find objects of PostgreSQL only. Names are printed as the search path of the role
    requires; without `in_path` with their schema. The rows of one statement may have
    `ReadBudget.row_bytes`, or all together `max_bytes`.

    Raises:
        TimedOut: The database did not answer within `timeout_s`.
        TooLarge: It returned more than is allowed.
        Unavailable: It refused a statement, or the connection was lost.
    """
    from db.workbench.connections.libpq import abort_after, command, fetch_rows

    # The server's timeout comes first; the second one is for a server that does not answer.
    with _translate_errors(timeout_s), abort_after(connection, timeout_s + 1):
        await command(connection, _BEGIN.format(timeout_s * 1000))
        is_first = True

        async def fetch(sql: str, values: Sequence[Any]) -> Sequence[Any]:
            nonlocal is_first
            if in_path and not is_first:
                await command(connection, _ONLY_POSTGRES)
            is_first = False
            wrapped = _IN_PATH.format(sql) if in_path else sql
            if max_bytes is not None:
                return await _fetch_within(connection, wrapped, values, max_bytes)
            return await fetch_rows(connection, wrapped, values)

        found = await read(fetch)
        await command(connection, "ROLLBACK")  # nothing was written
        return found


@contextlib.contextmanager
def _translate_errors(timeout_s: float) -> Iterator[None]:
    from psycopg import Error, OperationalError

    from db.workbench.connections.bounds.read_budget import (
        RowTooLarge,
        TooManySettings,
        UnexpectedRows,
    )

    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        yield
    except RowTooLarge:
        raise _too_large() from None
    except (
        *(ArithmeticError, LookupError, TypeError, ValueError, RecursionError),
        *(msgspec.MsgspecError, TooManySettings, UnexpectedRows),
    ):
        raise Unavailable(
            "The database did not return its catalogue in the form of PostgreSQL.",
            hint="Check host and port of the connection: this is no ordinary PostgreSQL server.",
        ) from None
    except OperationalError as error:
        has_timed_out = loop.time() - began >= timeout_s
        raise (_timed_out(timeout_s) if has_timed_out else _interrupted(error)) from None
    except Error as error:
        raise _refused(error) from None


def _timed_out(timeout_s: float) -> TimedOut:
    return TimedOut(
        f"The database did not return its catalogue within {timeout_s:.0f} seconds.",
        hint="Request fewer schemas, tables or columns at once, or try again later.",
    )


def _interrupted(error: "psycopg.OperationalError") -> Unavailable:
    """Another session ended the statement, or the server did: it stops, or lacks resources."""
    reason = error.diag.message_primary or "the connection was lost or closed"
    return Unavailable(
        f"The database did not return its catalogue: {reason}.",
        hint="Try again in a moment. Ask the administrator of the database if it happens again.",
        retry_after_s=1,
        postgres=_reported(error),
    )


def _refused(error: "psycopg.Error") -> Unavailable:
    return Unavailable(
        "The database refused to return its catalogue: "
        f"{error.diag.message_primary or type(error).__name__}.",
        hint="Grant the role of the connection the right to read the schema `pg_catalog`.",
        postgres=_reported(error),
    )


def _reported(error: "psycopg.Error") -> dict[str, str | None] | None:
    """What the server reported, if it did."""
    if error.sqlstate is None:
        return None
    return {
        "sqlstate": error.sqlstate,
        "severity": error.diag.severity_nonlocalized or error.diag.severity,
        "detail": error.diag.message_detail,
        "hint": error.diag.message_hint,
    }


async def _fetch_within(
    connection: "Connection", sql: str, values: Sequence[Any], max_bytes: int
) -> Sequence[Any]:
    """Receives the rows in chunks. The server belongs to the user and may send any number."""
    from db.workbench.connections.bounds.read_budget import size_of_rows
    from db.workbench.connections.libpq import stream_rows

    found: list[Any] = []
    size = 0
    async for row in stream_rows(connection, sql, values, chunk_rows=CHUNK_ROWS):
        size += size_of_rows([row])
        if size > max_bytes:
            connection.finish()
            raise _too_large()
        found.append(row)
    return found


def _too_large() -> TooLarge:
    return TooLarge(
        "The catalogue of the database is too large to be read at once.",
        hint="Read fewer objects at once: browse it page by page.",
    )
