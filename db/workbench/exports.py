"""Exports the result of a run as a file in a bucket."""

import contextlib
from typing import NamedTuple, Protocol
from uuid import UUID

from db.errors import BadInput, Conflict
from db.kit.base import OwnerId
from db.objects.store import MIB
from db.postgres.engine import Database
from db.runs import RunRow, Runs
from db.storage import FileRow, NewFile, StorageServices, add_bytes
from db.workbench.results.copied_bytes import is_copied
from db.workbench.results.formats import CONTENT_TYPES, ResultFormat, require_format
from db.workbench.results.result_files import ResultFiles


class ExportRequest(NamedTuple):
    run_id: UUID
    bucket_id: UUID
    location: str
    format: str
    desired_replicas: int = 0
    spreadsheet_safe: bool = True


class ExportServices(StorageServices, Protocol):
    """The services that an export uses."""

    @property
    def database(self) -> Database: ...

    @property
    def result_files(self) -> ResultFiles: ...


async def export_result(
    services: ExportServices,
    owner: OwnerId,
    request: ExportRequest,
    *,
    idempotency_key: str | None = None,
) -> FileRow:
    """Returns the file in state STORED; on an error no part of it remains.

    A retry with the same idempotency key returns the same file.
    """
    require_format(request.format)
    source = f"run {request.run_id.hex}"
    if not request.spreadsheet_safe:
        source += " verbatim"
    new = NewFile(
        request.bucket_id,
        request.location,
        0,
        CONTENT_TYPES[request.format],
        request.desired_replicas,
    )
    added = await services.storage.expect_file(
        owner, new, source=source, idempotency_key=idempotency_key
    )
    if added is not None:
        return added
    run = await _require_finished(services.database, owner, request.run_id)
    if request.format == ResultFormat.RAW and not is_copied(run):
        raise BadInput(
            "This run has rows, and not the bytes of a COPY.",
            hint="Use another format, or run COPY ... TO STDOUT.",
            field="format",
        )
    stream = services.result_files.stream(
        run, request.format, spreadsheet_safe=request.spreadsheet_safe
    )
    async with contextlib.aclosing(stream) as pieces:
        return await add_bytes(
            services.storage,
            services.objects,
            owner,
            new,
            pieces,
            at_most=_max_size(run),
            source=source,
            idempotency_key=idempotency_key,
        )


async def _require_finished(database: Database, owner: OwnerId, run_id: UUID) -> RunRow:
    async with database.read() as session:
        run = await Runs(session, owner).require(run_id)
    if not run.is_finished:
        raise Conflict(
            f"This run is {run.state}.",
            hint="Wait until it has ended, for example with `queryStatus`, or cancel it first.",
            field="id",
        )
    if run.columns is None:
        raise BadInput(
            "This run has no result to export.",
            hint="Export a run whose `columns` is not null.",
            field="id",
        )
    return run


def _max_size(run: RunRow) -> int:
    """An upper bound of the file size.

    A Parquet number takes 8 bytes, in JSON at least 2 with its comma; JSON lines repeat the names.
    """
    names = len(run.columns or "")
    return 4 * run.result_bytes + run.row_count * names + MIB
