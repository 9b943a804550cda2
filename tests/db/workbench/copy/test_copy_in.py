"""The data of COPY ... FROM STDIN is loaded completely, or not at all and with the reason."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from db.errors import Unavailable
from db.kit.base import new_id
from db.runs import RunRow, RunState
from db.workbench.copy import copy_in
from db.workbench.copy.import_request import Import, ImportRequest, ImportSource
from db.workbench.copy.interfaces import CopySource
from db.workbench.execution.statement.statement_stop import StatementStop
from tests.fixtures.patience import PATIENCE_S
from tests.fixtures.runs import Desk

IMPORT = Import(
    ImportRequest("public", "goods", new_id(), "csv"), ImportSource(new_id(), new_id(), 1, "csv")
)
COPY = "COPY goods FROM STDIN WITH (FORMAT csv)"
NOISE = """CREATE OR REPLACE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN RAISE NOTICE '%', repeat(NEW.id::text, 1000); RETURN NEW; END $$"""


@pytest.fixture
async def goods(desk: Desk) -> Desk:
    for statement in (
        "DROP TABLE IF EXISTS goods CASCADE",
        "CREATE TABLE goods (id int CHECK (id >= 0), name text)",
    ):
        assert (await desk.run(statement)).error is None
    return desk


async def load(goods: Desk, source: CopySource, statement: str = COPY) -> RunRow:
    """Starts a run with this data."""
    goods.runner._executor._open_source = lambda _run: source
    return await goods.start(statement, imported=IMPORT)


async def counted(goods: Desk) -> int:
    found = await goods.rows(await goods.run("SELECT count(*)::int FROM goods"))
    return int(found[0][0])


async def pieces(*content: bytes) -> AsyncGenerator[bytes]:
    for piece in content:
        yield piece


async def test_copy_in_loads_pieces_of_any_size(goods: Desk) -> None:
    large = b"".join(b"%d,%s\n" % (i, b"y" * 5_000) for i in range(2_000))
    run = await goods.end_of(await load(goods, pieces(b"1,", b"", b"a\n2", b",b\n", large, b"3,c")))
    assert (run.state, run.error) == (RunState.SUCCEEDED, None)
    assert (run.command, run.rows_affected, run.columns) == ("COPY", 2_003, None)
    assert await counted(goods) == 2_003


async def test_copy_in_reads_notices_while_it_sends(goods: Desk) -> None:
    """A server whose messages are not read stops reading: both would wait for each other."""
    assert (await goods.run(NOISE)).error is None
    trigger = "CREATE TRIGGER s BEFORE INSERT ON goods FOR EACH ROW EXECUTE FUNCTION shout()"
    assert (await goods.run(trigger)).error is None
    block = b"".join(b"%d,a\n" % i for i in range(1_000, 2_000))
    run = await goods.end_of(await load(goods, pieces(*[block] * 10)))
    assert (run.error, run.rows_affected, len(run.parsed_notices)) == (None, 10_000, 100)


async def test_copy_in_of_failing_source_says_why(goods: Desk) -> None:
    async def failing() -> AsyncGenerator[bytes]:
        yield b"1,a\n"
        raise Unavailable("The object store failed.", hint="Retry later.")

    run = await goods.end_of(await load(goods, failing()))
    error = run.parsed_error
    assert error is not None
    assert (error.message, error.hint, error.sqlstate) == (
        "The object store failed. Nothing was loaded.",
        "Retry later.",
        None,
    )
    assert (run.connection_usable, await counted(goods)) == (True, 0)


async def test_copy_in_error_of_server_comes_before_that_of_source(goods: Desk) -> None:
    async def failing() -> AsyncGenerator[bytes]:
        yield b"1,a\n-1,b\n"
        yield b"".join(b"%d,a\n" % i for i in range(100_000))
        raise Unavailable("The object store failed.", hint="Retry later.")

    run = await goods.end_of(await load(goods, failing()))
    error = run.parsed_error
    assert error is not None
    assert (error.sqlstate, error.source_line) == ("23514", 2)
    assert await counted(goods) == 0


async def test_copy_in_error_of_server_ends_endless_source(
    goods: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copy_in, "FIRST_CHECK_S", 0.05)
    sent = 0

    async def endless() -> AsyncGenerator[bytes]:
        nonlocal sent
        yield b"1,a\n-1,b\n"
        while True:
            yield b"1,a\n" * 10_000
            sent += 1

    run = await goods.end_of(await load(goods, endless()))
    error = run.parsed_error
    assert error is not None
    assert (error.sqlstate, error.source_line) == ("23514", 2)
    assert sent
    assert run.connection_usable is not False


async def test_copy_in_of_slow_source_is_not_taken_for_failed(
    goods: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copy_in, "FIRST_CHECK_S", 0.01)
    checked = asyncio.Event()
    check = StatementStop.has_failed

    async def has_failed(stop: StatementStop) -> bool:
        found = await check(stop)
        checked.set()
        return found

    monkeypatch.setattr(StatementStop, "has_failed", has_failed)

    async def slow() -> AsyncGenerator[bytes]:
        yield b"1,a\n"
        await checked.wait()
        yield b"2,b\n"

    run = await goods.end_of(await load(goods, slow()))
    assert (run.error, run.rows_affected) == (None, 2)


async def test_copy_in_with_fault_of_source_is_internal_error(goods: Desk) -> None:
    async def faulty() -> AsyncGenerator[bytes]:
        yield b"1,a\n"
        raise ZeroDivisionError

    run = await goods.end_of(await load(goods, faulty()))
    assert run.parsed_error
    assert run.parsed_error.message.startswith("An internal error")
    assert await counted(goods) == 0


@pytest.mark.parametrize("obeys", [True, False])
async def test_copy_in_is_cancelled_while_source_hangs(goods: Desk, *, obeys: bool) -> None:
    reached, closed = asyncio.Event(), asyncio.Event()

    async def hanging() -> AsyncGenerator[bytes]:
        yield b"1,a\n"
        reached.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if obeys:
                raise
            await asyncio.wait_for(closed.wait(), PATIENCE_S)
        finally:
            closed.set() if obeys else None

    run = await load(goods, hanging())
    await reached.wait()
    result = await goods.runner.cancel(goods.owner, run.id)
    assert (result.run.state, result.connection_usable) == (RunState.CANCELLED, True)
    closed.set()
    assert await counted(goods) == 0


async def test_copy_in_is_cancelled_while_server_waits(goods: Desk) -> None:
    """The server does not read: a trigger sleeps, and the buffers are full."""
    slow = """CREATE OR REPLACE FUNCTION rest() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN PERFORM pg_sleep(30); RETURN NEW; END $$"""
    assert (await goods.run(slow)).error is None
    trigger = "CREATE TRIGGER s BEFORE INSERT ON goods FOR EACH ROW EXECUTE FUNCTION rest()"
    assert (await goods.run(trigger)).error is None
    block = b"".join(b"%d,%s\n" % (i, b"a" * 1_000) for i in range(1_000))
    run = await load(goods, pieces(*[block] * 50))
    await goods.until_backend(run)
    result = await goods.runner.cancel(goods.owner, run.id)
    assert result.run.state == RunState.CANCELLED
    assert await counted(goods) == 0


async def test_copy_in_over_lost_connection_fails(goods: Desk) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def paused() -> AsyncGenerator[bytes]:
        yield b"1,a\n"
        reached.set()
        await go_on.wait()
        for _ in range(100):
            yield b"2,b\n" * 10_000

    run = await load(goods, paused())
    pid = await goods.until_backend(run)
    await reached.wait()
    await goods.cut(pid)
    go_on.set()
    ended = await goods.end_of(run)
    assert (ended.state, ended.connection_usable) == (RunState.FAILED, False)
    assert ended.parsed_error
    assert await counted(goods) == 0


async def test_copy_in_without_use_for_data_ignores_it(goods: Desk) -> None:
    run = await goods.end_of(await load(goods, pieces(b"1,a\n"), "SELECT 1"))
    assert (run.state, await counted(goods)) == (RunState.SUCCEEDED, 0)
