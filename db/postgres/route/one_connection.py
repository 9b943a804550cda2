"""A connection to Howdah's own database for one task of a command, without a pool."""

import contextlib
from collections.abc import AsyncIterator

import asyncpg

from db.postgres.route.connect import (
    FAILURES,
    REFUSALS,
    connect,
    connection_error,
    translate_error,
)
from db.postgres.route.urls import parse_url


@contextlib.asynccontextmanager
async def open_connection(
    url: str, *, application_name: str, statement_timeout_ms: int = 60_000
) -> AsyncIterator[asyncpg.Connection]:
    """Connects in one attempt, and closes the connection at the end of the block.

    Raises:
        HowdahError: The database cannot be reached, or it fails within the block.
    """
    to = parse_url(url)
    try:
        connection = await connect(
            to, application_name=application_name, statement_timeout_ms=statement_timeout_ms
        )
    except REFUSALS as error:
        raise connection_error(error, to) from error
    try:
        yield connection
    except FAILURES as error:
        if (translated := translate_error(error, connection)) is None:
            raise
        raise translated from error
    finally:
        await connection.close()
