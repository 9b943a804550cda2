"""The repository of replicas. A trigger keeps the used capacity of their providers."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Uuid, bindparam, func, insert, literal, select
from sqlalchemy.sql import ClauseElement

from db.kit.repository import Repository, S, is_any_of
from db.postgres.sessions import Session
from db.postgres.statements import change_statement, statement
from db.storage import errors
from db.storage.repositories.files import Files
from db.storage.rows import FileRow
from db.storage.tables import Bsp, File, Replica

_BSP = Bsp.__table__.c
_FILE = File.__table__.c


class ReplicaRow(NamedTuple):
    """One provider that stores one file."""

    file_id: UUID
    bsp_id: UUID


class Replicas(Repository[ReplicaRow, S]):
    """The replicas of one owner's files."""

    model = Replica
    row = ReplicaRow
    noun = "replica"

    async def place(self: "Replicas[Session]", file: FileRow) -> None:
        """Adds replicas at the providers with the most free space.

        Placements run one at a time: each waits for the previous transaction to end, and so sees
        the space that it took.
        """
        if not file.desired_replicas:
            return
        await self.run(self._lock_placement())
        found = await self.run(
            self._place(), file_id=file.id, size=file.size, wanted=file.desired_replicas
        )
        if len(found) < file.desired_replicas:
            raise errors.insufficient_capacity(file.desired_replicas, len(found), file.size)

    async def check_space(self, file: FileRow, *, size: int) -> None:
        """Raises Conflict if too few providers have space for `size` bytes in place of the file."""
        if not file.desired_replicas:
            return
        found = await self.value(self._count_suitable(), file_id=file.id, size=size)
        if found < file.desired_replicas:
            raise errors.insufficient_capacity(file.desired_replicas, found, size)

    async def release(self: "Replicas[Session]", file_id: UUID) -> None:
        await self.run(self._release(), file_id=file_id)

    async def place_anew(self: "Replicas[Session]", file: FileRow) -> None:
        """Replaces the replicas by those of other bytes, at the providers with most free space."""
        if file.desired_replicas:
            await self.run(self._lock_placement())
            # Two changes of replicas follow. Each locks in the order of IDs, but not both together.
            await self.run(self._lock_providers())
            await self.release(file.id)
            await self.place(file)

    async def release_all(self: "Replicas[Session]", bucket_id: UUID) -> None:
        await self.run(self._release_all(), bucket_id=bucket_id)

    async def of_files(self, file_ids: Sequence[UUID]) -> Mapping[UUID, Sequence[UUID]]:
        found: dict[UUID, list[UUID]] = {file_id: [] for file_id in file_ids}
        for file_id, bsp_id in await self.run(self._of_files(), ids=list(file_ids)):
            found[file_id].append(bsp_id)
        return found

    @statement
    def _lock_placement(cls) -> ClauseElement:
        name = literal("placement of replicas")
        return select(func.pg_advisory_xact_lock(func.hashtextextended(name, 0)))

    @statement
    def _lock_providers(cls) -> ClauseElement:
        return select(_BSP.id).order_by(_BSP.id).with_for_update(key_share=True)

    @change_statement
    def _place(cls) -> ClauseElement:
        size = bindparam("size", type_=_BSP.capacity.type)
        new = select(
            bindparam("file_id", type_=Uuid()), _BSP.id, bindparam("owner_id", type_=Uuid()), size
        )
        roomiest = (
            new.where(_BSP.free_capacity >= size)
            .order_by(_BSP.free_capacity.desc(), _BSP.id)
            .limit(bindparam("wanted"))
        )
        columns = ["file_id", "bsp_id", "owner_id", "size"]
        return insert(cls.table()).from_select(columns, roomiest).returning(*cls.columns())

    @statement
    def _count_suitable(cls) -> ClauseElement:
        replica = cls.table().c
        of_file = (replica.bsp_id == _BSP.id) & (replica.file_id == bindparam("file_id"))
        each = Bsp.__table__.outerjoin(cls.table(), of_file & cls.is_owned())
        free = _BSP.free_capacity + func.coalesce(replica.size, 0)
        size = bindparam("size", type_=_BSP.capacity.type)
        return select(func.count()).select_from(each).where(free >= size)

    @change_statement
    def _release(cls) -> ClauseElement:
        return cls.owned_delete().where(cls.table().c.file_id == bindparam("file_id"))

    @change_statement
    def _release_all(cls) -> ClauseElement:
        of_bucket = Files.owned(_FILE.id).where(_FILE.bucket_id == bindparam("bucket_id"))
        return cls.owned_delete().where(cls.table().c.file_id.in_(of_bucket))

    @statement
    def _of_files(cls) -> ClauseElement:
        replica = cls.table().c
        same_file = (replica.file_id == _FILE.id, replica.owner_id == _FILE.owner_id)
        readable = Files.readable(*cls.columns()).where(*same_file)
        return readable.where(is_any_of(_FILE.id)).order_by(replica.file_id, replica.bsp_id)
