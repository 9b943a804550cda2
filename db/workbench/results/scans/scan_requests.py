"""Validates what a client asks of the rows of a result."""

from collections.abc import Sequence
from typing import NamedTuple

from db.errors import BadInput, Conflict
from db.row_scans.column_statistics import StatisticsRequest
from db.row_scans.conditions import NULL_TESTS, Condition, compile_condition
from db.row_scans.row_order import OrderRequest, SortColumn
from db.runs import Column, RunRow
from db.workbench.results.formats import unique_names

MAX_CONDITIONS = 20
MAX_SORT_COLUMNS = 16
MAX_CONDITION_CHARS = 10_000
MAX_NAMES = 20
"""Names of columns that an error lists."""


class SortBy(NamedTuple):
    """NULLs are last if ascending and first if descending, unless `nulls_first` says otherwise."""

    column: str
    descending: bool = False
    nulls_first: bool | None = None


class RowCondition(NamedTuple):
    column: str
    comparison: str
    value: str | None = None
    ignore_case: bool = False


def require_ended(run: RunRow) -> None:
    if not run.is_finished:
        raise Conflict(
            f"This run is {run.state}: its rows can be sorted, filtered and summarised when it "
            "has ended.",
            hint="Wait until it has ended, for example with `queryStatus`. Without `orderBy` and "
            "`filter`, `rows` has the rows received so far.",
        )


def order_request(
    columns: Sequence[Column], sort: Sequence[SortBy], conditions: Sequence[RowCondition]
) -> OrderRequest:
    """Raises BadInput for unknown columns, wrong values and too many of either."""
    _require_at_most("orderBy", len(sort), MAX_SORT_COLUMNS, "columns")
    _require_at_most("filter", len(conditions), MAX_CONDITIONS, "conditions")
    by_column: dict[int, SortColumn] = {}  # a second time, a column decides nothing
    for one in sort:
        index = _require_column(columns, one.column, "orderBy")
        nulls_first = one.descending if one.nulls_first is None else one.nulls_first
        by_column.setdefault(index, SortColumn(index, one.descending, nulls_first))
    return OrderRequest(
        oids=[column.type_oid for column in columns],
        sort=list(by_column.values()),
        conditions=[_checked(columns, one) for one in conditions],
    )


def statistics_request(columns: Sequence[Column], name: str) -> StatisticsRequest:
    return StatisticsRequest(
        oids=[column.type_oid for column in columns],
        column=_require_column(columns, name, "name"),
    )


def _require_at_most(field: str, count: int, most: int, noun: str) -> None:
    if count > most:
        raise BadInput(f"`{field}` has {count} {noun}.", hint=f"Pass at most {most}.", field=field)


def _require_column(columns: Sequence[Column], name: str, field: str) -> int:
    """The index of the column. Names that occur more than once are numbered, as in files."""
    names = unique_names([column.name for column in columns])
    if name in names:
        return names.index(name)
    listed = ", ".join(f"`{one}`" for one in names[:MAX_NAMES])
    more = ", ..." if len(names) > MAX_NAMES else ""
    raise BadInput(
        f"The result has no column `{name[:100]}`.",
        hint=f"Pass one of its columns: {listed}{more}." if names else "It has no columns.",
        field=field,
    )


def _checked(columns: Sequence[Column], asked: RowCondition) -> Condition:
    index = _require_column(columns, asked.column, "filter")
    value = asked.value
    if (value is None) != (asked.comparison in NULL_TESTS):
        hint = "Omit `value`." if value is not None else "Pass `value`, or use `IS_NULL`."
        raise BadInput(
            f"The condition `{asked.comparison}` on `{asked.column}` "
            f"{'has no' if value is None else 'takes no'} value.",
            hint=hint,
            field="filter",
        )
    if len(value or "") > MAX_CONDITION_CHARS:
        raise BadInput(
            f"The value of the condition on `{asked.column}` is too long.",
            hint=f"Pass at most {MAX_CONDITION_CHARS} characters.",
            field="filter",
        )
    condition = Condition(index, asked.comparison, value or "", asked.ignore_case)
    column = columns[index]
    try:
        compile_condition(condition, column.type_oid)
    except ValueError:
        raise BadInput(
            f"The value of the condition on `{asked.column}` is not of its type, `{column.type}`.",
            hint="Write it as the rows show values of this column, or use `CONTAINS`.",
            field="filter",
        ) from None
    return condition
