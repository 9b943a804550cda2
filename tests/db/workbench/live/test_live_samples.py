"""Progress and waits of real statements, and the side connection that reads them."""
# ruff: noqa: S608 - the table is that of the fixture

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from db.kit.base import OwnerId, new_id
from db.runs import Backend, RunBackend, RunRow, Runs, RunState
from db.workbench.live import target_sampler
from db.workbench.live.live_samples import LiveSamples
from db.workbench.live.values import NOTHING, LiveSample, ProgressUnit
from tests.fixtures.blockers import session_of
from tests.fixtures.patience import patience
from tests.fixtures.runs import Desk
from tests.fixtures.targets import CANARY, Target
from tests.fixtures.workbench import ConnectionSaver


@pytest.fixture
async def samples(desk: Desk) -> AsyncIterator[LiveSamples]:
    server = desk.server
    async with LiveSamples.opened(server.database, server.events, server.workbench) as opened:
        yield opened


@pytest.fixture
async def table(target: Target) -> AsyncIterator[str]:
    name = f"t{new_id().hex}"
    async with session_of(target) as ada:
        await ada.execute(
            f"CREATE TABLE {name} (id int, pad text) WITH (autovacuum_enabled = false);"
            f"INSERT INTO {name} SELECT i, repeat('x', 500) FROM generate_series(1, 2000) AS i"
        )
        yield name
        await ada.execute(f"DROP TABLE {name}")


async def sampled(
    samples: LiveSamples, desk: Desk, run: RunRow, reached: Callable[[LiveSample], Any]
) -> LiveSample:
    """The first sample that is as wanted."""
    async with patience(), samples.follow(desk.owner, run.id) as watch:
        sample = await watch.current()
        while not reached(sample):
            sample = await watch.next_change()
    return sample


async def cancel(desk: Desk, run: RunRow) -> None:
    assert (await desk.runner.cancel(desk.owner, run.id)).run.state == RunState.CANCELLED


async def test_waiting_run_names_its_blocker(
    desk: Desk, samples: LiveSamples, target: Target, table: str
) -> None:
    async with session_of(target) as keeper, keeper.transaction():
        await keeper.execute(f"LOCK TABLE {table}")
        run = await desk.start(f"SELECT count(*) FROM {table}")
        # PostgreSQL shows the start of a wait a moment after the wait.
        reached = lambda now: now.waiting and now.waiting.since  # noqa: E731
        waiting = (await sampled(samples, desk, run, reached)).waiting
        assert waiting is not None
        assert (waiting.event_type, waiting.event) == ("Lock", "relation")
        began = await keeper.fetchval(
            "SELECT waitstart FROM pg_locks WHERE NOT granted AND pid = $1", await desk.backend(run)
        )
        assert waiting.since == began
        (blocker,) = waiting.blocked_by
        assert blocker.pid == keeper.get_server_pid()
        assert (blocker.username, blocker.application_name) == ("ada", "keeper")
        assert blocker.state == "idle in transaction"
        assert blocker.statement == f"LOCK TABLE {table}"
        assert blocker.since is not None
    assert (await desk.end_of(run)).state == RunState.SUCCEEDED


async def test_waiting_run_does_not_reveal_statements_of_other_roles(
    desk: Desk, samples: LiveSamples, target: Target, table: str
) -> None:
    async with target._as_superuser() as keeper, keeper.transaction():
        await keeper.execute(f"LOCK TABLE {table} -- of another role")
        run = await desk.start(f"SELECT count(*) FROM {table}")
        waiting = (await sampled(samples, desk, run, lambda now: now.waiting)).waiting
        assert waiting is not None
        (blocker,) = waiting.blocked_by
        assert (blocker.pid, blocker.username) == (keeper.get_server_pid(), "postgres")
        assert (blocker.state, blocker.statement, blocker.since) == (None, None, None)
    await desk.end_of(run)


async def test_index_build_reports_the_transactions_that_it_waits_for(
    desk: Desk, samples: LiveSamples, target: Target, table: str
) -> None:
    async with session_of(target) as keeper, keeper.transaction():
        await keeper.execute(f"INSERT INTO {table} VALUES (0)")
        run = await desk.start(f"CREATE INDEX CONCURRENTLY ON {table} (id)")
        sample = await sampled(samples, desk, run, lambda now: now.progress and now.waiting)
        assert sample.progress is not None
        assert sample.progress.command == "CREATE INDEX CONCURRENTLY"
        assert sample.progress.phase == "waiting for writers before build"
        assert sample.progress[2:] == (ProgressUnit.LOCK_HOLDERS, 0, 1)
        assert sample.progress.percent == 0
        assert sample.waiting is not None
        assert [each.pid for each in sample.waiting.blocked_by] == [keeper.get_server_pid()]
    assert (await desk.end_of(run)).state == RunState.SUCCEEDED


async def test_vacuum_reports_its_blocks(
    desk: Desk, samples: LiveSamples, target: Target, table: str
) -> None:
    """A cursor holds a page that the vacuum must clean."""
    async with session_of(target) as keeper, keeper.transaction():
        await keeper.execute(f"DECLARE held CURSOR FOR SELECT * FROM {table}")
        await keeper.execute("FETCH 1 FROM held")
        run = await desk.start(f"VACUUM (FREEZE, INDEX_CLEANUP off, TRUNCATE off) {table}")
        sample = await sampled(samples, desk, run, lambda now: now.waiting and now.progress)
        assert sample.progress is not None
        assert (sample.progress.command, sample.progress.phase) == ("VACUUM", "scanning heap")
        blocks = await keeper.fetchval("SELECT pg_relation_size($1::regclass) / 8192", table)
        assert sample.progress.total == blocks
        assert sample.progress.unit == ProgressUnit.BLOCKS
        assert sample.waiting is not None
        assert sample.waiting.event_type == "BufferPin"
        assert sample.waiting.blocked_by == ()
    assert (await desk.end_of(run)).state == RunState.SUCCEEDED


async def test_copy_reports_its_bytes(
    desk: Desk, samples: LiveSamples, target: Target, table: str
) -> None:
    """The statement is that of another client: a sample needs only its backend."""
    async with session_of(target) as other:
        backend = await backend_of(other)
        sent, finish = asyncio.Event(), asyncio.Event()

        async def rows() -> AsyncIterator[bytes]:
            yield b"1\tone\n" * 20_000
            sent.set()
            await finish.wait()

        copying = asyncio.create_task(other.copy_to_table(table, source=rows()))
        await sent.wait()
        asked = RunBackend(uuid4(), desk.connection_id, backend)
        sample = NOTHING
        async with patience():
            while sample.progress is None or not sample.progress.done:
                sample = (await samples.sample(desk.owner, [asked]))[asked.run_id]
        assert sample.progress[:3] == ("COPY FROM", "copying rows", ProgressUnit.BYTES)
        assert 0 < sample.progress.done <= 120_000
        assert (sample.progress.total, sample.progress.percent) == (None, None)
        finish.set()
        await copying


async def backend_of(connection: asyncpg.Connection) -> Backend:
    started_at = await connection.fetchval(
        "SELECT backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid()"
    )
    return Backend(connection.get_server_pid(), started_at)


async def test_working_run_waits_for_nothing(desk: Desk, samples: LiveSamples) -> None:
    run = await desk.start("DO $$ BEGIN LOOP PERFORM 1; END LOOP; END $$")
    await desk.until_backend(run)
    async with desk.server.database.read() as session:
        backends = await Runs(session, desk.owner).backends([run.id])
    assert await samples.sample(desk.owner, backends) == {run.id: NOTHING}
    await cancel(desk, run)


async def test_watchers_of_a_target_share_one_side_connection(
    desk: Desk, samples: LiveSamples, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [await desk.start(f"SELECT pg_sleep({600 + index})") for index in range(2)]
    pids = [await desk.until_backend(run) for run in runs]
    before = await target.guests()
    sleeping = [
        await sampled(samples, desk, run, lambda now: now.waiting) for run in (*runs, *runs)
    ]
    assert {now.waiting and now.waiting.event for now in sleeping} == {"PgSleep"}
    assert await target.guests() == before + 1
    async with desk.server.database.read() as session:
        found = await Runs(session, desk.owner).backends([run.id for run in runs])
    assert {each.backend.pid for each in found} == set(pids)
    several = await asyncio.gather(*(samples.sample(desk.owner, found) for _ in range(10)))
    assert several == [several[0]] * 10
    assert await target.guests() == before + 1
    monkeypatch.setattr(target_sampler, "LINGER_S", 0.01)
    await samples.sample(desk.owner, found)  # the connection closes soon after this one
    async with patience():
        while await target.guests() > before:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.01)
    assert not samples._samplers
    for run in runs:
        await cancel(desk, run)


async def test_side_connection_does_not_outlive_the_pool(
    desk: Desk, samples: LiveSamples, target: Target
) -> None:
    run = await desk.start("SELECT pg_sleep(600)")
    await desk.until_backend(run)
    await sampled(samples, desk, run, lambda now: now.waiting)
    await desk.server.workbench.disconnect(desk.owner, desk.connection_id)
    assert (await desk.end_of(run)).is_finished
    async with patience():
        while await target.guests():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.01)


async def test_refused_side_connection_leaves_the_run_alone(
    desk: Desk, saver: ConnectionSaver, samples: LiveSamples, target: Target
) -> None:
    """The role may open one connection, which the run uses."""
    role = f"shy_{new_id().hex}"
    await target.script(f"CREATE ROLE {role} LOGIN PASSWORD '{CANARY}' CONNECTION LIMIT 1")
    desk = desk._replace(connection_id=await saver.save(username=role))
    run = await desk.start("SELECT pg_sleep(600)")
    await desk.until_backend(run)
    async with patience(), samples.follow(desk.owner, run.id) as watch:
        assert await watch.current() == NOTHING
    (sampler,) = samples._samplers.values()
    assert sampler._has_failed  # it is not asked again for some time
    assert (await desk.now(run)).state == RunState.RUNNING
    await cancel(desk, run)
    await desk.server.workbench.disconnect(desk.owner, desk.connection_id)
    await target.script(f"DROP ROLE {role}")


async def test_backend_of_another_time_is_not_sampled(
    desk: Desk, samples: LiveSamples, target: Target
) -> None:
    """PostgreSQL reuses PIDs."""
    async with session_of(target) as other:
        pid = other.get_server_pid()
        asked = RunBackend(uuid4(), desk.connection_id, Backend(pid, "2020-01-01 00:00:00+00"))
        sleeping = asyncio.create_task(other.execute("SELECT pg_sleep(600)"))
        assert await samples.sample(desk.owner, [asked]) == {asked.run_id: NOTHING}
        sleeping.cancel()


async def test_other_owner_gets_no_backend(desk: Desk, samples: LiveSamples) -> None:
    run = await desk.start("SELECT pg_sleep(600)")
    await desk.until_backend(run)
    stranger = OwnerId(new_id())
    async with desk.server.database.read() as session:
        assert await Runs(session, stranger).backends([run.id]) == []
    async with patience(), samples.follow(stranger, run.id) as watch:
        assert await watch.current() == NOTHING
    assert not samples._samplers
    await cancel(desk, run)
