"""The limit of concurrent database reads per viewer."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from db.kit.base import OwnerId
from db.postgres.engine import Database, open_database
from db.postgres.leases import Lease
from db.settings import Settings
from db.users import Role
from graph.auth import Viewer
from graph.context import Context
from graph.operations import GraphQLRequest, Operations, Plans
from graph.operations.admission import Presence
from graph.operations.limits import RequestLimits
from graph.schema import schema
from tests.fixtures.database import connections_in_use
from tests.fixtures.patience import patience

PAGE = "tasks(first: 5) { nodes { id } }"
SEARCH = 'tasks(first: 5, filter: {search: "milk"}) { nodes { id } totalCount }'
RUNS = 'queryRuns(first: 5, search: "select") { nodes { id } totalCount }'


@pytest.fixture
def operations() -> Operations:
    plans = Plans(schema._schema, limits=RequestLimits(), introspection=True, suggestions=False)
    return Operations(plans, limits=RequestLimits())


def aliased(selection: str) -> str:
    return "{ " + " ".join(f"a{number}: {selection}" for number in range(12)) + " }"


@pytest.mark.parametrize(
    ("document", "alone", "shared"),
    [(aliased(PAGE), 7, 4), (aliased(SEARCH), 2, 1), (aliased(RUNS), 2, 1)],
    ids=["pages", "searches", "runs"],
)
async def test_read_limit_bounds_connections_of_viewer(
    document: str,
    alone: int,
    shared: int,
    operations: Operations,
    committed: Database,
    committed_owner: OwnerId,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("_size", "concurrency"):
        monkeypatch.setattr(committed._gatherer, name, 2)  # as if it were never distant
    lent: list[int] = []
    committed.observe = lambda _: lent.append(committed.in_use)
    services = cast("Any", SimpleNamespace(database=committed, settings=Settings()))
    viewer = Viewer(committed_owner, Role.USER, cast("Any", None))

    async def ask() -> str:
        context = Context(services=services, viewer=viewer, request_id="r")
        prepared = await operations.prepare(GraphQLRequest(document), context)
        return (await operations.run(prepared, None, context)).code

    operations.admission._presence = presence = Presence(lambda: 0.0)
    for at_once in (alone, shared):
        lent.clear()
        assert await asyncio.gather(*(ask() for _ in range(3))) == ["OK"] * 3
        assert 0 < max(lent) <= at_once
        presence.see("another user")


@pytest.mark.parametrize("selection", [PAGE, SEARCH, RUNS], ids=["pages", "searches", "runs"])
async def test_read_limit_waits_once_for_exhausted_pool(
    selection: str,
    operations: Operations,
    committed_url: str,
    committed_owner: OwnerId,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The reads that wait for the one that fails do not wait for a connection once more."""
    database = await open_database(committed_url, pool_size=1, wait_ms=1_000)
    acquire, is_first, ended = database._source.acquire, True, asyncio.Event()

    async def acquire_first() -> Lease:
        nonlocal is_first
        is_first, is_later = False, not is_first
        if is_later:
            await ended.wait()
        return await acquire()

    services = cast("Any", SimpleNamespace(database=database, settings=Settings()))
    viewer = Viewer(committed_owner, Role.USER, cast("Any", None))
    context = Context(services=services, viewer=viewer, request_id="r")
    prepared = await operations.prepare(GraphQLRequest(aliased(selection)), context)
    async with connections_in_use(database):
        monkeypatch.setattr(database._source, "acquire", acquire_first)
        async with patience():
            answer = await operations.run(prepared, None, context)
        ended.set()
    assert answer.code == "OVERLOADED"
    await database.close()
