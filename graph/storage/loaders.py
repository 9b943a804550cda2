"""Loaders of storage. Each batch is one call of `StorageOperations`."""

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from db.errors import HowdahError
from db.kit.base import OwnerId
from db.kit.paging import Page, Window
from db.storage import BspRow, BucketRow, FileRow, StorageOperations
from graph.context import Context
from graph.kit.loaders import BatchLoader
from graph.kit.paging import Listing

V = TypeVar("V")


class StorageLoader(BatchLoader[Any, V]):
    """Loads through `StorageOperations`, in PostgreSQL or in memory."""

    @property
    def storage(self) -> StorageOperations:
        return self.context.services.storage

    @property
    def owner(self) -> OwnerId:
        return self.context.owner


class BspById(StorageLoader[BspRow]):
    async def find(self, keys: list[UUID]) -> Mapping[UUID, BspRow]:
        return {row.id: row for row in await self.storage.bsps_by_id(self.owner, keys)}


class BucketById(StorageLoader[BucketRow]):
    """Buckets that the viewer can read."""

    async def find(self, keys: list[UUID]) -> Mapping[UUID, BucketRow]:
        return {row.id: row for row in await self.storage.buckets_by_id(self.owner, keys)}


class FileById(StorageLoader[FileRow]):
    """Files that the viewer can read."""

    async def find(self, keys: list[UUID]) -> Mapping[UUID, FileRow]:
        return {row.id: row for row in await self.storage.files_by_id(self.owner, keys)}


class BspsOfFile(StorageLoader[Sequence[UUID]]):
    """IDs of the providers that store a file."""

    async def find(self, keys: list[UUID]) -> Mapping[UUID, Sequence[UUID]]:
        return await self.storage.bsps_of_files(self.owner, keys)


class FilesQuery(NamedTuple):
    """A page of the files of one parent, or their number if `window` is None."""

    parent: UUID
    window: Window | None
    under: str | None = None


class FilesOfParents(StorageLoader[Any]):
    """Loads files of many parents, with one call for all keys that differ by parent only."""

    async def find(self, keys: list[FilesQuery]) -> Mapping[FilesQuery, Any]:
        grouped: dict[FilesQuery, list[UUID]] = {}
        for key in keys:
            grouped.setdefault(key._replace(parent=UUID(int=0)), []).append(key.parent)
        found: dict[FilesQuery, Any] = {}
        for query, parents in grouped.items():
            try:
                answers = await self.find_of(parents, query)
            except HowdahError as error:  # invalid arguments of one field must not fail another
                answers = dict.fromkeys(parents, error)
            found |= {query._replace(parent=one): answer for one, answer in answers.items()}
        return found

    @abstractmethod
    async def find_of(self, parents: list[UUID], query: FilesQuery) -> Mapping[UUID, Any]:
        """A page for each of `parents`, or the number of its files if there is no window."""

    @classmethod
    async def listing(cls, context: Context, query: FilesQuery) -> Listing:
        loader = cls.of(context)
        page: Page[FileRow] | None = await loader.load(query)
        assert page is not None  # noqa: S101 - every parent gets a page, which may be empty
        return Listing(page, _counter(loader, query._replace(window=None)))


class FilesOfBucket(FilesOfParents):
    async def find_of(self, parents: list[UUID], query: FilesQuery) -> Mapping[UUID, Any]:
        if query.window is None:
            return await self.storage.count_files_of_buckets(self.owner, parents, under=query.under)
        return await self.storage.files_of_buckets(
            self.owner, parents, query.window, under=query.under
        )


class FilesOfBsp(FilesOfParents):
    """Files of the viewer that providers store."""

    async def find_of(self, parents: list[UUID], query: FilesQuery) -> Mapping[UUID, Any]:
        if query.window is None:
            return await self.storage.count_files_of_bsps(self.owner, parents)
        return await self.storage.files_of_bsps(self.owner, parents, query.window)


def _counter(loader: FilesOfParents, query: FilesQuery) -> Callable[[], Awaitable[int]]:
    async def count() -> int:
        return await loader.load(query) or 0

    return count
