"""GraphQL types and fields of search in a catalogue and of completion of SQL."""

from typing import Annotated, Any, NamedTuple
from uuid import UUID

import strawberry

from db.connections import ConnectionRow
from db.workbench.completion.results import Completion as CompletionRow
from db.workbench.completion.results import CompletionKind, SearchKind, SearchResult
from graph.connections.catalogue.columns import ColumnByKey
from graph.connections.catalogue.functions import FunctionByKey
from graph.connections.catalogue.loaders import ByKey
from graph.connections.catalogue.schemas import SchemaByKey
from graph.connections.catalogue.sequences import SequenceByKey
from graph.connections.catalogue.tables import TableByKey
from graph.connections.catalogue.types import TypeByKey
from graph.context import Info
from graph.kit.fields import argument, attribute, field, graphql_enum
from graph.kit.ids import NameKey, Node

graphql_enum(
    "What a completion inserts.",
    COLUMN="A column. It is qualified if several tables of the statement have one of its name.",
    ALIAS="The name by which the statement refers to a table or a subquery.",
    COMMON_TABLE="A query that `WITH` names.",
    TABLE="A table, partitioned table or foreign table.",
    VIEW="A view or materialized view.",
    SEQUENCE="A sequence.",
    FUNCTION="A function, with its signature as `label`.",
    PROCEDURE="A procedure, with its signature as `label`.",
    TYPE="A type.",
    ENUM_LABEL="A label of the enum that a column has, as a string literal.",
    SCHEMA="A schema.",
    SETTING="A configuration parameter, after `SET` and `SHOW`.",
    KEYWORD="One or more keywords that the server's version has.",
)(CompletionKind)

graphql_enum(
    "Kind of an object that `search` finds.",
    SCHEMA="A schema.",
    TABLE="A table or partitioned table.",
    VIEW="A view.",
    MATERIALIZED_VIEW="A materialized view.",
    FOREIGN_TABLE="A table accessed through a foreign-data wrapper.",
    COLUMN="A column of a table or view.",
    FUNCTION="A function, also a window function.",
    PROCEDURE="A procedure.",
    AGGREGATE="An aggregate function.",
    TYPE="A data type, such as an enum or a domain.",
    SEQUENCE="A sequence.",
)(SearchKind)

_LOADERS: dict[SearchKind, type[ByKey]] = {
    SearchKind.SCHEMA: SchemaByKey,
    SearchKind.TABLE: TableByKey,
    SearchKind.VIEW: TableByKey,
    SearchKind.MATERIALIZED_VIEW: TableByKey,
    SearchKind.FOREIGN_TABLE: TableByKey,
    SearchKind.COLUMN: ColumnByKey,
    SearchKind.FUNCTION: FunctionByKey,
    SearchKind.PROCEDURE: FunctionByKey,
    SearchKind.AGGREGATE: FunctionByKey,
    SearchKind.TYPE: TypeByKey,
    SearchKind.SEQUENCE: SequenceByKey,
}


class _Found(NamedTuple):
    """A result of a search with the connection that it was found in."""

    connection_id: UUID
    result: SearchResult


@strawberry.type(description="A name or keyword that can be written at the cursor.")
class Completion:
    kind: CompletionKind = attribute("What it inserts.")
    label: str = attribute("Text to show in a list, such as `round(numeric, integer)`.")
    insert_text: str = attribute(
        "Text that replaces the range from `replaceStart` to `replaceEnd`. Names are quoted where "
        "they must be."
    )
    detail: str | None = attribute(
        "What to show beside the label: the type and table of a column, the result of a function. "
        "Null if there is nothing."
    )
    replace_start: int = attribute("Start of the range in `text`, in Unicode characters from 0.")
    replace_end: int = attribute("End of the range in `text`, in Unicode characters from 0.")


@strawberry.type(description="An object of a database that `search` has found.")
class SearchedObject:
    @field("Kind of the object.")
    def kind(root: strawberry.Parent[_Found]) -> SearchKind:
        return root.result.kind

    @field("Name of the schema that contains the object; of a schema its own name.")
    def schema_name(root: strawberry.Parent[_Found]) -> str:
        return root.result.schema_name

    @field("Name of the object, without its schema.")
    def name(root: strawberry.Parent[_Found]) -> str:
        return root.result.name

    @field("Name of the table or view that has the column. Null for every other kind.")
    def parent_name(root: strawberry.Parent[_Found]) -> str | None:
        return root.result.parent

    @field(
        "Type of a column, arguments and result of a function, labels of an enum. Null for every "
        "other kind."
    )
    def detail(root: strawberry.Parent[_Found]) -> str | None:
        return root.result.detail

    @field("Comment set with `COMMENT ON`, its first 500 characters. Null if there is none.")
    def comment(root: strawberry.Parent[_Found]) -> str | None:
        return root.result.comment

    @field(
        "The object itself. Null if it was dropped since the catalogue was read, or if the "
        "database failed to answer.",
        type=Node | None,
    )
    async def node(root: strawberry.Parent[_Found], info: Info) -> Any:
        loader = _LOADERS[root.result.kind].of(info.context)
        return await loader.load(NameKey(root.connection_id, root.result.key))


@strawberry.type
class CompletionFields:
    """The fields of `DatabaseConnection` on its snapshot of the catalogue."""

    @field(
        "Finds objects of the database by a part of their name, ignoring case: exact matches "
        "first, then prefixes, beginnings of words, and other parts; objects of PostgreSQL itself "
        "last. Reads a copy of the catalogue that is at most 5 minutes old, which runs with DDL "
        "and `refreshCatalogue` renew. Opens the connection if necessary. Null if the database "
        "failed to answer.",
        type=list[SearchedObject] | None,
    )
    async def search(
        root: strawberry.Parent[ConnectionRow],
        info: Info,
        text: Annotated[
            str,
            argument(
                "Part of a name, 1 to 200 characters. With a dot, as in `shop.ord` and "
                "`orders.pla`, it also searches in the schemas or tables of that name."
            ),
        ],
        kinds: Annotated[
            list[SearchKind] | None, argument("Kinds to find. Omit it to find all of them.")
        ] = None,
        first: Annotated[int, argument("Returns the best *n* objects, 1 to 200.")] = 50,
    ) -> list[_Found]:
        context = info.context
        found = await context.services.completion.search(
            context.owner, root.id, text, kinds or (), first
        )
        return [_Found(root.id, result) for result in found]

    @field(
        "Lists what can be written at a place of an SQL text, the likeliest first: names that are "
        "in scope there, objects of the database, and keywords. The text may be incomplete and may "
        "have several statements. Empty within comments, numbers and strings, except for the "
        "labels of an enum. Reads the same copy of the catalogue as `search`. Opens the connection "
        "if necessary. Null if the database failed to answer.",
        type=list[Completion] | None,
    )
    async def completions(
        root: strawberry.Parent[ConnectionRow],
        info: Info,
        text: Annotated[str, argument("SQL text, up to 100,000 characters.")],
        cursor: Annotated[
            int,
            argument(
                "Offset of the cursor in `text`: the number of Unicode characters before it, as in "
                "`splitStatements`. JavaScript counts UTF-16 code units, which differ after "
                "characters such as an emoji."
            ),
        ],
        first: Annotated[int, argument("Returns the best *n* completions, 1 to 200.")] = 50,
    ) -> list[CompletionRow]:
        context = info.context
        return await context.services.completion.complete(
            context.owner, root.id, text, cursor, first
        )
