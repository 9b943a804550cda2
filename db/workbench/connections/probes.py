"""Tests a connection to a user's database by opening it once."""

import asyncio
from typing import TYPE_CHECKING

from db.workbench.connections.values import ProbeResult

if TYPE_CHECKING:  # psycopg is imported at the first connection, not at the start
    from db.workbench.connections.connector import Connector


async def measure(connector: "Connector") -> ProbeResult:
    started = asyncio.get_running_loop().time()
    connection = await connector.connect()
    latency_ms = (asyncio.get_running_loop().time() - started) * 1000
    await connection.close()
    facts = connector.facts
    assert facts is not None  # noqa: S101 - the connector has connected
    return ProbeResult(facts.server_version, round(latency_ms, 3), facts.tls)
