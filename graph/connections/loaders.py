"""Loaders of connections and preferences, and of what the users' databases answer."""

import asyncio
from abc import abstractmethod
from collections.abc import Hashable, Mapping
from typing import Any, TypeVar
from uuid import UUID

from db.connections import (
    ConnectionRow,
    Connections,
    OpenConnections,
    PreferenceRow,
    Preferences,
)
from db.errors import HowdahError
from db.postgres.sessions import ReadSession
from graph.executor import ResultTooLarge
from graph.kit.ids import NameKey
from graph.kit.loaders import BatchLoader, ById, Loader

MAX_CONCURRENT_READS = 4
"""Reads of one operation: a database that does not answer delays few others."""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class ConnectionById(ById[ConnectionRow]):
    repository = Connections


class IsOpen(Loader[UUID, bool]):
    """Whether a connection is open at any replica."""

    async def batch(self, session: ReadSession, keys: list[UUID]) -> Mapping[UUID, bool]:
        opened = await OpenConnections(session, self.context.owner).of_connections(keys)
        return {row.connection_id: True for row in opened}


class PreferenceByName(Loader[NameKey, PreferenceRow]):
    """The container of a preference is its owner."""

    async def batch(
        self, session: ReadSession, keys: list[NameKey]
    ) -> Mapping[NameKey, PreferenceRow]:
        owner = self.context.owner
        names = [key.names[0] for key in keys if key.container == owner]
        rows = await Preferences(session, owner).of_keys(names)
        return {NameKey(owner, (row.key,)): row for row in rows}


class GroupLoader(BatchLoader[K, V]):
    """Reads from users' databases, each group of keys at once: its error fails its own keys only.

    A group is a connection, unless a subclass says otherwise.
    """

    @staticmethod
    def group_of(key: Any) -> Hashable:
        return key.connection_id  # type: ignore[no-any-return]

    @abstractmethod
    async def read(self, keys: list[K]) -> Mapping[K, V]:
        """Reads the keys of one group."""

    async def find(self, keys: list[K]) -> Mapping[K, V | Exception]:
        groups: dict[Hashable, list[K]] = {}
        for key in keys:
            groups.setdefault(self.group_of(key), []).append(key)
        reads = asyncio.Semaphore(MAX_CONCURRENT_READS)

        async def read(group: list[K]) -> Mapping[K, V | Exception]:
            try:
                async with reads:
                    return await self.read(group)
            except (HowdahError, ResultTooLarge) as error:
                return dict.fromkeys(group, error)

        found: dict[K, V | Exception] = {}
        for part in await asyncio.gather(*map(read, groups.values())):
            found |= part
        return found
