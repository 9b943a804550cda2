"""Slow statements of Howdah's own are logged, with a plan on request, and never with a value."""

import asyncio
import logging

import pytest
from sqlalchemy import text

from db.concurrency.waiting import cancel_all
from db.errors import TimedOut
from db.postgres.engine import Database
from db.postgres.monitoring import slow_statements
from db.postgres.sessions import Session
from db.postgres.statements import compile_change, compile_statement
from tests.fixtures.patience import patience

SECRET = "a-value-of-a-user"
SLEEP = compile_statement(text("SELECT pg_sleep(0.05), CAST(:word AS text)"))
LOGGER = "db.postgres.monitoring.slow_statements"


async def plan_in(caplog: pytest.LogCaptureFixture) -> str:
    async with patience():
        while True:
            for record in caplog.records:
                if "plan of the slow statement" in record.getMessage():
                    return record.getMessage()
            await asyncio.sleep(0.01)


async def test_slow_statement_is_logged_without_values(
    committed: Database, caplog: pytest.LogCaptureFixture
) -> None:
    committed.report_slow_statements(limit_ms=50, plans=False)
    with caplog.at_level(logging.WARNING, logger=LOGGER):
        await committed.read().value(SLEEP, word=SECRET)
        await committed.transaction(lambda session: session.value(SLEEP, word=SECRET))
    assert caplog.text.count("ms: SELECT pg_sleep(0.05), CAST($1") == 2
    assert {record.levelname for record in caplog.records} == {"WARNING"}
    assert SECRET not in caplog.text
    assert committed.figures.slow == 2


async def test_statement_below_the_limit_is_not_logged(
    committed: Database, caplog: pytest.LogCaptureFixture
) -> None:
    committed.report_slow_statements(limit_ms=60_000, plans=True)
    await committed.read().value(SLEEP, word=SECRET)
    assert not caplog.records


async def test_slow_statement_is_not_logged_without_a_limit(
    committed: Database, caplog: pytest.LogCaptureFixture
) -> None:
    committed.report_slow_statements(limit_ms=0, plans=True)
    await committed.read().value(SLEEP, word=SECRET)
    assert not caplog.records
    assert committed.figures.slow == 0


async def test_statement_that_times_out_counts_as_slow(committed: Database) -> None:
    committed.report_slow_statements(limit_ms=50, plans=False)
    short = compile_statement(text("SELECT set_config('statement_timeout', '60', true)"))

    async def work(session: Session) -> None:
        await session.rows(short)
        await session.rows(compile_statement(text("SELECT pg_sleep(60)")))

    with pytest.raises(TimedOut):
        await committed.transaction(work)
    assert committed.figures.slow >= 1


@pytest.mark.parametrize("reserved", [True, False], ids=["probe", "other"])
async def test_cancelled_probe_is_no_slow_statement(
    committed: Database, caplog: pytest.LogCaptureFixture, *, reserved: bool
) -> None:
    """Probes have little patience, and an outage would log each of them."""
    committed.report_slow_statements(limit_ms=50, plans=False)
    endless = compile_statement(text("SELECT pg_sleep(3601)"))
    runs = compile_statement(
        text("""SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(3601)%'
            AND pid <> pg_backend_pid() AND clock_timestamp() > query_start + interval '0.1 s'""")
    )

    async def ask() -> None:
        async with committed.read(reserved=reserved) as session:
            await session.value(endless)

    probe = asyncio.create_task(ask())
    async with patience(), committed.read() as session:
        while not await session.value(runs):
            pass
    await cancel_all([probe])
    assert ("ms: SELECT pg_sleep(3601)" in caplog.text) is not reserved


async def test_plan_of_slow_statement_is_generic(
    committed: Database, caplog: pytest.LogCaptureFixture
) -> None:
    committed.report_slow_statements(limit_ms=1, plans=True)
    slow = compile_statement(
        text(
            "SELECT relname, pg_sleep(0.02) FROM pg_class WHERE relname = CAST(:word AS name) "
            "OR relname = 'pg_class' LIMIT 1"
        )
    )
    with caplog.at_level(logging.WARNING, logger=LOGGER):
        await committed.read().value(slow, word=SECRET)
        plan = await plan_in(caplog)
    assert "Scan" in plan
    assert "$1" in plan.partition("\n")[2]
    assert SECRET not in caplog.text


async def test_plan_of_slow_change_changes_nothing(
    committed: Database, caplog: pytest.LogCaptureFixture
) -> None:
    make = compile_change(text("CREATE TABLE IF NOT EXISTS seen_changes (id int)"))
    slow = compile_change(
        text(
            "INSERT INTO seen_changes SELECT CAST(:id AS int) FROM (SELECT pg_sleep(0.05)) AS slept"
        )
    )
    count = compile_statement(text("SELECT count(*) FROM seen_changes"))
    await committed.write(lambda session: session.rows(make))
    committed.report_slow_statements(limit_ms=50, plans=True)
    with caplog.at_level(logging.WARNING, logger=LOGGER):
        await committed.write(lambda session: session.rows(slow, id=1))
        assert "Insert on seen_changes" in await plan_in(caplog)
    assert await committed.read().value(count) == 1


async def test_statement_is_explained_once_in_a_while(
    committed: Database, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slow_statements, "MAX_EXPLAINED", 1)
    committed.report_slow_statements(limit_ms=1, plans=True)
    other = compile_statement(text("SELECT pg_sleep(0.02)"))

    async def explained(count: int) -> None:
        async with patience():
            while caplog.text.count("plan of the slow statement") < count:  # noqa: ASYNC110 - a log has no event
                await asyncio.sleep(0.01)

    with caplog.at_level(logging.WARNING, logger=LOGGER):
        await committed.read().value(SLEEP, word="a")
        await explained(1)
        await committed.read().value(SLEEP, word="b")
        await committed.read().value(other)
        await explained(2)  # of the other: it was not due for the first
        await committed.read().value(SLEEP, word="c")
        await explained(3)  # the other has taken its place
    plans = [entry.getMessage() for entry in caplog.records if "plan of" in entry.getMessage()]
    assert ["CAST" in plan for plan in plans] == [True, False, True]
