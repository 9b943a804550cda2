"""A signed-in user of a served Howdah with a saved connection, for the benchmarks of runs."""

import asyncio
import contextlib
import json
import os
import platform
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx
import psutil
import websockets

from bench.start import serving
from db.postgres.embedded import EmbeddedPostgres

PROTOCOL = websockets.Subprotocol("graphql-transport-ws")
EXECUTE = """mutation($input: ExecuteQueryInput!) {
  executeQuery(input: $input) { run { id } } }"""
STATUS = "subscription($id: ID!) { queryStatus(id: $id) { state } }"
UNLIMITED = {
    "HOWDAH_RUN_MAX_ROWS": "100000000",
    "HOWDAH_RUN_MAX_BYTES": str(64 * 1024**3),
    "HOWDAH_RUN_BYTES_PER_USER": str(1024**4),
    "HOWDAH_RUN_TIMEOUT_MS": "600000",
}


@dataclass(frozen=True)
class Desk:
    """The local admin, signed in, with one saved connection."""

    address: str
    token: str
    http: httpx.AsyncClient
    process: psutil.Process
    target: EmbeddedPostgres
    data_dir: Path
    connection_id: str = ""

    async def ask(self, query: str, **variables: Any) -> Any:
        answer = await self.http.post(self.address, json={"query": query, "variables": variables})
        body = answer.json()
        assert "errors" not in body, body
        return body["data"]

    async def connect(self) -> str:
        """Saves a connection to the target; returns its ID."""
        return await _connected(self)

    async def start(self, statement: str) -> str:
        values = {"connectionId": self.connection_id, "statement": statement}
        return str((await self.ask(EXECUTE, input=values))["executeQuery"]["run"]["id"])

    async def run(self, statement: str) -> str:
        """Executes a statement and waits until it has succeeded."""
        run_id = await self.start(statement)
        async with self.socket() as socket:
            await subscribe(socket, "1", STATUS, id=run_id)
            state = [one["queryStatus"]["state"] async for _, one in results_of(socket)][-1]
        assert state == "SUCCEEDED", await self.ask(
            "query($id: ID!) { queryRun(id: $id) { error { message } } }", id=run_id
        )
        return run_id

    async def delete(self, run_id: str) -> None:
        await self.ask(
            "mutation($id: ID!) { deleteQueryRun(input: {id: $id}) { deletedQueryRunId } }",
            id=run_id,
        )

    @contextlib.asynccontextmanager
    async def socket(self) -> AsyncIterator[websockets.ClientConnection]:
        url = self.address.replace("http", "ws", 1)
        async with websockets.connect(url, subprotocols=[PROTOCOL], max_size=None) as socket:
            hello = {"type": "connection_init", "payload": {"Authorization": self.token}}
            await socket.send(json.dumps(hello))
            assert json.loads(await socket.recv())["type"] == "connection_ack"
            yield socket


async def subscribe(
    socket: websockets.ClientConnection, key: str, query: str, **variables: Any
) -> None:
    payload = {"query": query, "variables": variables}
    await socket.send(json.dumps({"id": key, "type": "subscribe", "payload": payload}))


async def results_of(
    socket: websockets.ClientConnection, *, subscriptions: int = 1
) -> AsyncIterator[tuple[str, Any]]:
    """Yields each event with the key of its subscription, until all have completed."""
    while subscriptions:
        message = json.loads(await socket.recv())
        if message["type"] == "complete":
            subscriptions -= 1
        else:
            assert message["type"] == "next", message
            assert "errors" not in message["payload"], message
            yield message["id"], message["payload"]["data"]


@contextlib.asynccontextmanager
async def at_a_desk() -> AsyncIterator[Desk]:
    """Starts a server with its embedded database, and another database as the user's."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
        } | {"HOWDAH_DATA_DIR": f"{folder}/data", "HOWDAH_LOG_LEVEL": "warning"}
        command = [str(Path(sys.executable).with_name("howdah")), "serve", "--port", "0"]
        async with await EmbeddedPostgres.open(Path(folder) / "target") as target:
            with serving(command, environment | UNLIMITED) as server:
                address, token = await asyncio.to_thread(_signed_in, server)
                async with httpx.AsyncClient(headers={"Authorization": token}, timeout=60) as http:
                    process = psutil.Process(server.pid)
                    desk = Desk(address, token, http, process, target, Path(folder, "data"))
                    yield replace(desk, connection_id=await desk.connect())


def machine(target: EmbeddedPostgres) -> str:
    return (
        f"Python {platform.python_version()}, PostgreSQL {target.version}, {platform.system()} "
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )


async def _connected(desk: Desk) -> str:
    place = urlsplit(desk.target.url)
    values = {
        "name": "Bench",
        "host": place.hostname,
        "port": place.port,
        "database": place.path[1:],
        "username": place.username,
        "password": unquote(place.password or ""),
        "savePassword": True,
        "sslMode": "DISABLE",
    }
    answer = await desk.ask(
        "mutation($input: SaveConnectionInput!) { saveConnection(input: $input) "
        "{ connection { id } } }",
        input=values,
    )
    return str(answer["saveConnection"]["connection"]["id"])


def _signed_in(server: Any) -> tuple[str, str]:
    """The server's address, and the `Authorization` header of its local admin."""
    for line in server.stdout:
        words = line.split()
        if words and words[0] == "Open":
            address, _, code = words[1].partition("#sign-in=")
            answer = httpx.post(f"{address}/sign-in", json={"code": code}).raise_for_status()
            return address, f"Bearer {answer.json()['accessToken']}"
    raise SystemExit("the server ended before it served")
