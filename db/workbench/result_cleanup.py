"""Deletes expired runs with their results, and objects that belong to no run."""

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

from db.errors import HowdahError
from db.kit.base import OwnerId
from db.kit.sweeps import remove_each
from db.objects.store import ObjectStore
from db.postgres.engine import Database
from db.runs import (
    existing_run_ids,
    expire_over_quota,
    list_expired,
    list_partial_results,
)
from db.scripts import delete_expired_scripts, expire_scripts_over_quota
from db.workbench.execution.request.run_request import RunLimits
from db.workbench.execution.runner import Runner
from db.workbench.results.result_store import RESULTS, ResultStore
from db.workbench.results.scans.scanned_results import FOLDER

ORPHAN_AGE = timedelta(days=1)


async def delete_expired_runs(database: Database, runner: Runner, limits: RunLimits) -> int:
    """Deletes a batch of expired runs, results first; returns their number."""
    await database.write(
        lambda session: expire_over_quota(
            session,
            max_bytes=limits.max_kept_bytes,
            max_text=limits.max_kept_text,
            max_runs=limits.max_kept_runs,
        )
    )
    async with database.read() as session:
        batch = await list_expired(session)
    return await _delete_each(batch, runner.delete)


async def delete_scripts(database: Database, limits: RunLimits) -> int:
    """Deletes a batch of expired scripts; returns their number. Their runs expire themselves."""
    await database.write(
        lambda session: expire_scripts_over_quota(
            session, max_text=limits.max_kept_text, max_scripts=limits.max_kept_runs
        )
    )
    return await database.write(delete_expired_scripts)


async def delete_partial_results(database: Database, results: ResultStore) -> int:
    """Deletes a batch of results that could not be stored completely; returns their number."""
    async with database.read() as session:
        batch = await list_partial_results(session)
    return await _delete_each(batch, results.remove)


async def _delete_each(
    batch: Sequence[tuple[OwnerId, UUID]], delete: Callable[[OwnerId, UUID], Awaitable[None]]
) -> int:
    return await remove_each(
        {f"run {run_id.hex}": partial(delete, owner, run_id) for owner, run_id in batch}
    )


async def delete_orphaned_objects(
    database: Database, objects: ObjectStore, *, after: timedelta = ORPHAN_AGE
) -> int:
    """Deletes what belongs to no run: of deleted users, or written after the deletion.

    A run is inserted before its first page and deleted after its last one. `after` protects pages
    that a restore has written before their runs.

    Returns:
        The number of deleted objects.

    Raises:
        HowdahError: None could be deleted.
    """
    before = datetime.now(UTC) - after
    removed = 0
    failure: HowdahError | None = None
    async for batch in objects.list(RESULTS):
        old = {one.key: _run_of(one.key) for one in batch if one.modified_at <= before}
        runs = {key: run_id for key, run_id in old.items() if run_id is not None}
        async with database.read() as session:
            known = await existing_run_ids(session, set(runs.values()))
        orphans = [key for key, run_id in runs.items() if run_id not in known]
        try:
            await objects.delete(orphans)
        except HowdahError as error:  # those of the next batch may be deleted
            failure = error
        else:
            removed += len(orphans)
    if failure is not None and not removed:
        raise failure
    return removed


def _run_of(key: str) -> UUID | None:
    """The run of the page or scan with this key; None if the key is not one of them."""
    match key.split("/"):
        case [_, owner, run_id, page] if page.isdigit():
            pass
        case [_, owner, run_id, folder, _] if folder == FOLDER:
            pass
        case _:
            return None
    with contextlib.suppress(ValueError):
        UUID(hex=owner)
        return UUID(hex=run_id)
    return None
