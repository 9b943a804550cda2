import asyncio
from collections.abc import AsyncIterator

import asyncpg
import httpx
import pytest

from db.errors import BadInput
from db.postgres.engine import Database
from db.settings import Settings
from graph.app import build_app
from graph.transport.files import byte_responses
from tests.fixtures.cluster import Cluster
from tests.fixtures.database import TEMPLATE
from tests.fixtures.patience import PATIENCE_S
from tests.fixtures.toy import Door, calling, only, schema, serving, toy_app


@pytest.fixture
async def on_database(committed: Database) -> AsyncIterator[httpx.AsyncClient]:
    """The application on its own database."""
    chosen = Settings()
    opened = only(chosen, committed)
    app = build_app(chosen, schema=schema, authenticate=Door(), open_services=opened)
    async with calling(app) as client:
        yield client


async def test_readyz_follows_database(
    on_database: httpx.AsyncClient, cluster: Cluster, committed_url: str
) -> None:
    assert (await on_database.get("/readyz")).status_code == 200
    name = committed_url.rpartition("/")[2]
    other = await asyncpg.connect(cluster.url)
    await other.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    await other.execute(f'CREATE DATABASE "{name}" TEMPLATE "{TEMPLATE}" ALLOW_CONNECTIONS false')
    assert (await on_database.get("/readyz")).status_code == 503
    assert (await on_database.get("/healthz")).status_code == 200
    await other.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
    await other.close()
    assert (await on_database.get("/readyz")).status_code == 200


async def test_stopping_server_refuses_new_operations(door: Door) -> None:
    app = toy_app(door)
    async with calling(app) as client:
        app.state.shutdown.begin()
        refused = await client.post("/graphql", json={"query": "{ hello }"})
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert refused.json()["errors"][0]["extensions"]["code"] == "OVERLOADED"
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.get("/healthz")).status_code == 200


async def test_stopping_server_finishes_running_operations(door: Door) -> None:
    async with serving(toy_app(door)) as server, httpx.AsyncClient(timeout=PATIENCE_S) as client:
        door.answers.clear()
        url = f"http://{server.address}/graphql"
        answer = asyncio.create_task(client.post(url, json={"query": "{ hello }"}))
        await door.asked.wait()
        server.should_exit = True
        await server.stop.wait()
        door.answers.set()
        assert (await answer).json() == {"data": {"hello": "Hello, you!"}}


async def test_stopping_server_waits_for_the_records_of_downloads(door: Door) -> None:
    is_recorded = False

    async def record() -> None:
        nonlocal is_recorded
        for _ in range(100):
            await asyncio.sleep(0)
        is_recorded = True

    async with calling(toy_app(door)):
        byte_responses._recordings.start(record(), name="audit: download")
    assert is_recorded


@pytest.mark.parametrize("listed", ["*", "app.example.com", "https://", "https://a.com, nonsense"])
def test_invalid_origin_prevents_start(listed: str) -> None:
    with pytest.raises(BadInput, match="HOWDAH_ALLOWED_ORIGINS"):
        toy_app(Door(), allowed_origins=listed)
