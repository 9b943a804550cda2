"""Loaders that batch by level of a query. Each batch of statements has its own read session."""

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Generic, Self, TypeVar
from uuid import UUID

from db.distributions import SIZES, Distribution
from db.kit.repository import Repository
from db.postgres.sessions import ReadSession
from graph.context import Context

K = TypeVar("K")
V = TypeVar("V")

batch_keys = Distribution(SIZES)
"""The keys of each batch of this process."""


class BatchLoader(ABC, Generic[K, V]):
    """Collects keys while a level resolves, then finds them together. Lives for one operation."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._found: dict[K, V | Exception | None] = {}
        self._waiting: dict[K, list[asyncio.Future[V | None]]] = {}
        self._pending_keys: list[K] = []
        self._batches: set[asyncio.Task[None]] = set()  # the event loop holds tasks weakly
        task = context.task  # knows the loop without asking the kernel for the process
        self._loop = asyncio.get_running_loop() if task is None else task.get_loop()

    @classmethod
    def of(cls, context: Context) -> Self:
        """The loader of this operation, created on first use."""
        found = context.loaders.get(cls)
        if found is None:
            found = context.loaders[cls] = cls(context)
        return found

    async def load(self, key: K) -> V | None:
        """Loads the value of a key, or None. Each key is found once per operation.

        What runs concurrently has tasks of its own. A call in the task of the operation is the only
        one, so that no other key can join its batch: it does not wait for one.
        """
        if asyncio.current_task(self._loop) is not self.context.task or key in self._waiting:
            return await self._join_batch(key)
        if key not in self._found:
            self._found[key] = await self.find_one(key)
        value = self._found[key]
        if isinstance(value, Exception):
            raise value
        return value

    async def load_many(self, keys: Iterable[K]) -> Sequence[V | None]:
        return await asyncio.gather(*map(self._join_batch, keys))

    async def load_each(self, keys: Sequence[K]) -> Sequence[V | Exception | None]:
        """Like `load_many`, with the error of a key in the place of its value.

        Waits once for each batch, which settles all its keys at once, and not for each key.
        """
        for key in keys:
            self._request(key)
        for key in keys:
            if key not in self._found:
                with contextlib.suppress(Exception):  # it is in _found
                    await self._join_batch(key)
        return [self._found[key] for key in keys]

    @abstractmethod
    async def find(self, keys: list[K]) -> Mapping[K, V | Exception]:
        """Finds the values of `keys`. A value may be an exception, raised to callers of its key."""

    def find_one(self, key: K) -> Awaitable[V | Exception | None]:
        """Like `find`, for a key alone."""
        return self._find_one(key)

    async def _find_one(self, key: K) -> V | Exception | None:
        return (await self.find([key])).get(key)

    def _join_batch(self, key: K) -> asyncio.Future[V | None]:
        """Each call returns its own future: cancelling one does not affect the others."""
        future: asyncio.Future[V | None] = self._loop.create_future()
        self._request(key)
        if key in self._found:
            _settle(future, self._found[key])
        else:
            self._waiting[key].append(future)
        return future

    def _request(self, key: K) -> None:
        """Adds a key to the next batch, unless it is found or under way."""
        if key not in self._found and key not in self._waiting:
            self._waiting[key] = []
            if not self._pending_keys:
                self._loop.call_soon(self._start_batch)
            self._pending_keys.append(key)

    def prime(self, key: K, value: V | None) -> None:
        """Sets the value of a key that is known already, so that it is not loaded."""
        self._found[key] = value

    def _start_batch(self) -> None:
        batch = self._loop.create_task(self._run_batch())
        self._batches.add(batch)
        batch.add_done_callback(self._batches.discard)

    async def _run_batch(self) -> None:
        """Settles all pending keys. Keys loaded from now on belong to the next batch."""
        keys, self._pending_keys = self._pending_keys, []
        batch_keys.add(len(keys))
        try:
            found = await self.find(keys)
        except Exception as error:  # noqa: BLE001 - every waiting caller receives it
            found = dict.fromkeys(keys, error)
        for key in keys:
            value = self._found[key] = found.get(key)
            for future in self._waiting.pop(key):
                if not future.done():
                    _settle(future, value)


def _settle(future: "asyncio.Future[Any]", value: object) -> None:
    if isinstance(value, Exception):
        future.set_exception(value)
    else:
        future.set_result(value)


class Loader(BatchLoader[K, V]):
    """Finds values with statements, in its own read session."""

    @abstractmethod
    async def batch(self, session: ReadSession, keys: list[K]) -> Mapping[K, V]:
        """Finds the values of `keys`."""

    async def find(self, keys: list[K]) -> Mapping[K, V]:
        async with self.context.open_reads() as session:
            return await self.batch(session, keys)


class ById(Loader[UUID, V]):
    """Loads the viewer's own rows of one repository by id."""

    repository: ClassVar[type[Repository[Any, Any]]]

    async def batch(self, session: ReadSession, keys: list[UUID]) -> Mapping[UUID, V]:
        rows = self.repository(session, self.context.owner)
        if len(keys) == 1:  # the most common case, which is cheaper for PostgreSQL and its driver
            row = await rows.get(keys[0])
            return {} if row is None else {row.id: row}
        return {row.id: row for row in await rows.get_many(keys)}

    def find_one(self, key: UUID) -> Awaitable[V | None]:
        return self.repository(self.context.open_reads(), self.context.owner).get(key)
