"""Runs as clients see them."""

from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Annotated, Any, NamedTuple

import msgspec
import strawberry

from db.connections import ConnectionRow
from db.errors import BadInput
from db.runs import Column as ColumnRow
from db.runs import Failure, RunRow, Runs, Truncated
from db.runs import Notice as NoticeRow
from db.workbench.results.formats import require_format
from graph.connections.loaders import ConnectionById
from graph.connections.types import DatabaseConnection
from graph.context import Info
from graph.kit.fields import argument, attribute, enum_value, field
from graph.kit.ids import Node, node
from graph.kit.loaders import ById
from graph.kit.scalars import Json, Row, SafeInt
from graph.kit.signed_links import Links
from graph.runs.row_budget import RowsShown
from graph.transport.result_routes import Format, result_path

DOWNLOAD_WITHIN = timedelta(hours=1)


class RunById(ById[RunRow]):
    """The viewer's runs by id."""

    repository = Runs


@strawberry.enum(description="How far a run has come.")
class RunState(Enum):
    """As it stands in the table too."""

    QUEUED = enum_value("QUEUED", "It waits until others of its owner have ended.")
    RUNNING = enum_value("RUNNING", "It connects, runs, or its rows are coming.")
    SUCCEEDED = enum_value("SUCCEEDED", "It is done, and all its rows are there.")
    FAILED = enum_value("FAILED", "It ended with an error; see `error`.")
    CANCELLED = enum_value("CANCELLED", "It was cancelled by its owner.")
    TIMED_OUT = enum_value("TIMED_OUT", "It took longer than it was given.")
    INTERRUPTED = enum_value("INTERRUPTED", "The server that ran it has stopped.")


@strawberry.enum(description="Which limit has cut a result.")
class TruncationReason(Enum):
    """As it stands in the table too."""

    MAX_ROWS = enum_value("MAX_ROWS", "There were more rows.")
    MAX_BYTES = enum_value("MAX_BYTES", "There were more bytes.")
    MAX_CELL = enum_value("MAX_CELL", "A cell was longer, and is cut; the rows are all there.")


@strawberry.enum(description="What a result can be downloaded as.")
class ResultFormat(Enum):
    """The end of a link's path."""

    CSV = enum_value("csv", "RFC 4180 with a header; NULL is empty, an empty text is in quotes.")
    JSONL = enum_value("jsonl", "One JSON object for each row, by the names of the columns.")
    PARQUET = enum_value("parquet", "Apache Parquet, with types where rows have them in JSON too.")


@strawberry.type(description="A column of a result.")
class ResultColumn:
    """Read from a Column."""

    name: str = attribute("Its name; several may have the same.")
    type_oid: int = attribute("The number of its type at the server.", type=SafeInt)
    table: str | None = attribute(
        "The table that it shows a column of, as `schema.table`; null where it is computed, and "
        "until the run has succeeded."
    )
    nullable: bool | None = attribute(
        "Whether that column takes NULL; an outer join may bring one all the same. Null where "
        "that is not known."
    )

    @field("The name of its type, such as `int4` or `text[]`; empty where only the server knows.")
    def type(root: strawberry.Parent[ColumnRow]) -> str:
        return root.type


@strawberry.type(description="What the server said beside the result.")
class Notice:
    """Read from a Notice."""

    severity: str = attribute("NOTICE, WARNING, INFO ...")
    message: str = attribute("What it said.")
    sqlstate: str | None = attribute("Its code.")
    detail: str | None = attribute("More about it.")
    hint: str | None = attribute("What to do.")


@strawberry.type(description="Why a run did not succeed.")
class RunError:
    """Read from a Failure."""

    message: str = attribute("What happened, in words.")
    sqlstate: str | None = attribute(
        "PostgreSQL's code; null when it is not PostgreSQL that says so."
    )
    severity: str | None = attribute("ERROR, FATAL or PANIC.")
    detail: str | None = attribute("More about it.")
    hint: str | None = attribute("What to do.")
    constraint: str | None = attribute("The constraint that was violated.")
    position: int | None = attribute("The character of the statement where it is, from 1.")
    line: int | None = attribute("Its line, from 1.")
    column: int | None = attribute("Its column in that line, from 1, in characters.")


@strawberry.type(description="A limit has cut the result.")
class Truncation:
    """Read from a Truncated."""

    limit: int = attribute("How much it allows.", type=SafeInt)

    @field("Which limit.")
    def reason(root: strawberry.Parent[Truncated]) -> TruncationReason:
        return TruncationReason(root.reason)


class RowPageRow(NamedTuple):
    """Some rows of a result, as lines of JSON."""

    offset: int
    lines: list[bytes]
    has_more: bool


@strawberry.type(description="Some rows of a result.")
class RowPage:
    """Read from a RowPageRow."""

    offset: int = attribute("The index of the first of them; that of a result is 0.")
    has_more: bool = attribute("Whether more follow; while it runs, of those that have come.")

    @field("The rows, each a list of values in the order of the columns.", type=list[Row])
    def rows(root: strawberry.Parent[RowPageRow]) -> list[msgspec.Raw]:
        return [msgspec.Raw(line) for line in root.lines]


@strawberry.type(description="One execution of a statement.")
@node("run", row=RunRow, loader=RunById)
class QueryRun(Node):
    """Read from a RunRow."""

    revision: int = attribute("Grows with every change.")
    statement: str = attribute("What was run, as it was sent.")
    read_only: bool = attribute("Whether it was kept from changing anything.")
    timeout_ms: int = attribute("How long it may take.")
    created_at: datetime = attribute("When it was asked for.")
    started_at: datetime | None = attribute("When it began; null while it is queued.")
    finished_at: datetime | None = attribute("When it ended.")
    row_count: int = attribute("How many rows can be read, so far.", type=SafeInt)
    rows_affected: int | None = attribute(
        "How many rows it changed, where it changes rows.", type=SafeInt | None
    )
    command: str | None = attribute("What it was: SELECT, INSERT, CREATE TABLE ...")
    expires_at: datetime | None = attribute("Until when it is kept; null until it has ended.")

    @field("How far it has come; all but QUEUED and RUNNING are final.")
    def state(root: strawberry.Parent[RunRow]) -> RunState:
        return RunState(root.state)

    @field("Where it was run; null when that is deleted.", type=DatabaseConnection | None)
    async def connection(root: strawberry.Parent[RunRow], info: Info) -> ConnectionRow | None:
        if root.connection_id is None:
            return None
        return await ConnectionById.of(info.context).load(root.connection_id)

    @field("The values of $1, $2 ..., as they were sent.", type=list[Json | None])
    def parameters(root: strawberry.Parent[RunRow]) -> list[Any]:
        return root.parsed_parameters

    @field("How long it took, or has taken.")
    def elapsed_ms(root: strawberry.Parent[RunRow]) -> int | None:
        if root.started_at is None:
            return None
        end = root.finished_at or datetime.now(UTC)
        return max(0, round((end - root.started_at).total_seconds() * 1000))

    @field(
        "The columns of its result, also when it has no rows; null when it has none.",
        type=list[ResultColumn] | None,
    )
    def columns(root: strawberry.Parent[RunRow]) -> list[ColumnRow] | None:
        return root.parsed_columns

    @field("What the server said beside; the first 100.", type=list[Notice])
    def notices(root: strawberry.Parent[RunRow]) -> list[NoticeRow]:
        return root.parsed_notices

    @field("Which limit has cut the result; null when it is whole.", type=Truncation | None)
    def truncated(root: strawberry.Parent[RunRow]) -> Truncated | None:
        return root.parsed_truncated

    @field("Why it did not succeed.", type=RunError | None)
    def error(root: strawberry.Parent[RunRow]) -> Failure | None:
        return root.parsed_error

    @field(
        "Some of its rows, from any on, also while it runs; fewer where they are large.",
        type=RowPage,
    )
    async def rows(
        root: strawberry.Parent[RunRow],
        info: Info,
        first: Annotated[int, argument("How many, 1..1000.")],
        offset: Annotated[int, argument("The index of the first; that of a result is 0.")] = 0,
    ) -> RowPageRow:
        context = info.context
        largest = context.services.settings.max_page_size
        _check("first", first, 1, largest)
        _check("offset", offset, 0, 2**31 - 1)
        end = min(offset + first, root.row_count)
        lines = []
        if offset < end:
            lines = await RowsShown.of(context).read(root.id, offset=offset, first=end - offset)
        return RowPageRow(offset, lines, has_more=offset + len(lines) < root.row_count)

    @field("Where to GET all its rows within the hour; null until it has ended with columns.")
    def download_url(
        root: strawberry.Parent[RunRow],
        info: Info,
        format: Annotated[ResultFormat, argument("As what.")],
    ) -> str | None:
        if not root.is_finished or root.columns is None:
            return None
        require_format(format.value)
        path = result_path(root.id, Format(format.value))
        signed = Links(info.context.services.keys).sign("GET", path, expires_in=DOWNLOAD_WITHIN)
        return info.context.base_url + signed


def _check(field_name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise BadInput(
            f"`{field_name}` must be from {least} to {most}.",
            hint="Page through the rows with `offset`.",
            field=field_name,
        )
