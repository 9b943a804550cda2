"""What one level of a query needs of storage, by one call each."""

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
    """Finds through `StorageOperations`, whichever twin that is."""

    @property
    def storage(self) -> StorageOperations:
        return self.context.services.storage

    @property
    def owner(self) -> OwnerId:
        return self.context.owner


class BspById(StorageLoader[BspRow]):
    """Providers."""

    async def find(self, keys: list[UUID]) -> Mapping[UUID, BspRow]:
        return {row.id: row for row in await self.storage.bsps_by_id(self.owner, keys)}


class BucketById(StorageLoader[BucketRow]):
    """Buckets that the viewer may read."""

    async def find(self, keys: list[UUID]) -> Mapping[UUID, BucketRow]:
        return {row.id: row for row in await self.storage.buckets_by_id(self.owner, keys)}


class FileById(StorageLoader[FileRow]):
    """Files that the viewer may read."""

    async def find(self, keys: list[UUID]) -> Mapping[UUID, FileRow]:
        return {row.id: row for row in await self.storage.files_by_id(self.owner, keys)}


class BspsOfFile(StorageLoader[Sequence[UUID]]):
    """The providers that keep a file."""

    async def find(self, keys: list[UUID]) -> Mapping[UUID, Sequence[UUID]]:
        return await self.storage.bsps_of_files(self.owner, keys)


class FilesAsked(NamedTuple):
    """Which files of which parent a field asks for; `window` is None to count them."""

    parent: UUID
    window: Window | None
    under: str | None = None


class FilesOfMany(StorageLoader[Any]):
    """Of many parents at once: one call for all that ask alike, as those of one field do."""

    async def find(self, keys: list[FilesAsked]) -> Mapping[FilesAsked, Any]:
        """What is wrong with one field's arguments is no other's error."""
        alike: dict[FilesAsked, list[UUID]] = {}
        for key in keys:
            alike.setdefault(key._replace(parent=UUID(int=0)), []).append(key.parent)
        found: dict[FilesAsked, Any] = {}
        for asked, parents in alike.items():
            try:
                answers = await self.answers(parents, asked)
            except HowdahError as error:
                answers = dict.fromkeys(parents, error)
            found |= {asked._replace(parent=one): answer for one, answer in answers.items()}
        return found

    @abstractmethod
    async def answers(self, parents: list[UUID], asked: FilesAsked) -> Mapping[UUID, Any]:
        """A page, or a number, for each of `parents`."""

    @classmethod
    async def listing(cls, context: Context, asked: FilesAsked) -> Listing:
        loader = cls.of(context)
        page: Page[FileRow] | None = await loader.load(asked)
        assert page is not None  # noqa: S101 - every parent gets a page, be it empty
        return Listing(page, _counting(loader, asked._replace(window=None)))


class FilesOfBucket(FilesOfMany):
    """The files of buckets."""

    async def answers(self, parents: list[UUID], asked: FilesAsked) -> Mapping[UUID, Any]:
        if asked.window is None:
            return await self.storage.count_files_of_buckets(self.owner, parents, under=asked.under)
        return await self.storage.files_of_buckets(
            self.owner, parents, asked.window, under=asked.under
        )


class FilesOfBsp(FilesOfMany):
    """The viewer's files on providers."""

    async def answers(self, parents: list[UUID], asked: FilesAsked) -> Mapping[UUID, Any]:
        if asked.window is None:
            return await self.storage.count_files_of_bsps(self.owner, parents)
        return await self.storage.files_of_bsps(self.owner, parents, asked.window)


def _counting(loader: FilesOfMany, asked: FilesAsked) -> Callable[[], Awaitable[int]]:
    async def count() -> int:
        return await loader.load(asked) or 0

    return count
