"""Statistics of a column of a result."""

import strawberry

from db.row_scans.column_statistics import Statistics
from db.runs import RunRow
from db.workbench.results.scans.scan_requests import require_ended, statistics_request
from graph.context import Context
from graph.kit.fields import attribute
from graph.kit.scalars import SafeInt


@strawberry.type(description="A frequent value of a column.")
class FrequentValue:
    value: str = attribute("Text of the value, at most its first 1,000 characters.")
    count: int = attribute("Number of rows that have it.", type=SafeInt)


@strawberry.type(
    description="Statistics of a column of a query result. Values are compared as `RowOrder` sorts "
    "them; texts of values are at most their first 1,000 characters."
)
class ColumnStats:
    row_count: int = attribute("Number of rows, including those with NULL.", type=SafeInt)
    null_count: int = attribute("Number of rows with NULL.", type=SafeInt)
    distinct_count: int = attribute("Number of different values, without NULL.", type=SafeInt)
    distinct_is_exact: bool = attribute(
        "False if there are more than 50,000 different values, or very long ones: `distinctCount` "
        "is an estimate then, usually within 5 percent."
    )
    minimum: str | None = attribute("Smallest value. Null without values.")
    maximum: str | None = attribute("Largest value. Null without values.")
    sum: str | None = attribute(
        "Sum of the values, exact for integers and `numeric`. Null for other types and without "
        "values."
    )
    average: str | None = attribute(
        "Average of the values, with 20 digits after the point for integers and `numeric`. Null "
        "for other types and without values."
    )
    shortest: int | None = attribute(
        "Length of the shortest text in characters. Null for numbers and without values.",
        type=SafeInt | None,
    )
    longest: int | None = attribute(
        "Length of the longest text in characters. Null for numbers and without values.",
        type=SafeInt | None,
    )
    top_values: list[FrequentValue] = attribute("The most frequent values, at most 20.")
    count_error: int = attribute(
        "How much too low the counts of `topValues` can be. 0 if `distinctIsExact` is true.",
        type=SafeInt,
    )


async def read_statistics(context: Context, run: RunRow, name: str) -> Statistics:
    require_ended(run)
    request = statistics_request(run.parsed_columns or [], name)
    return await context.services.result_scans.statistics(run, request)
