"""Loaders: one batch per level of a query, each with a read session of its own."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Generic, Self, TypeVar
from uuid import UUID

from strawberry.dataloader import DataLoader

from db.engine import Session
from db.repository import Repository
from graph.context import Context

K = TypeVar("K")
V = TypeVar("V")


class Gathering(ABC, Generic[K, V]):
    """Gathers keys while a level resolves, then finds them at once. Lives for one operation."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._batches: DataLoader[K, V | None] = DataLoader(load_fn=self._load)

    @classmethod
    def of(cls, context: Context) -> Self:
        """This operation's own, made at first use."""
        found = context.loaders.get(cls)
        if found is None:
            found = context.loaders[cls] = cls(context)
        return found

    async def load(self, key: K) -> V | None:
        return await self._batches.load(key)

    async def load_many(self, keys: Iterable[K]) -> Sequence[V | None]:
        return await self._batches.load_many(keys)

    @abstractmethod
    async def find(self, keys: list[K]) -> Mapping[K, V]:
        """What there is of `keys`; the order is restored here."""

    async def _load(self, keys: list[K]) -> list[V | None]:
        found = await self.find(keys)
        return [found.get(key) for key in keys]


class Loader(Gathering[K, V]):
    """Finds by statements of a repository, in a read session of its own."""

    @abstractmethod
    async def batch(self, session: Session, keys: list[K]) -> Mapping[K, V]:
        """What there is of `keys`."""

    async def find(self, keys: list[K]) -> Mapping[K, V]:
        async with self.context.services.database.read() as session:
            return await self.batch(session, keys)


class ById(Loader[UUID, V]):
    """Loads the viewer's own rows of one repository by id."""

    repository: ClassVar[type[Repository[Any]]]

    async def batch(self, session: Session, keys: list[UUID]) -> Mapping[UUID, V]:
        rows = self.repository(session, self.context.owner)
        if len(keys) == 1:  # what most queries name; PostgreSQL and its driver need less for it
            row = await rows.get(keys[0])
            return {} if row is None else {row.id: row}
        return {row.id: row for row in await rows.get_many(keys)}
