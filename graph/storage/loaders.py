"""Loaders of storage."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from db.kit.lists.paging import Window
from db.postgres.sessions import ReadSession
from db.storage import BspRow, Bsps, BucketRow, Buckets, FileRow, Files, Folders, Replicas
from graph.kit.loaders import ById, Loader
from graph.kit.parent_lists import ListsOfParents


class BspById(ById[BspRow]):
    repository = Bsps


class BucketById(ById[BucketRow]):
    """Buckets that the viewer can read."""

    repository = Buckets


class FileById(ById[FileRow]):
    """Files that the viewer can read."""

    repository = Files


class BspsOfFile(Loader[UUID, Sequence[UUID]]):
    """IDs of the providers that store a file."""

    async def batch(self, session: ReadSession, keys: list[UUID]) -> Mapping[UUID, Sequence[UUID]]:
        return await Replicas(session, self.context.owner).of_files(keys)


class FilesQuery(NamedTuple):
    """A page of the files or folders of one parent, or their number if `window` is None."""

    parent: UUID
    window: Window | None
    under: str | None = None
    recursive: bool = True


class FilesOfBucket(ListsOfParents[FilesQuery]):
    async def find_of(
        self, session: ReadSession, parents: Sequence[UUID], query: FilesQuery
    ) -> Mapping[UUID, Any]:
        files = Files(session, self.context.owner)
        level: dict[str, Any] = {"under": query.under, "recursive": query.recursive}
        if query.window is None:
            return await files.count_of_buckets(parents, **level)
        return await files.of_buckets(parents, query.window, **level)


class FoldersOfBucket(ListsOfParents[FilesQuery]):
    """Folders of buckets, one level deep."""

    async def find_of(
        self, session: ReadSession, parents: Sequence[UUID], query: FilesQuery
    ) -> Mapping[UUID, Any]:
        folders = Folders(session, self.context.owner)
        if query.window is None:
            return await folders.count_of_buckets_at(parents, under=query.under)
        return await folders.of_buckets_at(parents, query.window, under=query.under)


class FilesOfBsp(ListsOfParents[FilesQuery]):
    """Files of the viewer that providers store."""

    async def find_of(
        self, session: ReadSession, parents: Sequence[UUID], query: FilesQuery
    ) -> Mapping[UUID, Any]:
        files = Files(session, self.context.owner)
        if query.window is None:
            return await files.count_of_bsps(parents)
        return await files.of_bsps(parents, query.window)
