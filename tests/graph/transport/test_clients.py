"""Third-party clients against our server; requires `npm install --prefix tests/clients`."""

import asyncio
from pathlib import Path

import pytest

from tests.fixtures.patience import patience
from tests.fixtures.toy import ToyServer

CLIENTS = Path(__file__).parents[2] / "clients"


@pytest.mark.skipif(
    not (CLIENTS / "node_modules").is_dir(),
    reason="needs npm install --prefix tests/clients",
)
@pytest.mark.parametrize("script", ["audits.mjs", "clients.mjs"])
async def test_clients_and_audits_report_no_problem(toy_server: ToyServer, script: str) -> None:
    url = f"http://{toy_server.address}/graphql"
    process = await asyncio.create_subprocess_exec(
        "node",
        script,
        url,
        cwd=CLIENTS,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with patience():
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, said.decode()
