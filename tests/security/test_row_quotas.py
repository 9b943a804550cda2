"""One user cannot fill Howdah's database: rows and texts are limited, and the limits are shown."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from db.errors import TooLarge
from db.events import EventBus
from db.kit import row_quota
from db.kit.base import OwnerId, new_id
from db.kit.row_quota import GRANT_S, MAX_GRANT, OwnedRows, RowQuota
from db.objects.store import ObjectStore
from db.postgres.engine import Database
from db.postgres.sessions import Session
from db.quotas import Quotas
from db.settings import Settings
from db.tasks import TaskFilter, Tasks
from db.workbench import Workbench
from tests.fixtures.clients import Client
from tests.fixtures.database import Statements
from tests.fixtures.factories import make_saved_query
from tests.fixtures.runs import RunServer, serve_runs
from tests.fixtures.targets import Target

LIMIT = 3
MAX_TEXT = 500

USAGE = """{ viewer { usage { connections { used limit } buckets { used limit }
  files { used limit } fileBytes { used limit } tasks { used limit } queryRuns { used limit }
  queryRunTextBytes { used limit } queryRunResultBytes { used limit }
  savedQueries { used limit } savedQueryBytes { used limit } } } }"""
TASK = "mutation($input: CreateTaskInput!) { createTask(input: $input) { task { id } } }"
BUCKET = "mutation($input: CreateBucketInput!) { createBucket(input: $input) { bucket { id } } }"
CONNECTION = """mutation($input: SaveConnectionInput!) { saveConnection(input: $input) {
  connection { id } } }"""
IMPORT = "mutation($input: ImportTasksInput!) { importTasks(input: $input) { created } }"
RUN = "mutation($input: ExecuteQueryInput!) { executeQuery(input: $input) { run { id } } }"
SAVE = "mutation($input: SaveQueryInput!) { saveQuery(input: $input) { savedQuery { id } } }"
IMPORT_SQL = """mutation($input: ImportSavedQueriesInput!) {
  importSavedQueries(input: $input) { created } }"""
DELETE = "mutation($input: DeleteTaskInput!) { deleteTask(input: $input) { deletedTaskId } }"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        env="development",
        data_dir=tmp_path,
        sign_up="open",
        tasks_per_user=LIMIT,
        buckets_per_user=LIMIT,
        connections_per_user=LIMIT,
        storage_files_per_user=7,
        saved_queries_per_user=LIMIT,
        saved_query_bytes_per_user=MAX_TEXT,
        run_text_bytes_per_user=MAX_TEXT,
    )


@pytest.fixture
async def run_server(
    database: Database, events: EventBus, result_store: ObjectStore, workbench: Workbench
) -> AsyncIterator[RunServer]:
    async with serve_runs(
        database, events, result_store, workbench, process=1, max_kept_text=MAX_TEXT
    ) as server:
        yield server


def connection(target: Target, number: int) -> dict[str, Any]:
    usual = {"host": "localhost", "port": target.port, "database": "postgres", "username": "ada"}
    return {"name": f"c{number}", **usual}


async def usage(client: Client) -> dict[str, tuple[int, int | None]]:
    found = (await client.ask(USAGE))["viewer"]["usage"]
    return {
        name: (int(amount["used"]), amount["limit"] and int(amount["limit"]))
        for name, amount in found.items()
    }


@pytest.mark.parametrize("kind", ["tasks", "buckets", "connections"])
async def test_quota_of_rows_refuses_more_and_is_shown(
    ada: Client, bob: Client, target: Target, kind: str
) -> None:
    def call(number: int) -> tuple[str, dict[str, Any]]:
        return {
            "tasks": (TASK, {"title": f"t{number}"}),
            "buckets": (BUCKET, {"name": f"b{number}"}),
            "connections": (CONNECTION, connection(target, number)),
        }[kind]

    for number in range(LIMIT):
        document, values = call(number)
        await ada.ask(document, input=values | {"idempotencyKey": f"k{number}"})
    document, values = call(LIMIT)
    refused = await ada.send(document, input=values)
    assert refused.code == "TOO_LARGE"
    assert f"the limit is {LIMIT}" in refused.message
    assert f"HOWDAH_{kind.upper()}_PER_USER" in refused.errors[0]["extensions"]["hint"]
    assert (await usage(ada))[kind] == (LIMIT, LIMIT)

    document, values = call(0)
    await ada.ask(document, input=values | {"idempotencyKey": "k0"})  # a replay adds nothing
    await bob.ask(document, input=values)  # the quota is of each user


async def test_deletion_makes_room_in_the_quota(ada: Client) -> None:
    made = [(await ada.ask(TASK, input={"title": "t"}))["createTask"]["task"]["id"] for _ in "abc"]
    assert (await ada.send(TASK, input={"title": "t"})).code == "TOO_LARGE"
    await ada.ask(DELETE, input={"id": made[0]})
    await ada.ask(TASK, input={"title": "t"})


async def test_import_over_the_quota_adds_nothing(ada: Client) -> None:
    moment = "2024-01-01T00:00:00"
    old = [
        {"id": n, "title": f"t{n}", "completed": False, "created_at": moment}
        for n in range(LIMIT + 1)
    ]
    assert (await ada.send(IMPORT, input={"json": json.dumps(old)})).code == "TOO_LARGE"
    assert (await usage(ada))["tasks"] == (0, LIMIT)
    await ada.ask(IMPORT, input={"json": json.dumps(old[:LIMIT])})
    await ada.ask(IMPORT, input={"json": json.dumps(old[:LIMIT])})  # it adds nothing
    assert (await usage(ada))["tasks"] == (LIMIT, LIMIT)


async def test_quota_of_run_texts_refuses_more(ada: Client, target: Target) -> None:
    made = await ada.ask(CONNECTION, input=connection(target, 0))
    saved = made["saveConnection"]["connection"]["id"]
    long = f"SELECT 1 -- {'x' * (MAX_TEXT - 300)}"
    await ada.ask(RUN, input={"connectionId": saved, "statement": long, "waitMs": 10_000})
    refused = await ada.send(RUN, input={"connectionId": saved, "statement": long})
    assert refused.code == "TOO_LARGE"
    used, limit = (await usage(ada))["queryRunTextBytes"]
    assert limit == MAX_TEXT
    assert len(long) < used <= MAX_TEXT
    await ada.ask(RUN, input={"connectionId": saved, "statement": "SELECT 1", "waitMs": 10_000})


async def test_names_of_columns_count_as_texts_of_runs(ada: Client, target: Target) -> None:
    """A hostile server may send any number of them."""
    made = await ada.ask(CONNECTION, input=connection(target, 0))
    run = {"connectionId": made["saveConnection"]["connection"]["id"], "waitMs": 10_000}
    await ada.ask(RUN, input=run | {"statement": f"SELECT 1 AS {'c' * 63}"})
    used, _ = (await usage(ada))["queryRunTextBytes"]
    await ada.ask(RUN, input=run | {"statement": f"SELECT 1 AS {'c' * 63} LIMIT 0"})
    more, _ = (await usage(ada))["queryRunTextBytes"]
    assert more - used > len(f"SELECT 1 AS {'c' * 63} LIMIT 0[][]") + 63


async def test_usage_shows_every_limit(ada: Client) -> None:
    assert await usage(ada) == {
        "connections": (0, LIMIT),
        "buckets": (0, LIMIT),
        "files": (0, 7),
        "fileBytes": (0, None),
        "tasks": (0, LIMIT),
        "queryRuns": (0, 10_000),
        "queryRunTextBytes": (0, MAX_TEXT),
        "queryRunResultBytes": (0, 5 * 1024**3),
        "savedQueries": (0, LIMIT),
        "savedQueryBytes": (0, MAX_TEXT),
    }


async def test_quotas_of_saved_queries_refuse_more(ada: Client) -> None:
    made = [await make_saved_query(ada, text="é" * 50) for _ in range(LIMIT)]
    assert (await ada.send(SAVE, input={"name": "n", "text": "x"})).code == "TOO_LARGE"
    file = "-- @query one\nSELECT 1"
    assert (await ada.send(IMPORT_SQL, input={"sql": file})).code == "TOO_LARGE"
    await ada.ask(SAVE, input={"id": made[0], "text": "x" * 100})
    of_parameters = len("[]") * (LIMIT + 1)
    assert (await usage(ada))["savedQueryBytes"] == (  # with the version before
        400 + of_parameters,
        MAX_TEXT,
    )
    refused = await ada.send(SAVE, input={"id": made[1], "text": "x" * 101})
    assert "HOWDAH_SAVED_QUERY_BYTES_PER_USER" in refused.errors[0]["extensions"]["hint"]
    assert (await usage(ada))["savedQueries"] == (LIMIT, LIMIT)


async def test_quota_of_saved_queries_counts_their_parameters(ada: Client) -> None:
    parameters = [{"name": "p", "default": "x" * MAX_TEXT}]
    new = {"name": "n", "text": "SELECT :p", "parameters": parameters}
    assert (await ada.send(SAVE, input=new)).code == "TOO_LARGE"
    made = await make_saved_query(ada, text="SELECT :p")
    assert (await ada.send(SAVE, input={"id": made, "parameters": parameters})).code == "TOO_LARGE"


async def create(database: Database, owner: OwnerId, quotas: Quotas) -> bool:
    async def work(session: Session) -> None:
        tasks = Tasks(session, owner)
        await quotas.tasks.check(tasks)
        await tasks.create(title="t")

    try:
        await database.write(work)
    except TooLarge:
        return False
    return True


async def test_two_replicas_exceed_a_quota_by_concurrent_inserts_only(
    committed: Database, committed_owner: OwnerId
) -> None:
    replicas = [Quotas(Settings(tasks_per_user=20)) for _ in range(2)]

    async def fill(quotas: Quotas) -> None:
        while await create(committed, committed_owner, quotas):
            pass

    await asyncio.gather(*map(fill, replicas))
    async with committed.read() as session:
        assert 20 <= await Tasks(session, committed_owner).count(TaskFilter()) <= 21


async def test_quota_is_not_counted_for_every_insert(
    database: Database, owner: OwnerId, statements: Statements
) -> None:
    quotas = Quotas(Settings())  # the limit of tasks is 100,000: one count grants 100 inserts
    with statements.expected(100 + 1 + 1):
        for _ in range(101):
            assert await create(database, owner, quotas)


async def test_quota_is_counted_once_for_all_that_insert_meanwhile() -> None:
    counted, go_on = 0, asyncio.Event()

    async def count(_: object, __: OwnerId) -> int:
        nonlocal counted
        counted += 1
        await go_on.wait()
        if counted == 3:
            raise TooLarge("a failure of the count", hint="Retry.")
        return 0

    owner = OwnerId(new_id())
    rows = cast("OwnedRows", SimpleNamespace(session=None, owner=owner))
    quota = RowQuota("tasks", setting="HOWDAH_TASKS_PER_USER", limit=1_000, count=count)
    go_on.set()
    for _ in range(1 + 9):  # the count grants a hundredth of what is left
        await quota.check(rows)
    go_on.clear()
    first = asyncio.create_task(quota.check(rows))
    await asyncio.sleep(0)
    await asyncio.gather(*(quota.check(rows) for _ in range(64)))
    assert (counted, first.done()) == (2, False)
    go_on.set()
    await first
    for _ in range(9):
        await quota.check(rows)
    with pytest.raises(TooLarge):
        await asyncio.gather(*(quota.check(rows) for _ in range(3)))
    await quota.check(rows)  # the failed count let no other pass without one
    assert counted == 4


async def test_grant_of_a_quota_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """In rows, in time, and to the latest owners: what other processes add shows in a count."""
    now, counts = 0.0, list[OwnerId]()

    async def count(_: object, owner: OwnerId) -> int:
        counts.append(owner)
        return 0

    monkeypatch.setattr(row_quota, "_now", lambda: now)
    monkeypatch.setattr(row_quota, "MAX_OWNERS", 2)
    quota = RowQuota("tasks", setting="HOWDAH_TASKS_PER_USER", limit=1_000_000, count=count)
    first, second, third = (
        cast("OwnedRows", SimpleNamespace(session=None, owner=OwnerId(new_id()))) for _ in range(3)
    )
    for _ in range(1 + MAX_GRANT):
        await quota.check(first)
    assert len(counts) == 1
    await quota.check(first)
    assert len(counts) == 2
    now += GRANT_S
    await quota.check(first)
    assert len(counts) == 3
    for rows in (second, third, second, first):
        await quota.check(rows)
    assert counts[3:] == [second.owner, third.owner, first.owner]
