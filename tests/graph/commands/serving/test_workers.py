"""Several workers answer as one server, whichever of them handles the request."""

import asyncio
import contextlib
import re
import signal
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import psutil
import pytest

from db.settings import Settings
from graph.commands.serving import workers
from tests.fixtures.patience import PATIENCE_S, patience
from tests.fixtures.served import Served, served
from tests.fixtures.targets import CANARY, Target
from tests.graph.commands.serving.test_serve import workers_of

COUNTED = re.compile(
    r'^howdah_operation_seconds_count\{kind="query",outcome="UNAUTHENTICATED"\} (\S+)$',
    re.MULTILINE,
)
SAVE = """mutation ($input: SaveConnectionInput!) {
  saveConnection(input: $input) { connection { id } }
}"""

CONNECT = "mutation ($input: ConnectInput!) { connect(input: $input) { connection { id } } }"
DISCONNECT = (
    "mutation ($input: DisconnectInput!) { disconnect(input: $input) { connection { id } } }"
)
EXECUTE = """mutation ($input: ExecuteQueryInput!) {
  executeQuery(input: $input) { run { state error { message } connection { isConnected } } }
}"""


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    """Two workers over a cluster that was damaged before they started."""
    folder = tmp_path_factory.mktemp("workers") / "data"
    async with served(folder):
        pass
    (folder / "postgres" / "cluster" / "PG_VERSION").unlink()
    async with served(folder, "--workers", "2") as server:
        yield server


@contextlib.contextmanager
def halted(worker: psutil.Process) -> Iterator[None]:
    """Stops a worker from accepting connections, so that another one answers."""
    worker.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            worker.send_signal(signal.SIGCONT)


async def each(server: Served, query: str, **variables: Any) -> list[Any]:
    """The answer of each of the two workers, on separate connections."""
    answers = []
    for worker in await workers_of(psutil.Process(server._process.pid)):
        async with httpx.AsyncClient(headers=server.http.headers, timeout=PATIENCE_S) as http:
            with halted(worker):
                body = {"query": query, "variables": variables}
                answers.append((await http.post(server.address, json=body)).json())
    return answers


async def counted(server: Served) -> int:
    """The answer of one of the workers, on a separate connection."""
    async with httpx.AsyncClient(timeout=PATIENCE_S) as http:
        page = await http.get(server.address.replace("/graphql", "/metrics"))
    found = COUNTED.search(page.text)
    return int(float(found[1])) if found else 0


async def test_workers_share_findings_of_database(server: Served) -> None:
    for answer in await each(server, "{ health { status findings } }"):
        assert answer["data"]["health"]["status"] == "OK"
        (words,) = answer["data"]["health"]["findings"]
        assert "cluster.damaged-" in words


async def test_workers_share_integrity_check(server: Served) -> None:
    checked = await server.ask("mutation { checkDatabase { databaseHealth { lastCheckedAt } } }")
    for answer in await each(server, "{ databaseHealth { lastCheckedAt findings } }"):
        found = answer["data"]["databaseHealth"]
        assert found["lastCheckedAt"] == checked["checkDatabase"]["databaseHealth"]["lastCheckedAt"]


async def test_workers_detect_single_user_mode(server: Served) -> None:
    tunnel = {"host": "127.0.0.1", "username": "ada", "authMethod": "AGENT"}
    draft = {"name": "one", "host": "localhost", "database": "x", "username": "ada"}
    answers = await each(server, SAVE, input=draft | {"sshTunnel": tunnel})
    assert len({answer["data"]["saveConnection"]["connection"]["id"] for answer in answers}) == 2


async def test_workers_share_typed_password_until_disconnect(
    server: Served, target: Target
) -> None:
    draft = {"name": "Target", "host": "localhost", "port": target.port}
    draft |= {"database": "postgres", "username": "ada"}
    saved = (await server.ask(SAVE, input=draft))["saveConnection"]["connection"]["id"]
    await server.ask(CONNECT, input={"id": saved, "password": CANARY})
    values = {"connectionId": saved, "statement": "SELECT 1", "waitMs": 20_000}

    async def runs() -> list[Any]:
        answers = await each(server, EXECUTE, input=values)
        return [answer["data"]["executeQuery"]["run"] for answer in answers]

    ended = await runs()
    assert [run["state"] for run in ended] == ["SUCCEEDED", "SUCCEEDED"]
    assert [run["connection"]["isConnected"] for run in ended] == [True, True]
    await server.ask(DISCONNECT, input={"id": saved})
    ended = await runs()
    assert [run["state"] for run in ended] == ["FAILED", "FAILED"]
    assert all("requires a password" in run["error"]["message"] for run in ended)
    assert [run["connection"]["isConnected"] for run in ended] == [False, False]


async def test_workers_metrics_are_summed_and_monotonic(server: Served) -> None:
    refused = "{ taskStats { total } }"
    authorization = server.http.headers.pop("Authorization")
    for _ in range(3):
        assert len(await each(server, refused)) == 2
    async with patience():
        while (found := await counted(server)) < 6:
            pass  # the other's numbers come within a second
    assert found == 6
    killed, other = await workers_of(psutil.Process(server._process.pid))
    killed.kill()
    await asyncio.to_thread(psutil.wait_procs, [killed])
    assert await counted(server) == 6
    await each(server, refused)
    assert other in await workers_of(psutil.Process(server._process.pid))
    assert await counted(server) >= 7
    server.http.headers["Authorization"] = authorization


async def test_worker_that_cannot_be_started_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As while the machine has no memory: the other workers must not end with it."""
    ending, failures = asyncio.Event(), iter([OSError(12, "Cannot allocate memory")])

    async def run_worker(*_: Any) -> int:
        for failure in failures:
            raise failure
        ending.set()
        return 0

    monkeypatch.setattr(workers, "_run_worker", run_worker)
    monkeypatch.setattr(workers, "mark_process_dead", lambda *_: None)
    services: Any = None
    task = workers.WorkerTask(Settings(), 0, None, "", 0)
    await workers._keep_worker_running(task, services, ending)
    assert ending.is_set()
    assert "a worker cannot be started (Cannot allocate memory)" in caplog.text
