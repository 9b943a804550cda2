"""How long results are kept: runs that have had their time, and bytes that nobody names."""

import contextlib
from datetime import UTC, datetime, timedelta
from uuid import UUID

from db.errors import NotFound
from db.objects.store import ObjectStore
from db.postgres.engine import Database
from db.runs import crowd_out, expired, known_runs, partial
from db.workbench.execution.runner import Runner
from db.workbench.results.result_store import RESULTS

ORPHANS_AFTER = timedelta(days=1)


async def retain(runner: Runner) -> int:
    """Removes a batch of runs that have had their time, results first; how many that were."""
    limits = runner.limits
    await runner.database.write(
        lambda session: crowd_out(session, most_bytes=limits.bytes_kept, most_runs=limits.runs_kept)
    )
    async with runner.database.read() as session:
        batch = await expired(session)
    for owner, run_id in batch:
        with contextlib.suppress(NotFound):  # another replica was faster
            await runner.delete(owner, run_id)
    return len(batch)


async def remove_partial(runner: Runner) -> int:
    """Removes a batch of pages of results that could not be stored whole, nor removed then."""
    async with runner.database.read() as session:
        batch = await partial(session)
    for owner, run_id in batch:
        await runner.results.remove(owner, run_id)
    return len(batch)


async def remove_orphans(
    database: Database, objects: ObjectStore, *, after: timedelta = ORPHANS_AFTER
) -> int:
    """Removes what results have left in the store: of users who are gone, and of late writers.

    A run is in the table before its first page and until its last is gone. Their age protects
    pages that a restore has brought before their runs.
    """
    before = datetime.now(UTC) - after
    removed = 0
    async for batch in objects.list(RESULTS):
        old = {one.key: _run_of(one.key) for one in batch if one.modified_at <= before}
        runs = {key: run_id for key, run_id in old.items() if run_id is not None}
        async with database.read() as session:
            known = await known_runs(session, set(runs.values()))
        orphans = [key for key, run_id in runs.items() if run_id not in known]
        await objects.delete(orphans)
        removed += len(orphans)
    return removed


def _run_of(key: str) -> UUID | None:
    """The run whose page has this key; None when we did not make it."""
    match key.split("/"):
        case [_, owner, run_id, page] if page.isdigit():
            with contextlib.suppress(ValueError):
                UUID(hex=owner)
                return UUID(hex=run_id)
    return None
