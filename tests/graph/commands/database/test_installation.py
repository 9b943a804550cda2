import json
import re
from pathlib import Path

import asyncpg

from db.own_database import open_own_database
from db.settings import Settings
from graph.commands.database.installation import _show
from tests.graph.commands.test_cli import howdah


async def test_installation_is_shown_and_renewed(committed_url: str) -> None:
    async def installation(command: str) -> str:
        done = await howdah("installation", command, HOWDAH_DATABASE_URL=committed_url)
        assert done.code == 0, done.errors
        return done.output

    assert "No server has used this database yet." in await installation("show")
    first = await installation("renew")
    second = await installation("renew")
    ids = [re.findall(r"[0-9a-f-]{36}", output) for output in (first, second)]
    assert ids[1] == [ids[1][0], ids[0][0]]  # a copy of the first
    connection = await asyncpg.connect(committed_url)
    recorded = await connection.fetch(
        "SELECT details::json FROM audit_events WHERE kind = 'INSTALLATION_RENEWED' ORDER BY id"
    )
    details = [json.loads(row["details"]) for row in recorded]
    assert [(one["installation"], one.get("copiedFrom")) for one in details] == [
        (ids[0][0], None),
        (ids[1][0], ids[0][0]),
    ]
    assert all(one["operator"] for one in details)
    await connection.execute("UPDATE installation SET system_identifier = 'another'")
    await connection.close()
    shown = await installation("show")
    assert "This database is a copy." in shown
    assert ids[1][0] in shown


async def test_installation_is_shown_beside_a_running_server(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    async with open_own_database(settings):
        assert await _show(settings) == (None, False)
