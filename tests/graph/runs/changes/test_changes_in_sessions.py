"""Changes of rows join the transaction of their session, and leave it as it was if they fail."""

import asyncio
from typing import Any

import pytest

from tests.fixtures.changes import CHANGE, Grid, delete, insert, update
from tests.fixtures.patience import patience
from tests.fixtures.replicas import CANCEL, AddUser, OpenReplica, connect_to
from tests.fixtures.session_desk import SessionDesk, open_session
from tests.fixtures.targets import Target

NAMES = "SELECT id, name FROM goods ORDER BY id"
RENAME = update({"id": 1}, {"name": "one"}, name="eins")
FAILING: dict[str, tuple[Any, dict[str, Any]]] = {
    "conflict": (update({"id": 2}, {"name": "2"}, name="zwei"), {}),
    "error": (insert(id=3), {}),
    "unknown column": (insert(identity=3), {}),
    "dry run": (insert(id=5), {"dryRun": True}),
}


async def names(grid: Grid) -> dict[int, str | None]:
    """As others see them."""
    return {row["id"]: row["name"] for row in await grid.rows(NAMES)}


@pytest.mark.parametrize("options", [{"autocommit": True}, {"autocommit": False}])
async def test_changes_join_the_transaction_of_their_session(
    grid: Grid, options: dict[str, bool]
) -> None:
    autocommit = options["autocommit"]
    desk = await open_session(grid.client, grid.connection, **options)
    inside = grid.in_session(desk)
    if autocommit:
        await desk.do("BEGIN")
    answer = await inside.apply(RENAME, delete({"id": 3}, {}))
    assert answer["run"]["command"] == "RELEASE"
    assert await desk.state() == "IN_TRANSACTION"
    assert (await names(grid))[1] == "one"
    assert (await inside.change(RENAME))["conflicts"][0]["row"]["name"] == "eins"
    assert await desk.rows(NAMES) == [[1, "eins"], [2, "two"]]
    await desk.roll_back()
    assert await names(grid) == {1: "one", 2: "two", 3: None}
    if autocommit:
        await desk.do("BEGIN")
    await inside.apply(RENAME)
    await desk.commit()
    assert (await names(grid))[1] == "eins"
    await desk.close()


async def test_failure_leaves_the_transaction_as_it_was(grid: Grid) -> None:
    desk = await open_session(grid.client, grid.connection)
    await desk.do("BEGIN")
    await desk.do("INSERT INTO goods VALUES (4, 'four')")
    for why, (failing, options) in FAILING.items():
        answer = await grid.in_session(desk).change(RENAME, failing, **options)
        assert (answer["applied"], answer["error"] is None) == (False, why == "dry run")
        assert await desk.state() == "IN_TRANSACTION"
        assert await desk.rows(NAMES) == [[1, "one"], [2, "two"], [3, None], [4, "four"]]
    await desk.commit()
    assert await names(grid) == {1: "one", 2: "two", 3: None, 4: "four"}
    await desk.close()


async def test_changes_outside_a_transaction_are_one_of_their_own(grid: Grid) -> None:
    desk = await open_session(grid.client, grid.connection)
    inside = grid.in_session(desk)
    answer = await inside.apply(RENAME, insert(id=4))
    assert (answer["run"]["command"], await desk.state()) == ("COMMIT", "IDLE")
    assert await names(grid) == {1: "eins", 2: "two", 3: None, 4: None}
    for why, (failing, options) in FAILING.items():
        answer = await inside.change(delete({"id": 4}, {}), failing, **options)
        assert (answer["applied"], await desk.state()) == (False, "IDLE"), why
    await desk.close()
    manual = await open_session(grid.client, grid.connection, autocommit=False)
    for why, (failing, options) in FAILING.items():
        answer = await grid.in_session(manual).change(delete({"id": 4}, {}), failing, **options)
        assert (answer["applied"], await manual.state()) == (False, "IDLE"), why
    assert len(await names(grid)) == 4
    await manual.close()


async def test_changes_in_failed_transaction_are_refused(grid: Grid) -> None:
    desk = await open_session(grid.client, grid.connection)
    await desk.do("BEGIN")
    assert (await desk.execute("SELECT 1/0"))["state"] == "FAILED"
    answer = await grid.in_session(desk).change(RENAME)
    assert (answer["error"]["sqlstate"], bool(answer["error"]["hint"])) == ("25P02", True)
    assert await desk.state() == "IN_FAILED_TRANSACTION"
    await desk.close()


async def test_temporary_table_and_settings_of_session_are_used(grid: Grid) -> None:
    desk = await open_session(grid.client, grid.connection)
    await desk.do("CREATE TEMP TABLE seen (id int PRIMARY KEY, at date)")
    await desk.do("SET datestyle = 'German'")
    await desk.do("INSERT INTO seen VALUES (1, '2026-03-01')")
    ((schema, shown),) = await desk.rows(
        "SELECT nspname::text, at FROM pg_namespace n JOIN pg_class c ON c.relnamespace = n.oid, "
        "seen WHERE c.oid = 'seen'::regclass"
    )
    change = update({"id": 1}, {"at": shown}, at="02.03.2026")
    answer = await grid.in_session(desk).apply(change, table="seen", schemaName=schema)
    assert answer["rows"] == [{"id": 1, "at": "02.03.2026"}]
    await desk.close()


async def test_row_that_moved_on_after_the_snapshot_is_an_error_of_postgresql(grid: Grid) -> None:
    """A transaction that sees an older row cannot tell the present values."""
    desk = await open_session(grid.client, grid.connection, isolationLevel="REPEATABLE_READ")
    await desk.do("BEGIN")
    assert (await desk.rows(NAMES))[0] == [1, "one"]
    await grid.apply(update({"id": 1}, {"name": "one"}, name="uno"))
    answer = await grid.in_session(desk).change(RENAME)
    assert (answer["error"]["sqlstate"], answer["errorIndex"]) == ("40001", 0)
    assert answer["error"]["hint"].startswith("Roll back the transaction")
    assert await desk.state() == "IN_TRANSACTION"
    await desk.close()


async def test_read_only_session_refuses_changes(grid: Grid) -> None:
    desk = await open_session(grid.client, grid.connection, readOnly=True)
    asked = grid.in_session(desk).asked(RENAME, table="goods")
    assert (await grid.client.send(CHANGE, input=asked)).code == "FORBIDDEN"
    await desk.close()


async def test_cancelled_changes_leave_the_transaction_as_it_was(grid: Grid) -> None:
    holder = await open_session(grid.client, grid.connection)
    await holder.do("BEGIN")
    await holder.do("UPDATE goods SET price = 9 WHERE id = 2")
    desk = await open_session(grid.client, grid.connection)
    await desk.do("BEGIN")
    await desk.do("INSERT INTO goods VALUES (4, 'four')")
    waiting = update({"id": 2}, {"name": "two"}, name="zwei")
    answer = await grid.in_session(desk).change(RENAME, waiting, waitMs=0)
    assert (answer["applied"], answer["rows"], answer["error"]) == (False, [], None)
    async with patience():
        while await desk.state() != "RUNNING":  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.02)
    cancelled = (await grid.client.ask(CANCEL, id=answer["run"]["id"]))["cancelQuery"]
    assert (cancelled["outcome"], cancelled["connectionUsable"]) == ("CANCELLED", True)
    assert await desk.state() == "IN_TRANSACTION"
    assert await desk.rows(NAMES) == [[1, "one"], [2, "two"], [3, None], [4, "four"]]
    await holder.roll_back()
    await desk.close()
    await holder.close()


async def test_changes_reach_the_session_of_another_replica(
    open_replica: OpenReplica, add_user: AddUser, target: Target
) -> None:
    user = await add_user("Ada")
    async with open_replica() as first, open_replica() as second:
        here, there = await first.person(user), await second.person(user)
        connection = await connect_to(target, here)
        desk = await open_session(here.client, connection)
        await desk.do("CREATE TEMP TABLE mine (id int PRIMARY KEY, note text)")
        (schema,) = (await desk.rows("SELECT pg_my_temp_schema()::regnamespace::text"))[0]
        grid = Grid(there.client, connection, desk.id)
        many = [insert(id=i, note="x" * 100) for i in range(300)]
        made = await grid.apply(*many, table="mine", schemaName=schema, idempotencyKey="a")
        assert made["rows"] == [change["values"] for change in many]
        again = await grid._replace(client=here.client).change(
            *many, table="mine", schemaName=schema, idempotencyKey="a"
        )
        assert again == made | {"replayed": True}
        other = SessionDesk(there.client, desk.id)
        assert await other.rows("SELECT count(*)::int FROM mine") == [[300]]
        await other.close()
