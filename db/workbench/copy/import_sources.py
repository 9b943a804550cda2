"""Plans imports from the start of their file, and opens the file when the run copies it."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from uuid import UUID

import msgspec

from db.errors import BadInput, Conflict, Unavailable
from db.kit.base import OwnerId
from db.objects.store import MIB, ObjectStore
from db.postgres.engine import Database
from db.runs import RunRow
from db.storage import FileRow, Files, FileStatus, read_bytes
from db.workbench.copy.csv_lines import header_of, without_end_marks
from db.workbench.copy.import_request import (
    Import,
    ImportFormat,
    ImportRequest,
    ImportSource,
    check_columns,
    copy_statement,
)
from db.workbench.copy.interfaces import CopySource
from db.workbench.copy.json_lines import MAX_LINE_BYTES, copied_lines, names_of
from db.workbench.copy.parquet_rows import ParquetReaders, ReadRange

_decode = msgspec.json.Decoder(ImportSource).decode


class ImportSources:
    """Files that a user may read, as data for COPY. Works on any replica."""

    def __init__(self, database: Database, objects: ObjectStore) -> None:
        self._database = database
        self._objects = objects
        self._parquet = ParquetReaders()

    async def plan(self, owner: OwnerId, request: ImportRequest) -> tuple[str, Import]:
        """Returns the COPY statement, and the import to submit with it.

        Raises:
            BadInput: The file is empty, or does not begin as a file of its format.
            NotFound: There is no such file.
            Forbidden: The user may not read it.
            Conflict: The file has no content yet.
        """
        file = await self._file(owner, request.file_id)
        if not file.size:
            raise BadInput(
                "The file is empty.", hint="Pass a file with at least one row.", field="fileId"
            )
        assert file.object_id is not None  # noqa: S101 - it is stored
        source = ImportSource(
            file_id=file.id, object_id=file.object_id, size=file.size, format=request.format
        )
        columns = list(request.columns or ())
        if request.format == ImportFormat.CSV:
            columns = await self._csv_columns(file, request)
        elif request.format == ImportFormat.PARQUET:
            source = await self._parquet_source(owner, file, source, columns)
        else:
            source = await self._json_source(file, source, columns)
        columns = columns or source.columns
        return copy_statement(request, columns), Import(request, source)

    def open(self, run: RunRow) -> CopySource:
        """The data of an import. Raises an error if the file is not the one that was planned."""
        source = _decode(run.source or "")
        if source.format == ImportFormat.PARQUET:
            return self._parquet_rows(run.owner_id, source)
        pieces = self._pieces(run.owner_id, source)
        if source.format == ImportFormat.CSV:
            return without_end_marks(pieces)
        return copied_lines(pieces, source)

    async def _csv_columns(self, file: FileRow, request: ImportRequest) -> list[str]:
        columns = list(request.columns or ())
        if not request.has_header:
            return columns
        names = header_of(await self._head(file, MIB), request.delimiter or ",")
        if not columns:
            check_columns(names, field="fileId")
            return list(names)
        if len(names) != len(columns):
            raise BadInput(
                f"The header of the file has {len(names)} names, and `columns` {len(columns)}.",
                hint="Pass a column for each name of the header, in their order, or omit "
                "`columns` to take the names. Check `delimiter`, too.",
                field="columns",
            )
        return columns

    async def _json_source(
        self, file: FileRow, source: ImportSource, columns: list[str]
    ) -> ImportSource:
        head = await self._head(file, MIB)
        if b"\n" not in head and file.size > MIB:
            head = await self._head(file, MAX_LINE_BYTES)
        names = await asyncio.to_thread(names_of, head.partition(b"\n")[0])
        if isinstance(names, int):
            if columns and len(columns) != names:
                raise BadInput(
                    f"The arrays of the file have {names} values, and `columns` {len(columns)}.",
                    hint="Pass a column for each value.",
                    field="columns",
                )
            return msgspec.structs.replace(source, width=names)
        return msgspec.structs.replace(source, columns=columns or names, is_strict=not columns)

    async def _parquet_source(
        self, owner: OwnerId, file: FileRow, source: ImportSource, columns: list[str]
    ) -> ImportSource:
        names = await self._parquet.names(owner, file.size, self._ranges(file))
        check_columns(names, field="fileId")
        for name in columns:
            if name not in names:
                raise BadInput(
                    f'The file has no column "{name[:63]}".',
                    hint=f"Pass columns of the file: {', '.join(names)[:500]}.",
                    field="columns",
                )
        return msgspec.structs.replace(source, columns=columns or names)

    async def _parquet_rows(self, owner: OwnerId, source: ImportSource) -> AsyncGenerator[bytes]:
        file = await self._planned_file(owner, source)
        rows = self._parquet.rows(owner, file.size, self._ranges(file), source.columns)
        async with contextlib.aclosing(rows):
            async for piece in rows:
                yield piece

    def _ranges(self, file: FileRow) -> ReadRange:
        async def read(start: int, end: int) -> bytes:
            found = await self._range(file, start, end)
            if len(found) != end - start:
                raise _incomplete(end - start - len(found))
            return found

        return read

    async def _head(self, file: FileRow, size: int) -> bytes:
        return await self._range(file, 0, min(size, file.size))

    async def _range(self, file: FileRow, start: int, end: int) -> bytes:
        pieces = read_bytes(self._objects, file, start=start, end=end)
        async with contextlib.aclosing(pieces):
            return b"".join([piece async for piece in pieces])

    async def _pieces(self, owner: OwnerId, source: ImportSource) -> AsyncGenerator[bytes]:
        """The bytes of the file, if it still is the one that was planned."""
        file = await self._planned_file(owner, source)
        left = file.size
        pieces = read_bytes(self._objects, file, start=0, end=file.size)
        async with contextlib.aclosing(pieces):
            async for piece in pieces:
                left -= len(piece)
                yield piece
        if left:
            raise _incomplete(left)

    async def _planned_file(self, owner: OwnerId, source: ImportSource) -> FileRow:
        file = await self._file(owner, source.file_id)
        if file.object_id != source.object_id:
            raise Conflict(
                "The file was replaced before the import began.",
                hint="Import it again, to import its new content.",
            )
        return file

    async def _file(self, owner: OwnerId, file_id: UUID) -> FileRow:
        async with self._database.read() as session:
            files = Files(session, owner)
            file = await files.get(file_id) or await files.require(file_id, field="fileId")
        if file.status != FileStatus.STORED:
            raise Conflict(
                "This file has no content yet.",
                hint="Upload its bytes first, to its `uploadUrl`.",
                field="fileId",
            )
        return file


def _incomplete(missing: int) -> Unavailable:
    return Unavailable(
        f"The object store has {missing} bytes fewer than the file has.",
        hint="Ask the operator to check the object store.",
    )
