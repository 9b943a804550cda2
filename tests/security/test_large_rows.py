"""Rows that are larger than the process may buffer, with and without TLS."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import psycopg
import pytest

from db.runs import RunState
from db.workbench.connections.bounds.read_budget import FREE_BYTES, MIB, ReadBudget, RowTooLarge
from db.workbench.connections.connector import Connector
from db.workbench.connections.targets.network_policy import Targets
from db.workbench.execution.reading import protocol
from tests.fixtures.patience import patience
from tests.fixtures.runs import Desk
from tests.fixtures.targets import Target

RUNS = 4
HUGE = "SELECT repeat('x', 150000000) AS a"
ADDED_MB = 200


def resident_mb() -> float:
    text = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in text.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


@contextlib.asynccontextmanager
async def highest_resident() -> AsyncIterator[list[float]]:
    """The resident size of this process while the block runs, in MiB above that at its start."""
    start = resident_mb()
    peak = [0.0]

    async def watch() -> None:
        while True:
            peak.append(resident_mb() - start)
            await asyncio.sleep(0.002)

    watching = asyncio.create_task(watch())
    try:
        yield peak
    finally:
        watching.cancel()


async def test_rows_of_150_mb_end_their_runs_and_add_little_memory(desk: Desk) -> None:
    assert (await desk.run("SELECT 1")).state == RunState.SUCCEEDED
    async with highest_resident() as peak:
        runs = await asyncio.gather(*(desk.run(HUGE) for _ in range(RUNS)))
    for run in runs:
        assert run.state == RunState.FAILED
        assert run.parsed_error is not None
        assert run.parsed_error.code == "TOO_LARGE"
        assert "33554432 bytes" in run.parsed_error.message
        assert "HOWDAH_RUN_MAX_ROW_BYTES" in (run.parsed_error.hint or "")
    assert max(peak) < ADDED_MB
    assert (await desk.run("SELECT 1")).state == RunState.SUCCEEDED


@pytest.mark.parametrize("ssl_mode", ["DISABLE", "REQUIRE"])
async def test_row_is_bounded_on_every_wait(
    target: Target, targets: Targets, ssl_mode: str
) -> None:
    budget = ReadBudget(row_bytes=4 * MIB, process_bytes=4 * MIB)
    connector = Connector(
        target.destination(ssl_mode=ssl_mode), targets, lambda: budget.slot_for("ada")
    )
    for size, fits in ((3 * MIB, True), (6 * MIB, False)):
        connection = await connector.connect()
        found = connection.execute(f"SELECT repeat('x', {size})")
        if fits:
            row = await (await found).fetchone()
            assert row is not None
            assert len(row[0]) == size
            held = [connection.slot.is_held]
            await connection.execute("SELECT 1")
            assert [*held, connection.slot.is_held] == [True, False]
            await connection.close()
        else:
            with pytest.raises(RowTooLarge):
                await found
            assert connection.closed
            assert connection.arrived < 4 * MIB + 2 * FREE_BYTES
    await connector.close()


async def test_large_row_waits_for_the_row_before(target: Target, targets: Targets) -> None:
    """Two users, one slot: the second reads when the first has taken its row."""
    budget = ReadBudget(row_bytes=4 * MIB, process_bytes=4 * MIB)
    connectors = [
        Connector(target.destination(), targets, partial(budget.slot_for, user))
        for user in ("ada", "bob")
    ]
    first, second = [await connector.connect() for connector in connectors]
    await first.execute(f"SELECT repeat('x', {2 * MIB})")
    assert first.slot.is_held
    waiting = asyncio.create_task(second.execute(f"SELECT repeat('x', {2 * MIB})"))
    small = await connectors[1].connect()
    await small.execute("SELECT repeat('x', 1000)")
    assert not waiting.done()
    await first.execute("SELECT 1")
    await waiting
    for connection in (first, second, small):
        await connection.close()
    for connector in connectors:
        await connector.close()


async def test_cancelled_wait_for_a_slot_closes_the_connection(
    target: Target, targets: Targets
) -> None:
    budget = ReadBudget(row_bytes=4 * MIB, process_bytes=4 * MIB)
    connector = Connector(target.destination(), targets, lambda: budget.slot_for("ada"))
    first, second = await connector.connect(), await connector.connect()
    await first.execute(f"SELECT repeat('x', {2 * MIB})")
    waiting = asyncio.create_task(second.execute(f"SELECT repeat('x', {2 * MIB})"))
    async with patience():
        while not second.awaits_slot:
            await (await connector.connect()).close()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert second.closed
    await first.execute("SELECT 1")
    await first.close()
    await connector.close()


async def test_notices_do_not_count_as_a_row(target: Target, targets: Targets) -> None:
    budget = ReadBudget(row_bytes=2 * MIB, process_bytes=2 * MIB)
    connector = Connector(target.destination(), targets, lambda: budget.slot_for("ada"))
    connection = await connector.connect()
    await connection.execute(
        "DO $$ BEGIN FOR i IN 1..400 LOOP RAISE NOTICE '%', repeat('x', 10000); END LOOP; END $$"
    )
    await connection.close()
    await connector.close()


async def test_statement_larger_than_the_socket_pair_is_sent(
    target: Target, targets: Targets
) -> None:
    connector = Connector(target.destination(), targets)
    connection = await connector.connect()
    await protocol.send(connection, "SELECT octet_length($1)", [b"x" * 5_000_000])
    rows = [
        result.get_value(0, 0) async for result in protocol.results(connection) if result.ntuples
    ]
    assert rows == [b"5000000"]
    await connection.close()
    await connector.close()


async def test_closed_server_is_noticed_by_an_idle_connection(
    target: Target, targets: Targets
) -> None:
    connector = Connector(target.destination(), targets)
    connection = await connector.connect()
    connection.poll_input()
    await target.administer(f"SELECT pg_terminate_backend({connection.info.backend_pid}, 5000)")
    with pytest.raises(psycopg.OperationalError):
        connection.poll_input()
    await connection.close()
    await connector.close()
