"""The repository of received chunks of uploads."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Uuid, bindparam, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql import ClauseElement

from db.kit.repository import Repository, S
from db.postgres.sessions import Session
from db.postgres.statements import change_statement, statement
from db.storage.repositories.files import Files
from db.storage.repositories.unscoped import is_expected_upload
from db.storage.rows import ChunkRow
from db.storage.tables import File, FileChunk


class Chunks(Repository[ChunkRow, S]):
    """The chunks of one owner's uploads."""

    model = FileChunk
    row = ChunkRow
    noun = "chunk"

    async def of_upload(self, file_id: UUID, upload_id: UUID) -> Sequence[ChunkRow]:
        return await self.all(self._of_upload(), file_id=file_id, upload_id=upload_id)

    async def append(self: "Chunks[Session]", chunk: ChunkRow) -> bool:
        """Adds a chunk if the upload is expected and has exactly the bytes before it."""
        return bool(await self.run(self._append(), **chunk._asdict()))

    async def clear(self: "Chunks[Session]", file_id: UUID, upload_id: UUID) -> Sequence[ChunkRow]:
        """Removes the chunks of an upload and returns them."""
        return await self.all(self._clear(), file_id=file_id, upload_id=upload_id)

    @statement
    def _of_upload(cls) -> ClauseElement:
        return cls.owned().where(*cls._is_of_upload()).order_by(cls.table().c.position)

    @change_statement
    def _append(cls) -> ClauseElement:
        chunk, file = cls.table().c, File.__table__.c
        names = ("file_id", "upload_id", "position", "size", "object_id")
        new: dict[str, Any] = {name: bindparam(name, type_=chunk[name].type) for name in names}
        received = cls.owned(func.coalesce(func.max(chunk.position + chunk.size), 0)).where(
            *cls._is_of_upload()
        )
        expected = Files.owned(file.id).where(
            file.id == new["file_id"], is_expected_upload(new["upload_id"])
        )
        values = select(*new.values(), bindparam("owner_id", type_=Uuid())).where(
            expected.exists(), received.scalar_subquery() == new["position"]
        )
        added = insert(cls.table()).from_select([*names, "owner_id"], values)
        return added.on_conflict_do_nothing().returning(*cls.columns())

    @change_statement
    def _clear(cls) -> ClauseElement:
        return cls.owned_delete().where(*cls._is_of_upload()).returning(*cls.columns())

    @classmethod
    def _is_of_upload(cls) -> tuple[Any, ...]:
        chunk = cls.table().c
        return (
            chunk.file_id == bindparam("file_id", type_=Uuid()),
            chunk.upload_id == bindparam("upload_id", type_=Uuid()),
        )
