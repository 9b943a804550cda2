"""The gathered form of each statement: PostgreSQL accepts it, and it returns the same columns."""

from typing import Any

import asyncpg

from db.postgres.gathering.gathered_sql import gather_statement
from tests.fixtures.statements import every_statement


async def types_of(connection: asyncpg.Connection, sql: str) -> list[Any]:
    """Of the columns."""
    return [found.type for found in (await connection.prepare(sql)).get_attributes()]


async def test_gathered_form_of_every_statement_is_valid(observer: asyncpg.Connection) -> None:
    faults, checked = [], 0
    for built in every_statement():
        statement = built.statement()
        form = gather_statement(statement)
        if form is None or " SET WHERE" in " ".join(statement.sql.split()):  # no column to set
            continue
        checked += 1
        alone = await types_of(observer, statement.sql)
        try:
            _, *together = await types_of(observer, form.sql)
        except asyncpg.PostgresError as error:
            faults.append(f"{built}: {error}: {form.sql}")
        else:
            faults += [] if together == alone else [f"{built}: {together}, not {alone}"]
    assert not faults, "\n".join(faults)
    assert checked > 200
