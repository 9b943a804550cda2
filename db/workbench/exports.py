"""Results as files of buckets."""

import contextlib
from typing import NamedTuple, Protocol
from uuid import UUID

from db.errors import BadInput, Conflict
from db.kit.base import OwnerId
from db.objects.store import MIB
from db.runs import RunRow, Runs
from db.storage import FileRow, NewFile, StorageServices, add_bytes
from db.workbench.execution.runner import Runner
from db.workbench.results.formats import CONTENT_TYPES, refuse_unknown


class Export(NamedTuple):
    """Which result is to be written where, and as what."""

    run_id: UUID
    bucket_id: UUID
    location: str
    format: str
    desired_replicas: int = 0


class HasResults(StorageServices, Protocol):
    """What an export needs of the services."""

    @property
    def runner(self) -> Runner: ...


async def export(
    services: HasResults, owner: OwnerId, asked: Export, *, idempotency_key: str | None = None
) -> FileRow:
    """The file, STORED, or an error and nothing of it. A retry under the same key finds it."""
    refuse_unknown(asked.format)
    source = f"run {asked.run_id.hex}"
    new = NewFile(
        asked.bucket_id, asked.location, 0, CONTENT_TYPES[asked.format], asked.desired_replicas
    )
    added = await services.storage.expect_file(
        owner, new, source=source, idempotency_key=idempotency_key
    )
    if added is not None:
        return added
    run = await _ended(services.runner, owner, asked.run_id)
    async with contextlib.aclosing(services.runner.files.pieces(run, asked.format)) as pieces:
        return await add_bytes(
            services.storage,
            services.objects,
            owner,
            new,
            pieces,
            at_most=_at_most(run),
            source=source,
            idempotency_key=idempotency_key,
        )


async def _ended(runner: Runner, owner: OwnerId, run_id: UUID) -> RunRow:
    async with runner.database.read() as session:
        run = await Runs(session, owner).require(run_id)
    if not run.is_over:
        raise Conflict(
            f"This run is {run.state}.",
            hint="Wait until it has ended (`queryStatus` tells), or cancel it first.",
            field="id",
        )
    if run.columns is None:
        raise BadInput(
            "This run has no rows to export.",
            hint="Export one whose `columns` are not null.",
            field="id",
        )
    return run


def _at_most(run: RunRow) -> int:
    """No format takes more: a number of Parquet has 8 bytes, in JSON 2; JSON lines repeat names."""
    names = len(run.columns or "")
    return 4 * run.result_bytes + run.row_count * names + MIB
