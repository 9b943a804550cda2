"""Loaders of the catalogues of connected databases: one statement for each level of a query."""

from collections.abc import Hashable, Mapping
from typing import Any, ClassVar, NamedTuple, TypeVar
from uuid import UUID

from db.errors import TooLarge
from db.kit.lists.long_texts import OPERATION_BYTES
from db.kit.lists.paging import Page, Window
from db.workbench.catalogue import MAX_COLUMNS, CatalogueReader
from db.workbench.catalogue.definitions import MAX_DEFINITION_BYTES, DefinedKind
from db.workbench.catalogue.objects import ObjectFact, ObjectKind
from graph.connections.loaders import ConnectionById, GroupLoader
from graph.executor import ResultTooLarge
from graph.kit.ids import NameKey
from graph.kit.loaded_rows import find_pages

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


class CatalogueLoader(GroupLoader[K, Any]):
    """Reads catalogues; the keys of a group share a statement."""

    @property
    def reader(self) -> CatalogueReader:
        return CatalogueReader(self.context.services.workbench, self.context.owner)


class ReadOnlyRisks(CatalogueLoader[UUID]):
    """The key is the connection."""

    @staticmethod
    def group_of(key: UUID) -> Hashable:
        return key

    async def read(self, keys: list[UUID]) -> Mapping[UUID, Any]:
        return {key: await self.reader.read_only_risks(key) for key in keys}


class Pages(CatalogueLoader[PageKey]):
    """Parents in one database of which the same page is requested share a statement."""

    kind: ClassVar[ObjectKind[Any]]

    @staticmethod
    def group_of(key: PageKey) -> Hashable:
        return key.connection_id, key.window

    async def read(self, keys: list[PageKey]) -> Mapping[PageKey, Any]:
        connection_id, _, window = keys[0]
        parents = [key.parent for key in keys]
        if window is None:
            counts = await self.reader.count(connection_id, self.kind, parents)
            return {key: counts[key.parent] for key in keys}
        found: Mapping[UUID, Page[Any]] = await find_pages(
            self.context,
            parents,
            window.size,
            lambda part: self.reader.pages(connection_id, self.kind, part, window),
        )
        return {key: found[key.parent] for key in keys}


class Lists(CatalogueLoader[ObjectKey]):
    """All objects of one kind that belong to an object."""

    kind: ClassVar[ObjectKind[Any]]

    async def read(self, keys: list[ObjectKey]) -> Mapping[ObjectKey, Any]:
        parents = [key.id for key in keys]
        try:
            found = await self.reader.lists(keys[0].connection_id, self.kind, parents)
        except TooLarge:  # one error, not one for each table
            raise ResultTooLarge(MAX_COLUMNS, self.kind.noun) from None
        return {key: found[key.id] for key in keys}


class Facts(CatalogueLoader[ObjectKey]):
    """What one statement says about an object. None if it says nothing."""

    fact: ClassVar[ObjectFact[Any]]

    async def read(self, keys: list[ObjectKey]) -> Mapping[ObjectKey, Any]:
        found = await self.reader.facts(keys[0].connection_id, self.fact, [key.id for key in keys])
        return {key: found[key.id] for key in keys if key.id in found}


class TextFacts(Facts):
    """A fact that is a text, which counts towards the long texts of the operation."""

    async def read(self, keys: list[ObjectKey]) -> Mapping[ObjectKey, Any]:
        found: Mapping[ObjectKey, str | None] = await self.context.require_text_budget().spend(
            lambda: super(TextFacts, self).read(keys), _characters
        )
        return found


class Definitions(CatalogueLoader[ObjectKey]):
    kind: ClassVar[DefinedKind]

    async def read(self, keys: list[ObjectKey]) -> Mapping[ObjectKey, Any]:
        ids = [key.id for key in keys]

        async def read() -> Mapping[UUID, str]:
            try:
                return await self.reader.definitions(keys[0].connection_id, self.kind, ids)
            except TooLarge:  # one error, not one for each object
                raise ResultTooLarge(MAX_DEFINITION_BYTES, "bytes of definitions") from None

        try:
            found = await self.context.require_text_budget().spend(read, _characters)
        except TooLarge:  # as above
            raise ResultTooLarge(OPERATION_BYTES, "bytes of long texts") from None
        return {key: found[key.id] for key in keys if key.id in found}


def _characters(texts: Mapping[Any, str | None]) -> int:
    return sum(len(text) for text in texts.values() if text is not None)


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

    async def read(self, keys: list[NameKey]) -> Mapping[NameKey, Any]:
        container = keys[0].container
        found = await self.reader.named(container, self.kind, [key.names for key in keys])
        return {key: found[key.names] for key in keys if key.names in found}
