"""Changes of a file: its bytes arrive, it moves, its bytes are replaced."""

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Interval, LargeBinary, Text, bindparam, case, func, null
from sqlalchemy.sql import ClauseElement

from db.kit.base import new_id
from db.kit.repository import S
from db.postgres.sessions import Session
from db.postgres.statements import change_statement, statement
from db.storage import errors
from db.storage.repositories.files import Files
from db.storage.rows import (
    CANCELLED_REPLACEMENT,
    NO_REPLACEMENT,
    UPLOAD_WITHIN,
    FileRow,
    FileStatus,
)


class FileChanges(Files[S]):
    """The files of one owner, to change them.

    PostgreSQL computes the keys: they cover columns that a concurrent change may have set.
    """

    async def lock(self: "FileChanges[Session]", file_id: UUID) -> FileRow:
        """Returns the file, which no other transaction changes until this one ends."""
        return await self.one_or_raise(file_id, self._lock(), id=file_id)

    async def finish(
        self: "FileChanges[Session]", file: FileRow, *, object_id: UUID, fingerprint: bytes
    ) -> FileRow:
        """Makes a pending file STORED; an earlier upload of the same bytes is kept."""
        new = {"object_id": object_id, "fingerprint": fingerprint, "stored_at": file.location}
        stored = await self.one(self._finish(), id=file.id, **new)
        present = stored or await self.require(file.id)
        if present.status != FileStatus.STORED or present.fingerprint != fingerprint:
            raise errors.upload_not_pending()
        return present

    async def move(
        self: "FileChanges[Session]", file_id: UUID, *, bucket_id: UUID, location: str
    ) -> FileRow:
        to: dict[str, Any] = {"to_bucket": bucket_id, "to_location": location}
        return await self.one_or_raise(file_id, self._move(), id=file_id, **to)

    async def begin_replacement(
        self: "FileChanges[Session]", file_id: UUID, *, size: int, content_type: str
    ) -> FileRow:
        """Starts a replacement, and thereby cancels one that is pending."""
        values: dict[str, Any] = {
            "replacement_size": size,
            "replacement_content_type": content_type,
        }
        return await self.one_or_raise(
            file_id, self._begin_replacement(), id=file_id, replacement_id=new_id(), **values
        )

    async def finish_replacement(
        self: "FileChanges[Session]",
        file_id: UUID,
        *,
        replacement_id: UUID,
        object_id: UUID,
        fingerprint: bytes,
        location: str,
    ) -> FileRow | None:
        """Switches to the new bytes, or returns None if the replacement is not pending."""
        new = {"object_id": object_id, "fingerprint": fingerprint, "stored_at": location}
        return await self.one(self._finish_replacement(), id=file_id, pending=replacement_id, **new)

    async def cancel_replacement(
        self: "FileChanges[Session]", file_id: UUID, *, replacement_id: UUID
    ) -> FileRow | None:
        """Cancels a replacement, or returns None if it is not pending."""
        return await self.one(self._cancel_replacement(), id=file_id, pending=replacement_id)

    @statement
    def _lock(cls) -> ClauseElement:
        return cls.owned().where(cls.table().c.id == bindparam("id")).with_for_update()

    @change_statement
    def _finish(cls) -> ClauseElement:
        file = cls.table().c
        change = cls.owned_update().where(
            file.id == bindparam("id"),
            file.status == FileStatus.PENDING,
            file.created_at > func.now() - _within(),
        )
        values = {"status": FileStatus.STORED} | cls._object(file.size)
        return change.values(values | cls.audit_columns()).returning(*cls.columns())

    @change_statement
    def _move(cls) -> ClauseElement:
        file = cls.table().c
        bucket_id = bindparam("to_bucket", type_=file.bucket_id.type)
        location = bindparam("to_location", type_=file.location.type)
        key = cls._key(bucket_id, location, file.size, file.fingerprint)
        values = {
            "bucket_id": bucket_id,
            "location": location,
            "key": case((file.key.is_not(None), key), else_=null()),
            "object_location": case(
                (file.object_id.is_not(None), func.coalesce(file.object_location, file.location)),
                else_=null(),
            ),
        }
        change = cls.owned_update().where(file.id == bindparam("id"))
        return change.values(values | cls.audit_columns()).returning(*cls.columns())

    @change_statement
    def _begin_replacement(cls) -> ClauseElement:
        file = cls.table().c
        values = {
            name: bindparam(name, type_=file[name].type)
            for name in ("replacement_id", "replacement_size", "replacement_content_type")
        } | {"replacement_created_at": func.now()}
        change = cls.owned_update().where(file.id == bindparam("id"))
        return change.values(values).returning(*cls.columns())

    @change_statement
    def _finish_replacement(cls) -> ClauseElement:
        file = cls.table().c
        change = cls.owned_update().where(
            *cls._is_replacement_pending(), file.replacement_created_at > func.now() - _within()
        )
        values = {
            "size": file.replacement_size,
            "content_type": file.replacement_content_type,
            "previous_object_id": file.object_id,
            "replaced_at": func.now(),
        }
        values |= cls._object(file.replacement_size) | NO_REPLACEMENT | cls.audit_columns()
        return change.values(values).returning(*cls.columns())

    @change_statement
    def _cancel_replacement(cls) -> ClauseElement:
        change = cls.owned_update().where(*cls._is_replacement_pending())
        return change.values(CANCELLED_REPLACEMENT).returning(*cls.columns())

    @classmethod
    def _is_replacement_pending(cls) -> tuple[ColumnElement[bool], ...]:
        file = cls.table().c
        replacement_id = bindparam("pending", type_=file.replacement_id.type)
        return (
            file.id == bindparam("id"),
            file.replacement_id == replacement_id,
            file.replacement_size.is_not(None),
        )

    @classmethod
    def _object(cls, size: Any) -> dict[str, Any]:
        """The columns of a new object of `size` bytes."""
        file = cls.table().c
        fingerprint = bindparam("fingerprint", type_=LargeBinary())
        return {
            "object_id": bindparam("object_id"),
            "object_location": bindparam("stored_at", type_=Text()),
            "fingerprint": fingerprint,
            "key": cls._key(file.bucket_id, file.location, size, fingerprint),
        }

    @classmethod
    def _key(cls, bucket_id: Any, location: Any, size: Any, fingerprint: Any) -> Any:
        """The key, as `db.storage.rows.file_key` computes it."""
        text = func.convert_to(location, "UTF8", type_=LargeBinary())
        length = func.int8send(func.octet_length(text), type_=LargeBinary())
        parts = (
            func.uuid_send(cls.table().c.owner_id, type_=LargeBinary()),
            func.uuid_send(bucket_id, type_=LargeBinary()),
            length,
            text,
            func.int8send(size, type_=LargeBinary()),
            fingerprint,
        )
        whole: Any = parts[0]
        for part in parts[1:]:
            whole = whole.concat(part)
        return func.sha256(whole)


def _within() -> Any:
    return bindparam("within", UPLOAD_WITHIN, type_=Interval())
