"""GraphQL types of saved queries, their folders, parameters and earlier versions."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import strawberry

from db.connections import ConnectionRow
from db.kit.lists.paging import Window
from db.postgres.sessions import ReadSession
from db.saved_queries import (
    SavedParameter,
    SavedQueries,
    SavedQueryRow,
    SavedVersionRow,
    SavedVersions,
    decode_parameters,
)
from graph.connections.loaders import ConnectionById
from graph.connections.types import DatabaseConnection
from graph.context import Info
from graph.executor.hints import accepting
from graph.kit.fields import attribute, field
from graph.kit.ids import Node, node
from graph.kit.loaders import ById
from graph.kit.paging import Connection, paged_by
from graph.kit.parent_lists import ListsOfParents, ParentQuery
from graph.kit.scalars import Json
from graph.kit.scopes import WORKBENCH


class SavedQueryById(ById[SavedQueryRow]):
    repository = SavedQueries


class VersionsOfQuery(ListsOfParents[ParentQuery]):
    async def find_of(
        self, session: ReadSession, parents: Sequence[UUID], query: ParentQuery
    ) -> Mapping[UUID, Any]:
        versions = SavedVersions(session, self.context.owner)
        if query.window is None:
            return await versions.count_of_queries(parents)
        return await versions.of_queries(parents, query.window)


@strawberry.type(
    description="A parameter of a saved query. The first one is `$1` in its text, the second `$2`."
)
class SavedQueryParameter:
    name: str = attribute("Name, unique among the parameters of the saved query.")
    type: str | None = attribute(
        "Type to show in a form, such as `date` or `int8[]`. Null if none was given. PostgreSQL "
        "infers the type from the text; write `$1::date` there to set it."
    )
    has_default: bool = attribute("If false, `executeQuery` requires a value.")

    @field(
        "Value that is used if `executeQuery` passes none. Null if `hasDefault` is false, and if "
        "the default is SQL NULL.",
        type=Json | None,
    )
    def default(root: strawberry.Parent[SavedParameter]) -> Any:
        return root.default if root.has_default else None


@accepting(SavedVersionRow)
def _is_version(value: object, _info: object) -> bool:
    return isinstance(value, SavedVersionRow)


@strawberry.type(
    description="A saved query as it was before a change. To restore it, pass its fields to "
    "`saveQuery`."
)
class SavedQueryVersion:
    is_type_of = staticmethod(_is_version)
    version: int = attribute("`version` that the saved query had.")
    name: str = attribute("Name that it had.")
    folder: str = attribute("Path of the folder that it was in. Empty if it was in none.")
    text: str = attribute("SQL statement that it had.", long="text")
    saved_at: datetime = attribute("Time it was saved in this form.")

    @field("Parameters that it had.", type=list[SavedQueryParameter], reads=["parameters"])
    def parameters(root: strawberry.Parent[SavedVersionRow]) -> list[SavedParameter]:
        return decode_parameters(root.parameters)


@strawberry.type(
    description="A folder of saved queries. It is derived from their `folder`: it exists while "
    "saved queries are in it or in its subfolders."
)
class SavedQueryFolder:
    path: str = attribute("Path, such as `reports/sales`. Pass it as `folder` or `under`.")
    name: str = attribute("Last part of `path`.")


@strawberry.type(
    description="A SQL statement that the viewer keeps, created by `saveQuery` and executed by "
    "`executeQuery(input: {savedQueryId: ...})`. Visible only to its owner."
)
@node("query", row=SavedQueryRow, loader=SavedQueryById, scopes=WORKBENCH.read)
class SavedQuery(Node):
    name: str = attribute("Name, 1 to 200 characters. Unique in its folder.")
    folder: str = attribute(
        "Path of the folder that contains it, such as `reports/sales`. Empty if it is in none."
    )
    text: str = attribute(
        "SQL statement as it was saved, up to 500,000 characters, with `$1`, `$2`, ... for "
        "parameters.",
        long="text",
    )
    created_at: datetime = attribute("Time it was created.")
    updated_at: datetime = attribute("Time of the last change.")
    version: int = attribute(
        "Increases with every change. Pass it as `expectedVersion` to detect concurrent updates."
    )

    @field(
        "Connection that it is executed on, unless `executeQuery` names another. Null if none was "
        "given, and if it was deleted.",
        type=DatabaseConnection | None,
        reads=["connection_id"],
    )
    async def connection(
        root: strawberry.Parent[SavedQueryRow], info: Info
    ) -> ConnectionRow | None:
        if root.connection_id is None:
            return None
        return await ConnectionById.of(info.context).load(root.connection_id)

    @field(
        "Parameters, in the order of `$1`, `$2`, ... Empty if none were declared; their values are "
        "then passed by position.",
        type=list[SavedQueryParameter],
        reads=["parameters"],
    )
    def parameters(root: strawberry.Parent[SavedQueryRow]) -> list[SavedParameter]:
        return decode_parameters(root.parameters)

    @field(
        "The last 50 versions before the current one, newest first. A change of the connection "
        "alone makes none.",
        type=Connection[SavedQueryVersion],
        reads=["id"],
    )
    @paged_by(VersionsOfQuery)
    def versions(root: strawberry.Parent[SavedQueryRow], window: Window) -> ParentQuery:
        return ParentQuery(root.id, window)
