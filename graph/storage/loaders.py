"""Loaders of storage."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from db.errors import HowdahError
from db.kit.paging import Page, Window
from db.postgres.engine import ReadSession
from db.storage import BspRow, Bsps, BucketRow, Buckets, FileRow, Files, Folders, Replicas
from graph.kit.loaded_rows import LoadedRows, parents_at_once
from graph.kit.loaders import ById, Loader


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


class FilesOfParents(Loader[FilesQuery, Any]):
    """Loads lists of many parents, with one statement for all keys that differ by parent only."""

    async def batch(self, session: ReadSession, keys: list[FilesQuery]) -> Mapping[FilesQuery, Any]:
        grouped: dict[tuple[Any, ...], list[FilesQuery]] = {}
        for key in keys:
            grouped.setdefault(key[1:], []).append(key)
        found: dict[FilesQuery, Any] = {}
        for queries in grouped.values():
            parents = [query.parent for query in queries]
            try:
                answers = await self._find_in_parts(session, parents, queries[0])
            except HowdahError as error:  # invalid arguments of one field must not fail another
                answers = dict.fromkeys(parents, error)
            found |= {query: answers.get(query.parent) for query in queries}
        return found

    async def _find_in_parts(
        self, session: ReadSession, parents: list[UUID], query: FilesQuery
    ) -> Mapping[UUID, Any]:
        if query.window is None:
            return await self.find_of(session, parents, query)
        rows, pages = LoadedRows.of(self.context), dict[UUID, Page[Any]]()
        for some in parents_at_once(parents, query.window.size):
            found = await self.find_of(session, some, query)
            rows.add(sum(len(page.rows) for page in found.values()))
            pages |= found
        return pages

    @abstractmethod
    async def find_of(
        self, session: ReadSession, parents: Sequence[UUID], query: FilesQuery
    ) -> Mapping[UUID, Any]:
        """A page for each of `parents`, or the number of its items if there is no window."""


class FilesOfBucket(FilesOfParents):
    async def find_of(
        self, session: ReadSession, parents: Sequence[UUID], query: FilesQuery
    ) -> Mapping[UUID, Any]:
        files = Files(session, self.context.owner)
        level: dict[str, Any] = {"under": query.under, "recursive": query.recursive}
        if query.window is None:
            return await files.count_of_buckets(parents, **level)
        return await files.of_buckets(parents, query.window, **level)


class FoldersOfBucket(FilesOfParents):
    """Folders of buckets, one level deep."""

    async def find_of(
        self, session: ReadSession, parents: Sequence[UUID], query: FilesQuery
    ) -> Mapping[UUID, Any]:
        folders = Folders(session, self.context.owner)
        if query.window is None:
            return await folders.count_of_buckets_at(parents, under=query.under)
        return await folders.of_buckets_at(parents, query.window, under=query.under)


class FilesOfBsp(FilesOfParents):
    """Files of the viewer that providers store."""

    async def find_of(
        self, session: ReadSession, parents: Sequence[UUID], query: FilesQuery
    ) -> Mapping[UUID, Any]:
        files = Files(session, self.context.owner)
        if query.window is None:
            return await files.count_of_bsps(parents)
        return await files.of_bsps(parents, query.window)
