"""Retention of runs and their bytes: by age, by quota, and with their owner."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from db.errors import Conflict, Forbidden, NotFound, Unavailable
from db.kit import sweeps
from db.kit.base import OwnerId, new_id
from db.objects.store import ObjectStore
from db.postgres.engine import Database
from db.runs import ResultPages, RunRow, RunState
from db.security.vault import Vault
from db.users import Users
from db.workbench.result_cleanup import delete_expired_runs, delete_orphaned_objects
from db.workbench.results.result_store import result_prefix
from tests.fixtures.patience import patience
from tests.fixtures.runs import Desk
from tests.fixtures.targets import Target
from tests.fixtures.workbench import ConnectionSaver

ROWS = "SELECT i, repeat('x', 1000) FROM generate_series(1, 100) i"
SLOW = "SELECT i, pg_sleep(i / 1500 * 60)::text FROM generate_series(1, 2000) i"
NO_TIME = timedelta(0)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """The folder of the result store."""
    return tmp_path / "objects" / "runs"


@pytest.fixture
async def other_desk(
    desk: Desk, database: Database, vault: Vault, other_owner: OwnerId, target: Target
) -> Desk:
    saver = ConnectionSaver(database, vault, other_owner, target)
    return desk._replace(owner=other_owner, connection_id=await saver.save())


async def expire(desk: Desk) -> int:
    return await delete_expired_runs(desk.server.database, desk.runner, desk.runner._limits)


async def is_there(desk: Desk, run: RunRow, files: Path) -> bool:
    """Asserts that row, pages and bytes exist, or none of them."""
    async with desk.server.database.read() as session:
        pages = await ResultPages(session, desk.owner).list_overlapping(run.id, 0, 1)
    bytes_there = any(files.glob(f"*/{run.id.hex}/*"))
    try:
        await desk.now(run)
    except NotFound:
        assert (list(pages), bytes_there) == ([], False)
        return False
    assert (len(pages), bytes_there) == (1, True)
    return True


async def test_delete_removes_run_and_result(desk: Desk, other_desk: Desk, files: Path) -> None:
    run, other = await desk.run(ROWS), await other_desk.run(ROWS)
    with pytest.raises(Forbidden):
        await desk.runner.delete(other_desk.owner, run.id)
    assert await is_there(desk, run, files)
    await desk.runner.delete(desk.owner, run.id)
    assert not await is_there(desk, run, files)
    assert await is_there(other_desk, other, files)
    with pytest.raises(NotFound):
        await desk.runner.delete(desk.owner, run.id)


async def test_delete_refuses_active_run(desk: Desk) -> None:
    run = await desk.start("SELECT pg_sleep(60)")
    with pytest.raises(Conflict):
        await desk.runner.delete(desk.owner, run.id)
    await desk.runner.cancel(desk.owner, run.id)
    await desk.runner.delete(desk.owner, run.id)


async def test_retention_deletes_expired_runs(desk: Desk, files: Path) -> None:
    kept = await desk.run(ROWS)
    desk.limit(retention_days=0)
    gone = [await desk.run(ROWS) for _ in range(2)]
    live = await desk.start("SELECT pg_sleep(60)")
    assert await expire(desk) == 2
    assert await is_there(desk, kept, files)
    assert [await is_there(desk, run, files) for run in gone] == [False, False]
    assert not (await desk.now(live)).is_finished
    assert await expire(desk) == 0
    await desk.runner.cancel(desk.owner, live.id)


async def test_retention_expires_oldest_over_byte_quota(
    desk: Desk, other_desk: Desk, files: Path
) -> None:
    other = await other_desk.run(ROWS)
    runs = [await desk.run(ROWS) for _ in range(4)]
    desk.limit(max_kept_bytes=2 * runs[0].result_bytes)
    assert await expire(desk) == 2
    assert [await is_there(desk, run, files) for run in runs] == [False, False, True, True]
    assert await is_there(other_desk, other, files)


async def test_retention_expires_oldest_over_run_quota(desk: Desk, files: Path) -> None:
    runs = [await desk.run(ROWS) for _ in range(3)]
    desk.limit(max_kept_runs=2)
    live = await desk.start("SELECT pg_sleep(60)")
    assert await expire(desk) == 1
    assert [await is_there(desk, run, files) for run in runs] == [False, True, True]
    assert not (await desk.now(live)).is_finished
    await desk.runner.cancel(desk.owner, live.id)


async def test_retention_goes_on_when_a_result_cannot_be_deleted(
    desk: Desk, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.limit(retention_days=0)
    broken, *others = [await desk.run(ROWS) for _ in range(3)]
    delete = ObjectStore.delete

    async def refuse_one(store: ObjectStore, keys: Sequence[str]) -> None:
        if any(broken.id.hex in key for key in keys):
            raise Unavailable("The store refuses.", hint="Ask the operator.")
        await delete(store, keys)

    with monkeypatch.context() as patch:
        patch.setattr(ObjectStore, "delete", refuse_one)
        assert await expire(desk) == 2
        with pytest.raises(Unavailable):
            await expire(desk)
    assert [await is_there(desk, run, files) for run in (broken, *others)] == [True, False, False]
    assert await expire(desk) == 1


async def test_retention_deletes_other_runs_behind_as_many_broken_ones_as_end_a_sweep(
    desk: Desk, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeps, "GIVE_UP_AFTER", 2)
    desk.limit(retention_days=0)
    *broken, last = [await desk.run(ROWS) for _ in range(3)]
    delete = ObjectStore.delete

    async def refuse_some(store: ObjectStore, keys: Sequence[str]) -> None:
        if any(run.id.hex in key for key in keys for run in broken):
            raise Unavailable("The store refuses.", hint="Ask the operator.")
        await delete(store, keys)

    monkeypatch.setattr(ObjectStore, "delete", refuse_some)
    async with patience():
        while await is_there(desk, last, files):
            with contextlib.suppress(Unavailable):
                await expire(desk)
    assert [await is_there(desk, run, files) for run in broken] == [True, True]


async def test_retention_is_safe_on_concurrent_replicas(desk: Desk, files: Path) -> None:
    kept = await desk.run(ROWS)
    desk.limit(retention_days=0)
    gone = [await desk.run(ROWS) for _ in range(5)]
    await asyncio.gather(*(expire(desk) for _ in range(4)))
    assert [await is_there(desk, run, files) for run in gone] == [False] * 5
    assert await is_there(desk, kept, files)


async def test_orphaned_objects_of_removed_user_are_deleted(
    desk: Desk, other_desk: Desk, files: Path, database: Database, result_store: ObjectStore
) -> None:
    mine, others = await desk.run(ROWS), await other_desk.run(ROWS)
    live = await other_desk.start(SLOW)
    while not (await other_desk.now(live)).row_count:
        await other_desk.changed(live)
    await database.transaction(lambda session: Users(session).remove(UUID(bytes=desk.owner.bytes)))
    assert list(files.glob(f"*/{mine.id.hex}/*"))
    assert (
        await delete_orphaned_objects(database, result_store) == 0
    )  # too new: it could be part of a restore
    assert await delete_orphaned_objects(database, result_store, after=NO_TIME) == 1
    assert not list(files.glob(f"*/{mine.id.hex}/*"))
    assert await is_there(other_desk, others, files)
    assert await is_there(other_desk, live, files)
    assert await delete_orphaned_objects(database, result_store, after=NO_TIME) == 0
    await other_desk.runner.cancel(other_desk.owner, live.id)


async def test_orphaned_objects_are_pages_only(
    desk: Desk, files: Path, database: Database, result_store: ObjectStore
) -> None:
    run = await desk.run(ROWS)
    late = result_prefix(desk.owner, new_id())
    for key in (f"{late}/000000", f"{late}/000001", f"{late}/notes", "runs/readme", "files/1/2"):
        await result_store.put(key, aiter_of(b"x"), size=1)
    assert await delete_orphaned_objects(database, result_store, after=NO_TIME) == 2
    left = {path.name for path in files.parent.rglob("*") if path.is_file()}
    assert left == {"notes", "readme", "2", "000000"}
    assert await is_there(desk, run, files)
    assert (await desk.now(run)).state == RunState.SUCCEEDED


async def aiter_of(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
