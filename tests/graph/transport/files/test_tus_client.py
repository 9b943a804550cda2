"""The client that browsers use for resumable uploads, tus-js-client, against a real server."""

import asyncio
from asyncio.subprocess import PIPE, STDOUT

import httpx
import pytest
from starlette.applications import Starlette

from tests.fixtures.clients import Client
from tests.fixtures.patience import patience
from tests.fixtures.toy import serving
from tests.graph.transport.files.test_file_routes import make, shown
from tests.graph.transport.test_clients import CLIENTS

SIZE = 3_000_000


@pytest.mark.skipif(
    not (CLIENTS / "node_modules" / "tus-js-client").is_dir(),
    reason="needs npm install --prefix tests/clients",
)
async def test_tus_js_client_resumes_after_abort_and_killed_connection(
    ada: Client, app: Starlette
) -> None:
    made = [await make(ada, SIZE) for _ in range(3)]
    async with serving(app) as server:
        paths = [httpx.URL(one.upload_url).raw_path.decode() for one in made]
        urls = [f"http://{server.address}{path}" for path in paths]
        process = await asyncio.create_subprocess_exec(
            "node", "tus.mjs", *urls, cwd=CLIENTS, stdout=PIPE, stderr=STDOUT
        )
        try:
            async with patience():
                said, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
    app.state.shutdown._begun.clear()
    assert process.returncode == 0, said.decode()
    for one in made[:2]:
        assert (await shown(ada, one))["fingerprint"] == said.decode().strip()
    assert await shown(ada, made[2]) is None
