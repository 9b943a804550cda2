"""What an idle session costs in the memory of the server."""

import gc
import tracemalloc
from collections.abc import Callable, Iterator

import pytest

from db.events import EventBus
from db.objects.store import ObjectStore
from db.postgres.engine import Database
from db.security.vault import Vault
from db.workbench import Limits, Reach, Targets, Workbench
from db.workbench.execution.request.run_request import RunRequest
from db.workbench.sessions.open_request import OpenRequest
from tests.fixtures.runs import Desk, serve_runs, serve_sessions
from tests.fixtures.targets import Target
from tests.fixtures.workbench import ConnectionSaver

SESSIONS = 20
MOST_BYTES = 100_000
"""Of ours: libpq and OpenSSL have some 130 kB for each connection besides (decision 0044)."""


@pytest.fixture
def traced() -> Iterator[Callable[[], int]]:
    """Returns the bytes that Python has allocated since."""
    tracemalloc.start()
    yield lambda: (gc.collect(), tracemalloc.get_traced_memory()[0])[1]
    tracemalloc.stop()


async def test_idle_session_takes_little_memory(
    database: Database,
    events: EventBus,
    result_store: ObjectStore,
    vault: Vault,
    saver: ConnectionSaver,
    target: Target,
    traced: Callable[[], int],
) -> None:
    limits, targets = Limits(connections=100), Targets(Reach(private=True))
    async with (
        Workbench.opened(database, vault, targets, limits) as workbench,
        serve_runs(database, events, result_store, workbench, process=1) as server,
        serve_sessions(server, max_open=100) as service,
    ):
        desk = Desk(server, saver.owner, await saver.save(), target)

        async def use(count: int) -> None:
            for _ in range(count):
                row = await service.open(desk.owner, OpenRequest(desk.connection_id))
                request = RunRequest(None, "SELECT 1", session_id=row.id)
                run = (await server.runner.submit(desk.owner, request)).run
                await desk.end_of(run)

        await use(10)  # what all sessions share
        before = traced()
        await use(SESSIONS)
        assert (traced() - before) / SESSIONS < MOST_BYTES
