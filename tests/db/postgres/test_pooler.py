"""PgBouncer in transaction mode: several processes share fewer server connections."""

import asyncio
import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from db.postgres.engine import open_database
from tests.fixtures.notes import CREATE, others, read, terminate_all
from tests.fixtures.patience import patience
from tests.fixtures.pooler_client import CHANGES
from tests.fixtures.targets import free_port

# Debian keeps it where ordinary users do not look.
PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
PROCESSES = 3
SERVER_CONNECTIONS = 2
ROOT = Path(__file__).parents[3]

CONFIGURATION = """
[databases]
{name} = host={server.hostname} port={server.port} user={server.username} password={server.password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {connections}
{more}
"""

pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="there is no pgbouncer on this machine")


def has_prepared_statements() -> bool:
    """PgBouncer renames prepared statements itself since 1.21."""
    if PGBOUNCER is None:
        return False
    said = subprocess.run([PGBOUNCER, "--version"], check=True, capture_output=True, text=True)  # noqa: S603 - found above
    found = re.search(r"(\d+)\.(\d+)", said.stdout)
    return found is not None and (int(found[1]), int(found[2])) >= (1, 21)


async def listens(port: int) -> None:
    async with patience():
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def pgbouncer(url: str, more: str) -> AsyncIterator[str]:
    """The URL of the same database through PgBouncer, which refuses to run as root."""
    assert PGBOUNCER is not None
    port = free_port()
    server = urlsplit(url)
    name = server.path[1:]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "pgbouncer.ini")
        file.write_text(
            CONFIGURATION.format(
                name=name, server=server, port=port, connections=SERVER_CONNECTIONS, more=more
            )
        )
        is_root = os.getuid() == 0
        if is_root:
            for path in (folder, file):
                shutil.chown(path, "nobody")
        process = await asyncio.create_subprocess_exec(
            *(PGBOUNCER, file),
            stdout=DEVNULL,
            stderr=DEVNULL,
            user="nobody" if is_root else None,
            group="nogroup" if is_root else None,
            extra_groups=[] if is_root else None,
        )
        await listens(port)
        try:
            yield f"postgresql://anyone@127.0.0.1:{port}/{name}?sslmode=disable&pgbouncer=true"
        finally:
            process.kill()
            await process.wait()


@pytest.fixture
async def observer(committed_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection that bypasses the pooler."""
    connection = await asyncpg.connect(committed_url)
    yield connection
    await connection.close()


@pytest.fixture(
    params=[
        "",
        pytest.param(
            "max_prepared_statements = 200",
            marks=pytest.mark.skipif(
                not has_prepared_statements(), reason="this pgbouncer is older than 1.21"
            ),
        ),
    ],
    ids=["plain", "renaming prepared statements"],
)
async def pooled_url(
    committed_url: str, observer: asyncpg.Connection, request: pytest.FixtureRequest
) -> AsyncIterator[str]:
    await observer.execute("CREATE TYPE mood AS ENUM ('GOOD', 'BAD')")
    await observer.execute(CREATE.sql)
    await observer.execute("INSERT INTO notes (id) VALUES (1), (2)")
    async with pgbouncer(committed_url, request.param) as url:
        yield url


async def client(url: str, number: int) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.fixtures.pooler_client", url, str(number)),
        cwd=ROOT,
        stderr=PIPE,
    )
    _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()


async def test_pooler_returns_each_process_its_own_results(
    pooled_url: str, observer: asyncpg.Connection
) -> None:
    await asyncio.gather(*(client(pooled_url, number) for number in range(1, PROCESSES + 1)))
    assert await observer.fetchval("SELECT sum(n) FROM notes") == PROCESSES * CHANGES
    assert await others(observer) <= SERVER_CONNECTIONS


async def test_pooler_survives_closed_server_connection(
    pooled_url: str, observer: asyncpg.Connection
) -> None:
    database = await open_database(pooled_url, pool_size=4)
    await asyncio.gather(*(read(database, n) for n in range(8)))
    await terminate_all(observer)
    assert await asyncio.gather(*(read(database, n) for n in range(8))) == list(range(8))
    await database.close()
