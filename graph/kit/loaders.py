"""Loaders: one batch per level of a query, each with a read session of its own."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Generic, Self, TypeVar
from uuid import UUID

from db.kit.repository import Repository
from db.postgres.engine import Session
from graph.context import Context

K = TypeVar("K")
V = TypeVar("V")


class BatchLoader(ABC, Generic[K, V]):
    """Gathers keys while a level resolves, then finds them at once. Lives for one operation."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._found: dict[K, V | Exception | None] = {}
        self._waiting: dict[K, list[asyncio.Future[V | None]]] = {}
        self._pending_keys: list[K] = []
        self._batches: set[asyncio.Task[None]] = set()  # of tasks the loop knows only weakly
        self._loop = asyncio.get_running_loop()

    @classmethod
    def of(cls, context: Context) -> Self:
        """This operation's own, made at first use."""
        found = context.loaders.get(cls)
        if found is None:
            found = context.loaders[cls] = cls(context)
        return found

    def load(self, key: K) -> Awaitable[V | None]:
        """What there is of a key; asked for once, however often it is loaded.

        Each who asks gets a future of their own: whoever is cancelled takes nobody along.
        """
        mine: asyncio.Future[V | None] = self._loop.create_future()
        if key in self._found:
            _settle(mine, self._found[key])
        elif (waiting := self._waiting.get(key)) is not None:
            waiting.append(mine)
        else:
            self._waiting[key] = [mine]
            if not self._pending_keys:
                self._loop.call_soon(self._start_batch)
            self._pending_keys.append(key)
        return mine

    async def load_many(self, keys: Iterable[K]) -> Sequence[V | None]:
        return await asyncio.gather(*map(self.load, keys))

    @abstractmethod
    async def find(self, keys: list[K]) -> Mapping[K, V | Exception]:
        """What there is of `keys`, or why that cannot be told of one of them."""

    def _start_batch(self) -> None:
        batch = self._loop.create_task(self._run_batch())
        self._batches.add(batch)
        batch.add_done_callback(self._batches.discard)

    async def _run_batch(self) -> None:
        """Answers all that was asked for until now; whoever asks from here on is in the next."""
        asked, self._pending_keys = self._pending_keys, []
        try:
            found = await self.find(asked)
        except Exception as error:  # noqa: BLE001 - whatever it is, each who waits shall hear it
            found = dict.fromkeys(asked, error)
        for key in asked:
            answer = self._found[key] = found.get(key)
            for future in self._waiting.pop(key):
                if not future.done():
                    _settle(future, answer)


def _settle(future: "asyncio.Future[Any]", answer: object) -> None:
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)


class Loader(BatchLoader[K, V]):
    """Finds by statements of a repository, in a read session of its own."""

    @abstractmethod
    async def batch(self, session: Session, keys: list[K]) -> Mapping[K, V]:
        """What there is of `keys`."""

    async def find(self, keys: list[K]) -> Mapping[K, V]:
        context = self.context
        async with context.turn.reads, context.services.database.read() as session:
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
