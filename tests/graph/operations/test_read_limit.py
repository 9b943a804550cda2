"""The limit of concurrent database reads per viewer."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from db.errors import Overloaded
from db.kit.base import OwnerId
from db.postgres.engine import Database, open_database
from db.postgres.leases import Lease
from db.settings import Settings
from db.users import Role
from graph.auth import Viewer
from graph.context import Context
from graph.operations import GraphQLRequest, Operations, Plans
from graph.operations.limits import RequestLimits
from graph.operations.slots import READS_AT_ONCE, ReadSlots
from graph.schema import schema
from tests.fixtures.database import connections_in_use

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
    ("document", "at_once"),
    [(aliased(PAGE), READS_AT_ONCE), (aliased(SEARCH), 1), (aliased(RUNS), 1)],
)
async def test_read_limit_bounds_connections_of_viewer(
    document: str,
    at_once: int,
    operations: Operations,
    committed: Database,
    committed_owner: OwnerId,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(committed._gatherer, "_size", 2)  # as if it were never distant
    lent: list[int] = []
    committed.observe = lambda _: lent.append(committed.in_use)
    services = cast("Any", SimpleNamespace(database=committed, settings=Settings()))
    viewer = Viewer(committed_owner, Role.USER, cast("Any", None))

    async def ask() -> str:
        context = Context(services=services, viewer=viewer, request_id="r")
        prepared = await operations.prepare(GraphQLRequest(document), context)
        return (await operations.run(prepared, None, context)).code

    assert await asyncio.gather(*(ask() for _ in range(3))) == ["OK"] * 3
    assert 0 < max(lent) <= at_once


@pytest.mark.parametrize(("selection", "tries"), [(PAGE, READS_AT_ONCE), (SEARCH, 1), (RUNS, 1)])
async def test_read_limit_waits_once_for_exhausted_pool(
    selection: str,
    tries: int,
    operations: Operations,
    committed_url: str,
    committed_owner: OwnerId,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    database = await open_database(committed_url, pool_size=1, wait_ms=50)
    acquire, tried = database._source.acquire, 0

    async def counted() -> Lease:
        nonlocal tried
        tried += 1
        return await acquire()

    services = cast("Any", SimpleNamespace(database=database, settings=Settings()))
    viewer = Viewer(committed_owner, Role.USER, cast("Any", None))
    context = Context(services=services, viewer=viewer, request_id="r")
    prepared = await operations.prepare(GraphQLRequest(aliased(selection)), context)
    async with connections_in_use(database):
        monkeypatch.setattr(database._source, "acquire", counted)
        answer = await operations.run(prepared, None, context)
    assert answer.code == "OVERLOADED"
    assert tried <= tries
    await database.close()


async def test_read_limit_fails_queued_reads_when_overloaded() -> None:
    reads = ReadSlots(1)
    tries = 0

    async def read() -> None:
        nonlocal tries
        async with reads:
            tries += 1
            await asyncio.sleep(0)
            raise Overloaded("No connection became free.", hint="Later.", retry_after_s=1)

    ended = await asyncio.gather(*(read() for _ in range(5)), return_exceptions=True)
    assert [type(error) for error in ended] == [Overloaded] * 5
    assert tries == 1
    with pytest.raises(Overloaded):
        await read()
    assert tries == 2  # later reads try again


async def test_read_limit_does_not_share_other_errors() -> None:
    reads = ReadSlots(1)

    async def read(error: Exception | None) -> str:
        async with reads:
            await asyncio.sleep(0)
            if error:
                raise error
            return "found"

    ended = await asyncio.gather(read(ValueError()), read(None), return_exceptions=True)
    assert ended[1] == "found"
