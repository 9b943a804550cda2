"""Statements on the catalogue of a user's database, and the errors with which they end."""

import pytest

from db.errors import HowdahError, TimedOut, TooLarge, Unavailable
from db.workbench.catalogue.fetching import Fetch, read_catalogue
from tests.fixtures.runs import Desk


@pytest.mark.parametrize(
    ("statement", "timeout_s", "expected", "sqlstate"),
    [
        ("SELECT pg_sleep(60)", 0.2, TimedOut, None),
        ("SELECT pg_cancel_backend(pg_backend_pid())", 60.0, Unavailable, "57014"),
        ("SELECT pg_terminate_backend(pg_backend_pid())", 60.0, Unavailable, "57P01"),
        ("DO 'BEGIN RAISE SQLSTATE ''53200''; END'", 60.0, Unavailable, "53200"),
        ("SELECT 1 / 0", 60.0, Unavailable, "22012"),
    ],
)
async def test_failed_statement_has_the_code_of_its_cause(
    desk: Desk,
    statement: str,
    timeout_s: float,
    expected: type[HowdahError],
    sqlstate: str | None,
) -> None:
    async def read(fetch: Fetch) -> object:
        return await fetch(statement, [])

    async with desk.server.workbench.lend(desk.owner, desk.connection_id) as connection:
        with pytest.raises(expected) as caught:
            await read_catalogue(connection, read, timeout_s, in_path=False)
    assert (caught.value.postgres or {}).get("sqlstate") == sqlstate


@pytest.mark.parametrize("value", ["NULL", "1", "ARRAY[1]"])
async def test_rows_without_text_take_memory_too(desk: Desk, value: str) -> None:
    statement = f"SELECT {value} FROM generate_series(1, 100000)"  # noqa: S608 - a constant

    async def read(fetch: Fetch) -> object:
        return await fetch(statement, [])

    async with desk.server.workbench.lend(desk.owner, desk.connection_id) as connection:
        with pytest.raises(TooLarge):
            await read_catalogue(connection, read, 60.0, max_bytes=1_000_000)


async def test_lost_connection_is_no_timeout(desk: Desk) -> None:
    async with desk.server.workbench.lend(desk.owner, desk.connection_id) as connection:

        async def read(fetch: Fetch) -> object:
            connection.cut()  # as when it is closed or deleted
            return await fetch("SELECT 1", [])

        with pytest.raises(Unavailable):
            await read_catalogue(connection, read, 60.0)
