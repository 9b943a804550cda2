"""SQL that closes the connections of dblink. `test_lending` runs it on a database."""

from typing import Any

import pytest

from db.workbench.connections.pools import dblink
from db.workbench.sql.sql_text import second_statement


class Session:
    """Stands for a connection, as a key."""


@pytest.mark.parametrize(
    "schema", ['its"schema', "$howdah$; DROP TABLE t; --", "it's \\'; SELECT 1"]
)
async def test_schema_that_the_server_names_is_quoted(
    monkeypatch: pytest.MonkeyPatch, schema: str
) -> None:
    sent: list[str] = []

    async def fetch_value(_connection: object, _sql: str) -> str:
        return schema

    async def command(_connection: object, sql: str) -> None:
        sent.append(sql)

    monkeypatch.setattr(dblink, "fetch_value", fetch_value)
    monkeypatch.setattr(dblink, "command", command)
    session: Any = Session()
    await dblink.close_dblink_connections(session)
    (sql,) = sent
    assert second_statement(sql) is None
    assert sql.count(_in_sql(schema)) == 3


def _in_sql(schema: str) -> str:
    """The name within the literal that has the body of the block."""
    return '"' + schema.replace('"', '""').replace("'", "''").replace("\\", "\\\\") + '".dblink_'
