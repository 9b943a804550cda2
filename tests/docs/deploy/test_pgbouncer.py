"""Howdah works behind PgBouncer with docs/deploy/pgbouncer/pgbouncer.ini."""

import asyncio
import os
import sys
import tempfile
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from db.postgres.engine import Database, open_database
from tests.db.backup.test_backup import create
from tests.fixtures.patience import patience
from tests.fixtures.people import add_person
from tests.fixtures.pgbouncer import running_pgbouncer
from tests.fixtures.ports import free_port
from tests.fixtures.served import new_keys
from tests.fixtures.ship_tools import DEPLOY, ROOT, require_tool

TEXT = (DEPLOY / "pgbouncer" / "pgbouncer.ini").read_text(encoding="utf-8")


def written(folder: Path, url: str, port: int) -> Path:
    """The file with the addresses of the test, for a server without TLS."""
    server = urlsplit(url)
    database = f"howdah = host={server.hostname} port={server.port} dbname={server.path[1:]}"
    changes = {
        "howdah = host=db.internal port=5432 dbname=howdah": database,
        "listen_port = 6432": f"listen_port = {port}",
        "/etc/pgbouncer/userlist.txt": f"{folder}/userlist.txt",
        "server_tls_sslmode = verify-full": "server_tls_sslmode = disable",
    }
    text = TEXT
    for old, new in changes.items():
        assert f"\n{old}\n" in text or old.startswith("/"), old
        text = text.replace(f"{old}", new)
    (folder / "userlist.txt").write_text(
        f'"{server.username}" "{unquote(server.password or "")}"\n', encoding="utf-8"
    )
    file = folder / "pgbouncer.ini"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.fixture
async def pooled_url(committed_url: str) -> AsyncIterator[str]:
    program = require_tool("pgbouncer")
    server, port = urlsplit(committed_url), free_port()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = written(folder, committed_url, port)
        async with running_pgbouncer(program, file, port):
            yield server._replace(
                netloc=f"{server.username}:{server.password}@127.0.0.1:{port}",
                path="/howdah",
                query="pgbouncer=true",
            ).geturl()


async def test_howdah_works_behind_the_pooler(
    pooled_url: str, committed: Database, committed_url: str, tmp_path: Path
) -> None:
    environment = {name: value for name, value in os.environ.items() if "HOWDAH" not in name} | {
        "HOWDAH_ENV": "production",
        "HOWDAH_ALLOW_ROOT": "true",
        "HOWDAH_DATA_DIR": str(tmp_path),
        "HOWDAH_DATABASE_URL": pooled_url,
        "HOWDAH_DIRECT_DATABASE_URL": committed_url,
        **new_keys(),
    }
    doctor = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "graph.commands.main", "doctor"),
        cwd=ROOT,
        env=environment,
        stdout=PIPE,
        stderr=STDOUT,
    )
    output, _ = await doctor.communicate()
    assert doctor.returncode == 0, output.decode()

    owner = await add_person(committed, "Ada")
    database = await open_database(pooled_url, pool_size=4)
    try:
        async with patience():
            titles = [f"task {number}" for number in range(20)]
            made = await asyncio.gather(*(create(database, owner, title) for title in titles))
        assert [task.title for task in made] == titles
    finally:
        await database.close()


def test_pooler_waits_no_longer_for_the_database_than_howdah() -> None:
    lines = (line.split("=") for line in TEXT.splitlines() if " = " in line and line[0] != ";")
    settings = {name.strip(): rest[0].strip() for name, *rest in lines}
    assert settings["pool_mode"] == "transaction"
    assert int(settings["server_login_retry"]) <= 1
    assert int(settings["query_wait_timeout"]) <= 5
