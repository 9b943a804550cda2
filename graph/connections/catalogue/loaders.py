"""Loaders of the catalogues of connected databases: one statement for each level of a query."""

import asyncio
from abc import abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, NamedTuple, TypeVar
from uuid import UUID

from db.errors import HowdahError, TooLarge
from db.kit.paging import Page, Window
from db.workbench.catalogue import MAX_COLUMNS, CatalogueReader
from db.workbench.catalogue.definitions import MAX_DEFINITION_BYTES, DefinedKind
from db.workbench.catalogue.objects import ObjectKind
from graph.connections.loaders import ConnectionById
from graph.executor import ResultTooLarge
from graph.kit.ids import NameKey
from graph.kit.loaded_rows import find_pages
from graph.kit.loaders import BatchLoader

MAX_CONCURRENT_STATEMENTS = 4
"""Of one operation, so that a database that does not answer delays few others."""

K = TypeVar("K", bound=Hashable)


class PageKey(NamedTuple):
    """A page of the objects of a parent, or their number if `window` is None."""

    connection_id: UUID
    parent: UUID
    window: Window | None


class ObjectKey(NamedTuple):
    """An object of a database by its OID."""

    connection_id: UUID
    id: UUID


class DefinitionKey(NamedTuple):
    """The definition of an object, whose OID is unique in the catalogue of its kind."""

    connection_id: UUID
    kind: DefinedKind
    id: UUID


class CatalogueLoader(BatchLoader[K, Any]):
    """Reads each group of keys with one statement. The error of a group fails its own keys only."""

    @staticmethod
    @abstractmethod
    def group_of(key: K) -> Hashable:
        """Keys of one group share a statement."""

    @abstractmethod
    async def read(self, reader: CatalogueReader, keys: list[K]) -> Mapping[K, Any]:
        """Reads the keys of one group."""

    async def find(self, keys: list[K]) -> Mapping[K, Any]:
        groups: dict[Hashable, list[K]] = {}
        for key in keys:
            groups.setdefault(self.group_of(key), []).append(key)
        reader = CatalogueReader(self.context.services.workbench, self.context.owner)
        statements = asyncio.Semaphore(MAX_CONCURRENT_STATEMENTS)

        async def read(group: list[K]) -> Mapping[K, Any]:
            try:
                async with statements:
                    return await self.read(reader, group)
            except (HowdahError, ResultTooLarge) as error:
                return dict.fromkeys(group, error)

        found: dict[K, Any] = {}
        for part in await asyncio.gather(*map(read, groups.values())):
            found |= part
        return found


class ReadOnlyRisks(CatalogueLoader[UUID]):
    """The key is the connection."""

    @staticmethod
    def group_of(key: UUID) -> Hashable:
        return key

    async def read(self, reader: CatalogueReader, keys: list[UUID]) -> Mapping[UUID, Any]:
        return {key: await reader.read_only_risks(key) for key in keys}


class Pages(CatalogueLoader[PageKey]):
    """Parents in one database of which the same page is requested share a statement."""

    kind: ClassVar[ObjectKind[Any]]

    @staticmethod
    def group_of(key: PageKey) -> Hashable:
        return key.connection_id, key.window

    async def read(self, reader: CatalogueReader, keys: list[PageKey]) -> Mapping[PageKey, Any]:
        connection_id, _, window = keys[0]
        parents = [key.parent for key in keys]
        if window is None:
            counts = await reader.count(connection_id, self.kind, parents)
            return {key: counts[key.parent] for key in keys}

        def find(part: Sequence[UUID], window: Window = window) -> Any:
            return reader.pages(connection_id, self.kind, part, window)

        found: Mapping[UUID, Page[Any]] = await find_pages(
            self.context, parents, window.size, partial(find)
        )
        return {key: found[key.parent] for key in keys}


class Lists(CatalogueLoader[ObjectKey]):
    """All objects of one kind that belong to an object."""

    kind: ClassVar[ObjectKind[Any]]

    @staticmethod
    def group_of(key: ObjectKey) -> Hashable:
        return key.connection_id

    async def read(self, reader: CatalogueReader, keys: list[ObjectKey]) -> Mapping[ObjectKey, Any]:
        parents = [key.id for key in keys]
        try:
            found = await reader.lists(keys[0].connection_id, self.kind, parents)
        except TooLarge:  # one error, not one for each table
            raise ResultTooLarge(MAX_COLUMNS, self.kind.noun) from None
        return {key: found[key.id] for key in keys}


class Facts(CatalogueLoader[ObjectKey]):
    """What one statement says about an object. None if it says nothing."""

    sql: ClassVar[str]

    @staticmethod
    def group_of(key: ObjectKey) -> Hashable:
        return key.connection_id

    @staticmethod
    def to_value(*selected: Any) -> Any:
        return selected[0]

    async def read(self, reader: CatalogueReader, keys: list[ObjectKey]) -> Mapping[ObjectKey, Any]:
        found = await reader.facts(keys[0].connection_id, self.sql, [key.id for key in keys])
        return {key: self.to_value(*found[key.id]) for key in keys if key.id in found}


class Definitions(CatalogueLoader[DefinitionKey]):
    """SQL that recreates an object. None if it is made only with another one."""

    @staticmethod
    def group_of(key: DefinitionKey) -> Hashable:
        return key.connection_id, key.kind

    async def read(
        self, reader: CatalogueReader, keys: list[DefinitionKey]
    ) -> Mapping[DefinitionKey, Any]:
        connection_id, kind, _ = keys[0]
        try:
            found = await reader.definitions(connection_id, kind, [key.id for key in keys])
        except TooLarge:  # one error, not one for each object
            raise ResultTooLarge(MAX_DEFINITION_BYTES, "bytes of definitions") from None
        return {key: found[key.id] for key in keys if key.id in found}


class ByKey(CatalogueLoader[NameKey]):
    """Finds nothing in a connection that the viewer does not own: the IDs come from clients."""

    kind: ClassVar[ObjectKind[Any]]

    @staticmethod
    def group_of(key: NameKey) -> Hashable:
        return key.container

    async def find(self, keys: list[NameKey]) -> Mapping[NameKey, Any]:
        containers = list({key.container for key in keys})
        rows = await ConnectionById.of(self.context).load_many(containers)
        visible = {row.id for row in rows if row is not None}
        return await super().find([key for key in keys if key.container in visible])

    async def read(self, reader: CatalogueReader, keys: list[NameKey]) -> Mapping[NameKey, Any]:
        container = keys[0].container
        found = await reader.named(container, self.kind, [key.names for key in keys])
        return {key: found[key.names] for key in keys if key.names in found}
