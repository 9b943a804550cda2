"""What is in a database: schemas, tables, columns, each level by one statement."""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple
from uuid import UUID

import strawberry

from db.errors import HowdahError
from db.kit.paging import Page, Window
from db.workbench.catalogue import queries
from db.workbench.catalogue.queries import ColumnRow, SchemaRow, TableRow
from graph.context import Context, Info
from graph.kit.fields import attribute, enum_value, field
from graph.kit.loaders import BatchLoader
from graph.kit.paging import After, Before, Connection, First, Last, Listing, window
from graph.kit.scalars import BigInt


class PageAsked(NamedTuple):
    """A page of what a parent has; without a window, how many there are."""

    connection_id: UUID
    parent: UUID
    window: Window | None


class SchemasOf(BatchLoader[PageAsked, Any]):
    """The schemas of databases."""

    async def find(self, keys: list[PageAsked]) -> Mapping[PageAsked, Any]:
        found: dict[PageAsked, Any] = {}
        for key in keys:
            try:
                async with _lent(self.context, key.connection_id) as connection:
                    found[key] = await _schemas(connection, key)
            except HowdahError as error:
                found[key] = error
        return found

    @classmethod
    async def listing(cls, context: Context, connection_id: UUID, asked: Window) -> Listing:
        return await _listing(cls.of(context), PageAsked(connection_id, connection_id, asked))


class TablesOf(BatchLoader[PageAsked, Any]):
    """The tables of schemas: those that ask alike together."""

    async def find(self, keys: list[PageAsked]) -> Mapping[PageAsked, Any]:
        alike: dict[PageAsked, list[UUID]] = {}
        for key in keys:
            alike.setdefault(key._replace(parent=UUID(int=0)), []).append(key.parent)
        found: dict[PageAsked, Any] = {}
        for asked, parents in alike.items():
            try:
                answers = await self._answers(asked, parents)
            except HowdahError as error:
                answers = dict.fromkeys(parents, error)
            found |= {asked._replace(parent=parent): page for parent, page in answers.items()}
        return found

    async def _answers(self, asked: PageAsked, parents: Sequence[UUID]) -> Mapping[UUID, Any]:
        async with _lent(self.context, asked.connection_id) as connection:
            if asked.window is None:
                return await queries.count_tables(connection, parents)
            return await queries.tables(connection, asked.connection_id, parents, asked.window)


class ColumnsOf(BatchLoader[tuple[UUID, UUID], list[ColumnRow]]):
    """The columns of tables, by (connection, table)."""

    async def find(
        self, keys: list[tuple[UUID, UUID]]
    ) -> Mapping[tuple[UUID, UUID], list[ColumnRow]]:
        tables: dict[UUID, list[UUID]] = {}
        for connection_id, table in keys:
            tables.setdefault(connection_id, []).append(table)
        found: dict[tuple[UUID, UUID], list[ColumnRow]] = {}
        for connection_id, parents in tables.items():
            async with _lent(self.context, connection_id) as connection:
                answers = await queries.columns(connection, parents)
            found |= {(connection_id, table): rows for table, rows in answers.items()}
        return found


@strawberry.enum(description="What has columns.")
class TableKind(Enum):
    """As the catalogue tells them apart."""

    TABLE = enum_value("TABLE", "A table.")
    PARTITIONED_TABLE = enum_value("PARTITIONED_TABLE", "A table whose rows lie in its partitions.")
    VIEW = enum_value("VIEW", "A query by a name.")
    MATERIALIZED_VIEW = enum_value(
        "MATERIALIZED_VIEW", "A query and its rows as of the last refresh."
    )
    FOREIGN_TABLE = enum_value("FOREIGN_TABLE", "A table that lies elsewhere.")


@strawberry.type(description="A column of a table.")
class TableColumn:
    """Read from a ColumnRow."""

    name: str = attribute("Its name.")
    position: int = attribute("Its number in the table, from 1; dropped ones leave gaps.")
    type: str = attribute("Its type, as PostgreSQL writes it.")
    nullable: bool = attribute("Whether it may be NULL.")
    default: str | None = attribute("The expression of its default.")
    is_primary_key: bool = attribute("Whether it is of the primary key.")
    references: str | None = attribute("The table a foreign key of it leads to.")
    comment: str | None = attribute("What COMMENT ON says.")


@strawberry.type(description="A table, a view, or whatever else has columns.")
class DatabaseTable:
    """Read from a TableRow."""

    name: str = attribute("Its name.")
    comment: str | None = attribute("What COMMENT ON says.")
    row_estimate: int | None = attribute(
        "About how many rows; null when it is not known.", type=BigInt | None
    )

    @field("What it is.")
    def kind(root: strawberry.Parent[TableRow]) -> TableKind:
        return TableKind(root.kind)

    @field("All its columns, in their order.", type=list[TableColumn])
    async def columns(root: strawberry.Parent[TableRow], info: Info) -> list[ColumnRow]:
        return await ColumnsOf.of(info.context).load((root.connection_id, root.id)) or []


@strawberry.type(description="A schema of a database.")
class DatabaseSchema:
    """Read from a SchemaRow."""

    name: str = attribute("Its name.")
    comment: str | None = attribute("What COMMENT ON says.")

    @field("What is in it, by name.", type=Connection[DatabaseTable])
    async def tables(
        root: strawberry.Parent[SchemaRow],
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Listing:
        asked = window(info.context, first=first, after=after, last=last, before=before)
        loader = TablesOf.of(info.context)
        return await _listing(loader, PageAsked(root.connection_id, root.id, asked))


def _lent(context: Context, connection_id: UUID) -> Any:
    return context.services.workbench.lend(context.owner, connection_id)


async def _schemas(connection: Any, asked: PageAsked) -> Any:
    if asked.window is None:
        return await queries.count_schemas(connection)
    return await queries.schemas(connection, asked.connection_id, asked.window)


async def _listing(loader: BatchLoader[PageAsked, Any], asked: PageAsked) -> Listing:
    page: Page[Any] | None = await loader.load(asked)
    assert page is not None  # noqa: S101 - every parent gets a page, be it empty

    async def count() -> int:
        return await loader.load(asked._replace(window=None)) or 0

    return Listing(page, count)
