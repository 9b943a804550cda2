"""Loaders of connections, preferences, and of the catalogues of connected databases."""

import asyncio
from abc import abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from db.connections import (
    ConnectionRow,
    Connections,
    OpenConnections,
    PreferenceRow,
    Preferences,
)
from db.errors import HowdahError, TooLarge
from db.kit.paging import Window
from db.postgres.engine import ReadSession
from db.workbench.catalogue import MAX_COLUMNS, CatalogueReader, SchemaRow, TableRow
from graph.executor import ResultTooLarge
from graph.kit.ids import NameKey
from graph.kit.loaded_rows import find_pages
from graph.kit.loaders import BatchLoader, ById, Loader

MAX_CONCURRENT_STATEMENTS = 4
"""Of one operation, so that a database that does not answer delays few others."""

K = TypeVar("K", bound=Hashable)


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


class SchemasKey(NamedTuple):
    """Identifies a page of the schemas of a database, or their number if `window` is None."""

    connection_id: UUID
    window: Window | None
    include_system: bool


class TablesKey(NamedTuple):
    """Identifies a page of the tables of a schema, or their number if `window` is None."""

    connection_id: UUID
    schema_id: UUID
    window: Window | None


class ColumnsKey(NamedTuple):
    connection_id: UUID
    table_id: UUID


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


class SchemaPages(CatalogueLoader[SchemasKey]):
    @staticmethod
    def group_of(key: SchemasKey) -> Hashable:
        return key

    async def read(
        self, reader: CatalogueReader, keys: list[SchemasKey]
    ) -> Mapping[SchemasKey, Any]:
        (key,) = keys
        connection_id, window, include_system = key
        if window is None:
            return {key: await reader.count_schemas(connection_id, include_system=include_system)}
        return {key: await reader.schemas(connection_id, window, include_system=include_system)}


class TablePages(CatalogueLoader[TablesKey]):
    """Schemas of one database that request the same page share a statement."""

    @staticmethod
    def group_of(key: TablesKey) -> Hashable:
        return key.connection_id, key.window

    async def read(self, reader: CatalogueReader, keys: list[TablesKey]) -> Mapping[TablesKey, Any]:
        connection_id, _, window = keys[0]
        schema_ids = [key.schema_id for key in keys]
        if window is None:
            counts = await reader.count_tables(connection_id, schema_ids)
            return {key: counts[key.schema_id] for key in keys}
        find = partial(reader.tables, connection_id, window=window)
        pages = await find_pages(self.context, schema_ids, window.size, find)
        return {key: pages[key.schema_id] for key in keys}


class ColumnLists(CatalogueLoader[ColumnsKey]):
    @staticmethod
    def group_of(key: ColumnsKey) -> Hashable:
        return key.connection_id

    async def read(
        self, reader: CatalogueReader, keys: list[ColumnsKey]
    ) -> Mapping[ColumnsKey, Any]:
        try:
            found = await reader.columns(keys[0].connection_id, [key.table_id for key in keys])
        except TooLarge:  # one error, not one for each table
            raise ResultTooLarge(MAX_COLUMNS, "columns") from None
        return {key: found[key.table_id] for key in keys}


class _VisibleOnly(CatalogueLoader[NameKey]):
    """Finds nothing in a connection that the viewer does not own: the IDs come from clients."""

    @staticmethod
    def group_of(key: NameKey) -> Hashable:
        return key.container

    async def find(self, keys: list[NameKey]) -> Mapping[NameKey, Any]:
        containers = list({key.container for key in keys})
        rows = await ConnectionById.of(self.context).load_many(containers)
        visible = {row.id for row in rows if row is not None}
        return await super().find([key for key in keys if key.container in visible])


class SchemaByName(_VisibleOnly):
    async def read(
        self, reader: CatalogueReader, keys: list[NameKey]
    ) -> Mapping[NameKey, SchemaRow]:
        names = [key.names[0] for key in keys]
        found = await reader.named_schemas(keys[0].container, names)
        return {key: found[key.names[0]] for key in keys if key.names[0] in found}


class TableByName(_VisibleOnly):
    async def read(
        self, reader: CatalogueReader, keys: list[NameKey]
    ) -> Mapping[NameKey, TableRow]:
        names: Sequence[tuple[str, str]] = [_pair(key) for key in keys]
        found = await reader.named_tables(keys[0].container, names)
        return {key: found[_pair(key)] for key in keys if _pair(key) in found}


def _pair(key: NameKey) -> tuple[str, str]:
    schema, table = key.names
    return schema, table
