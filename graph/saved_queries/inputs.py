"""Inputs and payloads of saved queries. The values are validated in `db.saved_queries`."""

from enum import StrEnum
from typing import Any

import msgspec
import strawberry

from db.saved_queries import SavedParameter, SavedQueryRow
from graph.kit.fields import (
    attribute,
    graphql_enum,
    optional,
    redacted_repr,
    retry_key,
    version_guard,
)
from graph.kit.paging import OrderDirection
from graph.kit.scalars import Json
from graph.saved_queries.types import SavedQuery


@graphql_enum(
    "Field by which a list of saved queries is sorted.",
    NAME="Sort by `name`, ignoring case.",
    CREATED_AT="Sort by `createdAt`.",
    UPDATED_AT="Sort by `updatedAt`.",
)
class SavedQueryOrderField(StrEnum):
    """The values are columns that have an index for sorting."""

    NAME = "sort_name"
    CREATED_AT = "created_at"
    UPDATED_AT = "updated_at"


@strawberry.input(description="Sort order of a list of saved queries.")
class SavedQueryOrder:
    field: SavedQueryOrderField = attribute("Field to sort by.")
    direction: OrderDirection = optional(
        "Sort direction. Defaults to `ASC`.", default=OrderDirection.ASC
    )


@strawberry.input(
    description="A parameter of a saved query. The first one is `$1` in its text, the second `$2`."
)
class SavedQueryParameterInput:
    name: str = attribute(
        "Name, up to 63 letters, digits and underscores, beginning with a letter."
    )
    type: str | None = optional(
        "Type to show in a form, such as `date` or `int8[]`, up to 200 characters. It does not "
        "convert the value; write `$1::date` in the text for that."
    )
    default: Json | None = optional(
        "Value that is used if `executeQuery` passes none. Null is SQL NULL. If it is omitted, "
        "`executeQuery` requires a value."
    )


@strawberry.input(
    description="Saved query to create or, with `id`, to update. An update keeps the value of "
    "omitted fields."
)
class SaveQueryInput:
    __repr__ = redacted_repr  # a statement may contain a password

    id: strawberry.ID | None = optional("ID of the saved query to update. Omit it to create one.")
    name: str | None = optional(
        "Name, 1 to 200 characters in one line. Unique in its folder. Required to create one."
    )
    folder: str | None = optional(
        "Path of the folder, such as `reports/sales`, up to 500 characters. Null or empty puts it "
        "in none. A folder exists while saved queries are in it."
    )
    text: str | None = optional(
        "SQL statement, up to 500,000 characters, saved as it is, with `$1`, `$2`, ... for "
        "parameters. It is not executed or checked. Required to create one."
    )
    connection_id: strawberry.ID | None = optional(
        "ID of the `DatabaseConnection` to execute it on. Null removes it."
    )
    parameters: list[SavedQueryParameterInput] | None = optional(
        "Parameters in the order of `$1`, `$2`, ..., at most 100. Replaces the current list. Null "
        "removes all."
    )
    expected_version: int | None = version_guard("saved query", more="Ignored without `id`.")
    idempotency_key: str | None = retry_key("the saved query as the first saved it")


@strawberry.input(description="Input of `deleteSavedQuery`.")
class DeleteSavedQueryInput:
    id: strawberry.ID = attribute("ID of the saved query to delete.")
    expected_version: int | None = version_guard("saved query")


@strawberry.input(
    description="Input of `importSavedQueries`: the contents of a file that `exportSavedQueries` "
    "wrote, or of one in the same form."
)
class ImportSavedQueriesInput:
    __repr__ = redacted_repr

    sql: str = attribute(
        "Contents of the file. Each query begins with a line `-- @query` and its name, optionally "
        "followed by `-- @folder` and its folder, and for each parameter by `-- @parameter` and "
        "its JSON. A longer file than a request may hold can be cut before any such line."
    )
    dry_run: bool = optional(
        "If true, nothing is saved and the payload reports what an import would do. Defaults to "
        "false.",
        default=False,
    )


@strawberry.type(description="Payload of `saveQuery`.")
class SaveQueryPayload:
    saved_query: SavedQueryRow = attribute("The saved query.", type=SavedQuery)


@strawberry.type(description="Payload of `deleteSavedQuery`.")
class DeleteSavedQueryPayload:
    deleted_saved_query_id: strawberry.ID = attribute("ID of the deleted saved query.")


@strawberry.type(description="A query of an imported file that was not accepted.")
class SavedQueryRejection:
    index: int = attribute("Zero-based position of the query in the file.")
    name: str = attribute("Name in the file, cut to 200 characters.")
    reason: str = attribute("Explanation of why the query was rejected.")


@strawberry.type(description="Payload of `importSavedQueries`.")
class ImportSavedQueriesPayload:
    created: int = attribute("Number of saved queries created.")
    updated: int = attribute(
        "Number of saved queries with the same folder and name whose text or parameters were "
        "replaced. What they were before is in `versions`."
    )
    unchanged: int = attribute("Number of saved queries that are as in the file.")
    rejected: list[SavedQueryRejection] = attribute("Queries that were rejected.")


def to_parameter(value: SavedQueryParameterInput) -> SavedParameter:
    default: Any = msgspec.UNSET if value.default is strawberry.UNSET else value.default
    kind = None if value.type is strawberry.UNSET else value.type
    return SavedParameter(value.name, kind, default)
