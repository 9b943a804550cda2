"""What a server imports until its first answer: each module costs CPU and memory at every start."""

import os
import signal
import sys
from asyncio import create_subprocess_exec
from asyncio.subprocess import PIPE
from pathlib import Path

import httpx

from tests.fixtures.patience import PATIENCE_S
from tests.graph.commands.test_cli import ROOT

DEFERRED = {
    "alembic": "pending migrations",
    "arro3": "exports to Parquet",
    "asyncssh": "the first SSH tunnel",
    "cryptography": "the first secret, token or key",
    "db.backup": "howdah backup and restore",
    "db.demo": "howdah demo",
    "db.workbench.completion.completions": "the first completion",
    "db.workbench.completion.search": "the first search",
    "db.postgres.embedded": "a server without a database URL",
    "db.storage.memory": "tests",
    "httpx": "the keys of an issuer",
    "joserfc": "the first token",
    "keyring": "the first secret in a keychain",
    "nats": "events over NATS",
    "obstore": "the first object",
    "opentelemetry": "traces",
    "prometheus_client": "the first request for /metrics",
    "psycopg": "the first connection to a user's database",
    "redis": "events over Redis",
    "rich": "howdah doctor",
    "sqlalchemy.ext.asyncio": "pending migrations",
    "sqlalchemy.orm": "nothing: db.kit.base declares the tables",
    "websockets": "the first WebSocket",
}
"""Modules that a server must not import before its first answer, with what they are needed for."""

SERVE = """
import atexit, sys
atexit.register(lambda: open(sys.argv.pop(), "w").write("\\n".join(sys.modules)))
import graph.commands.main
{more}
sys.argv[1:1] = ["serve", "--port", "0"]
graph.commands.main.app.main(args=sys.argv[1:-1], standalone_mode=False)
"""


async def imported(folder: Path, url: str, *, more: str = "") -> set[str]:
    """The modules of DEFERRED that a server has imported after one query."""
    clean = {name: value for name, value in os.environ.items() if "HOWDAH" not in name}
    settings = {
        "HOWDAH_DATABASE_URL": url,
        "HOWDAH_DATA_DIR": str(folder / "data"),
        "HOWDAH_ENV": "development",
    }
    process = await create_subprocess_exec(
        *(sys.executable, "-c", SERVE.format(more=more), str(folder / "modules")),
        cwd=ROOT,
        env=clean | settings,
        stdout=PIPE,
    )
    try:
        assert process.stdout is not None
        address = (await process.stdout.readline()).decode().split()[-1]
        async with httpx.AsyncClient(timeout=PATIENCE_S) as http:
            answer = await http.post(address, json={"query": "{ health { status } }"})
            assert answer.json() == {"data": {"health": {"status": "OK"}}}
    finally:
        process.send_signal(signal.SIGTERM)
        await process.communicate()
    found = (folder / "modules").read_text().split()
    return {name for name in DEFERRED if name in found}


async def test_start_imports_no_deferred_module(committed_url: str, tmp_path: Path) -> None:
    assert await imported(tmp_path, committed_url) == set()


async def test_start_gate_finds_a_deferred_module(committed_url: str, tmp_path: Path) -> None:
    found = await imported(tmp_path, committed_url, more="import sqlalchemy.orm")
    assert found == {"sqlalchemy.orm"}
