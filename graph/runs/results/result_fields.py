"""The fields of a query run that lead to its result."""

from datetime import timedelta
from typing import Annotated

import strawberry

from db.errors import BadInput
from db.kit.number_rules import require_between
from db.row_scans.column_statistics import Statistics
from db.runs import RunRow
from db.workbench.results.copied_bytes import is_copied
from db.workbench.results.formats import ResultFormat, require_format
from graph.context import Info
from graph.kit.fields import argument, attribute, field, graphql_enum
from graph.kit.ids import Node
from graph.kit.scalars import SafeInt
from graph.kit.signed_links import sign_link
from graph.runs.results.column_stats import ColumnStats, read_statistics
from graph.runs.results.row_budget import CellRow, RowBudget
from graph.runs.results.row_pages import (
    PageRequest,
    RowCondition,
    RowOrder,
    RowPage,
    RowPageRow,
    read_page,
)
from graph.transport.files.result_routes import cell_path, result_path

DOWNLOAD_TTL = timedelta(hours=1)
MAX_TEXT_BYTES = 8 * 1024 * 1024
DEFAULT_TEXT_BYTES = 1024 * 1024

graphql_enum(
    "File format of a downloaded or exported result.",
    CSV='CSV as in RFC 4180, with a header line. NULL is an empty field, an empty string is `""`.',
    JSONL="JSON Lines: one JSON object per row, with the column names as keys.",
    PARQUET="Apache Parquet. `boolean`, `int2`, `int4`, `float4` and `float8` keep their types; "
    "every other type is a string. Requires the server extra `parquet`.",
    ARROW="Apache Arrow IPC stream, with types as in `PARQUET` and without compression. Requires "
    "the server extra `parquet`.",
    RAW="The bytes of `COPY ... TO STDOUT` as PostgreSQL sent them: text, CSV or binary.",
)(ResultFormat)


@strawberry.type(description="A value of a query result.")
class ResultCell:
    text: str | None = attribute(
        "Text of the value as rows show it, or its first `maxBytes` bytes. Null if it is NULL."
    )
    size_bytes: int | None = attribute(
        "Size of the whole text in bytes of UTF-8. Null if the value is NULL.",
        type=SafeInt | None,
    )
    is_complete: bool = attribute("True if `text` is the whole value.")

    @field(
        "Signed URL to download the whole value with `GET`, valid for one hour, until the viewer "
        "signs out: a `bytea` as its bytes, every other value as text in UTF-8. Null if the value "
        "is NULL, and until the run has ended."
    )
    def download_url(root: strawberry.Parent[CellRow], info: Info) -> str | None:
        if root.text is None or not root.run.is_finished:
            return None
        path = cell_path(root.run.id, root.row, root.column)
        return sign_link(info.context, "GET", path, expires_in=DOWNLOAD_TTL)


@strawberry.type
class ResultFields(Node):
    @field(
        "A page of the rows, also readable while the run is `RUNNING`. A page holds at most 8 MiB "
        "and one operation at most 32 MiB, so a page of large rows may be shorter than `first`. "
        "With `orderBy` or `filter`, the stored result is sorted and filtered, without executing "
        "the statement again; the run must have ended. Null if the rows could not be read.",
        type=RowPage | None,
    )
    async def rows(
        root: strawberry.Parent[RunRow],
        info: Info,
        first: Annotated[int, argument("Number of rows to return, 1 to 1000.")],
        offset: Annotated[
            int, argument("Zero-based index of the first row to return. Defaults to 0.")
        ] = 0,
        order_by: Annotated[
            list[RowOrder] | None,
            argument(
                "Columns to sort by, the most significant first, at most 16. Rows that are equal "
                "in all of them keep their order in the result. Defaults to that order."
            ),
        ] = None,
        filter: Annotated[
            list[RowCondition] | None,
            argument("Conditions that a row must all satisfy, at most 20. Defaults to none."),
        ] = None,
        max_cell_bytes: Annotated[
            int | None,
            argument(
                "Cuts each longer text to this size in bytes of UTF-8, 1 to 1048576, and lists it "
                "in `cutCells`. Omit it to return whole values."
            ),
        ] = None,
    ) -> RowPageRow:
        page = PageRequest(first, offset, order_by or [], filter or [], max_cell_bytes)
        return await read_page(info.context, root, page)

    @field(
        "Statistics of a column. Null if the rows could not be read. Fails with `CONFLICT` until "
        "the run has ended.",
        type=ColumnStats | None,
    )
    async def column_stats(
        root: strawberry.Parent[RunRow],
        info: Info,
        name: Annotated[
            str,
            argument("`uniqueName` of the column in `columns`."),
        ],
    ) -> Statistics:
        return await read_statistics(info.context, root, name)

    @field(
        "One value of the result, whole or its beginning. Null if it could not be read.",
        type=ResultCell | None,
    )
    async def cell(
        root: strawberry.Parent[RunRow],
        info: Info,
        row: Annotated[
            int,
            argument("Zero-based position of the row in the result, as in `RowPage.positions`."),
        ],
        column: Annotated[int, argument("Zero-based index of the column in `columns`.")],
        max_bytes: Annotated[
            int,
            argument(
                "Largest part of the text to return, in bytes of UTF-8, 1 to 8388608. Defaults to "
                "1048576."
            ),
        ] = DEFAULT_TEXT_BYTES,
    ) -> CellRow:
        require_between("maxBytes", max_bytes, 1, MAX_TEXT_BYTES)
        for name, value, count in (
            ("row", row, root.row_count),
            ("column", column, len(root.parsed_columns or ())),
        ):
            if not 0 <= value < count:
                raise BadInput(
                    f"The result has no {name} {value}.",
                    hint=f"Pass a value from 0 to {count - 1}." if count else f"It has no {name}s.",
                    field=name,
                )
        return await RowBudget.of(info.context).cell(
            root, row=row, column=column, max_bytes=max_bytes
        )

    @field(
        "Signed URL to download the whole result with `GET`, valid for one hour, until the viewer "
        "signs out. Null until the run has ended, if it has no columns, and for `RAW` if its "
        "statement is not a `COPY ... TO STDOUT` that succeeded."
    )
    def download_url(
        root: strawberry.Parent[RunRow],
        info: Info,
        format: Annotated[ResultFormat, argument("File format.")],
        spreadsheet_safe: Annotated[  # noqa: FBT002 - an argument of GraphQL, passed by name
            bool,
            argument(
                "If true, an apostrophe is put before each CSV value that a spreadsheet would run "
                "as a formula. Ignored for other formats. Defaults to true."
            ),
        ] = True,
    ) -> str | None:
        if not root.is_finished or root.columns is None:
            return None
        if format == ResultFormat.RAW and not is_copied(root):
            return None
        require_format(format)
        path = result_path(root.id, format, spreadsheet_safe=spreadsheet_safe)
        return sign_link(info.context, "GET", path, expires_in=DOWNLOAD_TTL)
