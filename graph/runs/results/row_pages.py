"""Pages of rows: how they are sorted, filtered and cut."""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

import msgspec
import strawberry

from db.kit.number_rules import require_between
from db.row_scans.conditions import RowComparison
from db.row_scans.row_order import RowPlace
from db.runs import RunRow
from db.workbench.results.cells import CutCell as CutCellRow
from db.workbench.results.cells import RowSlice, rows_at, rows_between
from db.workbench.results.numbers import showing_numbers
from db.workbench.results.scans.scan_requests import RowCondition as ConditionRow
from db.workbench.results.scans.scan_requests import SortBy, order_request, require_ended
from graph.context import Context
from graph.kit.fields import attribute, field, graphql_enum, optional
from graph.kit.paging import OrderDirection
from graph.kit.scalars import Row, SafeInt
from graph.runs.results.row_budget import RowBudget

MAX_CELL_BYTES = 1024 * 1024

graphql_enum(
    "Comparison of a value of a result with the `value` of a condition.",
    EQUALS="The values are equal.",
    NOT_EQUALS="The values differ. NULL does not satisfy it.",
    LESS="The value is before `value` in the order of its type.",
    LESS_OR_EQUAL="The value is before `value`, or equal to it.",
    GREATER="The value is after `value` in the order of its type.",
    GREATER_OR_EQUAL="The value is after `value`, or equal to it.",
    CONTAINS="The text of the value contains `value`.",
    STARTS_WITH="The text of the value starts with `value`.",
    IS_NULL="The value is NULL. Takes no `value`.",
    IS_NOT_NULL="The value is not NULL. Takes no `value`.",
)(RowComparison)


@graphql_enum(
    "Place of NULLs in a sorted result.",
    FIRST="Before all values.",
    LAST="After all values.",
)
class NullsOrder(StrEnum):
    FIRST = "FIRST"
    LAST = "LAST"


@strawberry.input(
    description="A column to sort the rows of a result by. Numbers, dates and times, `interval`, "
    "`boolean` and `uuid` are sorted as in PostgreSQL, other types by the code points of their "
    "text."
)
class RowOrder:
    column: str = attribute("`uniqueName` of the column in `columns`.")
    direction: OrderDirection = optional(
        "Sort direction. Defaults to `ASC`.", default=OrderDirection.ASC
    )
    nulls: NullsOrder | None = optional(
        "Place of NULLs. Defaults to that of PostgreSQL: `LAST` for `ASC`, `FIRST` for `DESC`."
    )


@strawberry.input(description="A condition that rows of a result must satisfy.")
class RowCondition:
    column: str = attribute("`uniqueName` of the column in `columns`.")
    comparison: RowComparison = attribute("How the column's value is compared with `value`.")
    value: str | None = optional(
        "Value to compare with, as rows show the values of this column. Up to 10,000 characters. "
        "Required, except for `IS_NULL` and `IS_NOT_NULL`."
    )
    ignore_case: bool = optional(
        "If true, upper and lower case letters are the same in comparisons of text. Defaults to "
        "false.",
        default=False,
    )


@strawberry.type(description="A value that a page of rows shows in part.")
class CutCell:
    row: int = attribute("Zero-based position of the row in the result, as in `positions`.")
    column: int = attribute("Zero-based index of the column in `columns`.")
    size_bytes: int = attribute("Size of the whole text in bytes of UTF-8.", type=SafeInt)


class RowPageRow(NamedTuple):
    """`lines` holds one JSON list for each row."""

    offset: int
    lines: list[bytes]
    has_more: bool
    total: int
    shown: Sequence[int]
    cut_cells: list[CutCellRow]


@strawberry.type(description="A page of rows of a query result.")
class RowPage:
    offset: int = attribute(
        "Zero-based index of the first row of this page among the sorted and filtered rows."
    )
    has_more: bool = attribute(
        "True if more rows follow. During a run: more of the rows received so far."
    )
    cut_cells: list[CutCellRow] = attribute(
        "Values that are longer than `maxCellBytes`, of which the page has the beginning. `cell` "
        "has the whole value.",
        type=list[CutCell],
    )

    @field("Rows of the page, each a list of values in the order of `columns`.", type=list[Row])
    def rows(root: strawberry.Parent[RowPageRow]) -> list[msgspec.Raw]:
        return [msgspec.Raw(line) for line in root.lines]

    @field(
        "Number of rows that satisfy `filter`, or of all rows. Grows while the run is `RUNNING`.",
        type=SafeInt,
    )
    def total_count(root: strawberry.Parent[RowPageRow]) -> int:
        return root.total

    @field("Zero-based position in the result of each row of the page.")
    def positions(root: strawberry.Parent[RowPageRow]) -> list[int]:
        return list(root.shown)


class PageRequest(NamedTuple):
    first: int
    offset: int
    order_by: list[RowOrder]
    filter: list[RowCondition]
    max_cell_bytes: int | None


async def read_page(context: Context, run: RunRow, page: PageRequest) -> RowPageRow:
    """A page of the rows of a run, in their order or sorted and filtered."""
    first, offset, max_cell = page.first, page.offset, page.max_cell_bytes
    most = context.services.settings.max_page_size
    hint = f"Pass a value between 1 and {most}, and page with `offset`."
    require_between("first", first, 1, most, hint=hint)
    require_between("offset", offset, 0, 2**31 - 1)
    if max_cell is not None:
        require_between("maxCellBytes", max_cell, 1, MAX_CELL_BYTES)
    if page.order_by or page.filter:
        return await _read_scanned(context, run, page)
    end, budget = min(offset + first, run.row_count), RowBudget.of(context)
    found, show = RowSlice([], [], []), showing_numbers(run.parsed_columns or [])
    if offset < end and max_cell is None and show is None:
        lines = await budget.read(run.id, offset=offset, first=end - offset)
        found = RowSlice(lines, [], [])
    elif offset < end:
        rows = rows_between(context.services.results, context.owner, run.id, offset, end)
        found = await budget.collect(rows, show=show, max_cell=max_cell)
    after = offset + len(found.lines)
    return RowPageRow(
        offset,
        found.lines,
        has_more=after < run.row_count,
        total=run.row_count,
        shown=range(offset, after),
        cut_cells=found.cut_cells,
    )


async def _read_scanned(context: Context, run: RunRow, page: PageRequest) -> RowPageRow:
    require_ended(run)
    services = context.services
    columns = run.parsed_columns or []
    request = order_request(
        columns,
        [_sort_by(one) for one in page.order_by],
        [_condition(one) for one in page.filter],
    )
    places: list[RowPlace] = []
    total = 0
    if run.row_count:
        places, total = await services.result_scans.places(
            run, request, offset=page.offset, first=page.first
        )
    rows = rows_at(services.results, context.owner, run.id, places)
    found = RowSlice([], [], [])
    if places:
        found = await RowBudget.of(context).collect(
            rows, show=showing_numbers(columns), max_cell=page.max_cell_bytes
        )
    return RowPageRow(
        page.offset,
        found.lines,
        has_more=page.offset + len(found.lines) < total,
        total=total,
        shown=found.positions,
        cut_cells=found.cut_cells,
    )


def _condition(asked: RowCondition) -> ConditionRow:
    value = None if asked.value is strawberry.UNSET else asked.value
    return ConditionRow(asked.column, asked.comparison, value, asked.ignore_case)


def _sort_by(order: RowOrder) -> SortBy:
    return SortBy(
        order.column,
        order.direction is OrderDirection.DESC,
        None if not order.nulls else order.nulls is NullsOrder.FIRST,
    )
