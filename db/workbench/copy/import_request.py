"""A request to import a file into a table, and its validation."""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

import msgspec

from db.errors import BadInput
from db.workbench.sql.quoting import quote_literal, quote_name, require_name

MAX_COLUMNS = 1_600
"""The maximum of PostgreSQL for a table."""
MAX_NULL_CHARS = 100
_NOT_DELIMITERS = frozenset('"\r\n\\.')


class ImportFormat(StrEnum):
    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


class ImportRequest(NamedTuple):
    """A file and the table to copy its rows into. None uses the default."""

    schema_name: str
    table_name: str
    file_id: UUID
    format: str
    columns: Sequence[str] | None = None
    header: bool = True
    delimiter: str | None = None
    null_text: str | None = None

    def validate(self) -> "ImportRequest":
        """Returns the request, or raises BadInput."""
        require_name("schemaName", self.schema_name)
        require_name("tableName", self.table_name)
        if self.columns is not None:
            check_columns(self.columns, field="columns")
        if self.format != ImportFormat.CSV:
            for field in ("delimiter", "null_text"):
                if getattr(self, field) is not None:
                    raise _only_for_csv(field)
        if self.delimiter is not None and (
            len(self.delimiter.encode()) != 1 or self.delimiter in _NOT_DELIMITERS
        ):
            raise BadInput(
                "`delimiter` is not a character that can separate the values of a line.",
                hint="Pass one ASCII character, such as a semicolon or a tab.",
                field="delimiter",
            )
        null = self.null_text or ""
        if len(null) > MAX_NULL_CHARS or any(mark in null for mark in '"\r\n\0'):
            raise BadInput(
                f"`nullText` has more than {MAX_NULL_CHARS} characters, a quote or a line break.",
                hint="Pass the text that stands for NULL in the file, such as `\\N` or `NULL`.",
                field="nullText",
            )
        return self

    @property
    def has_header(self) -> bool:
        return self.header and self.format == ImportFormat.CSV


class ImportSource(msgspec.Struct, frozen=True, omit_defaults=True):
    """The file that an import reads; stored with its run until the run starts."""

    file_id: UUID
    object_id: UUID
    size: int
    format: str
    columns: list[str] = []
    """Names of the values of JSON objects and Parquet. Empty if they are taken by position."""
    width: int = 0
    """Number of values in each JSON array."""
    is_strict: bool = False
    """Whether a JSON object must have no other names."""


class Import(NamedTuple):
    """A validated import, ready to be submitted as a run."""

    request: ImportRequest
    source: ImportSource

    @property
    def copied_bytes(self) -> int | None:
        """Size of the data to send to PostgreSQL. None if it is not known before it is sent."""
        return self.source.size if self.source.format == ImportFormat.CSV else None


def encode_source(planned: Import) -> str:
    return msgspec.json.encode(planned.source).decode()


def check_columns(columns: Sequence[str], *, field: str | None = None) -> None:
    """Raises BadInput if they cannot be the columns of a table."""
    if not 1 <= len(columns) <= MAX_COLUMNS:
        raise BadInput(
            f"There are {len(columns)} columns; a table has from 1 to {MAX_COLUMNS}.",
            hint="Pass the columns of the table in `columns`, or check format and delimiter.",
            field=field,
        )
    seen = set[str]()
    for name in columns:
        require_name(field, name)
        if name in seen:
            raise BadInput(
                f'The column "{name[:63]}" is named twice.',
                hint="Name each column once, in `columns` or in the file.",
                field=field,
            )
        seen.add(name)


def copy_statement(request: ImportRequest, columns: Sequence[str]) -> str:
    """COPY ... FROM STDIN into the columns, or into all columns of the table."""
    table = f"{quote_name(request.schema_name)}.{quote_name(request.table_name)}"
    named = f" ({', '.join(map(quote_name, columns))})" if columns else ""
    options = ["FORMAT text"]
    if request.format == ImportFormat.CSV:
        options = [
            "FORMAT csv",
            f"HEADER {'true' if request.has_header else 'false'}",
            f"DELIMITER {quote_literal(request.delimiter or ',')}",
            f"NULL {quote_literal(request.null_text or '')}",
        ]
    return f"COPY {table}{named} FROM STDIN WITH ({', '.join(options)}, ENCODING 'UTF8')"


def _only_for_csv(name: str) -> BadInput:
    first, *rest = name.split("_")
    field = first + "".join(map(str.title, rest))
    return BadInput(
        f"`{field}` is an option of the format CSV.",
        hint="Omit it: JSON lines and Parquet have names and nulls of their own.",
        field=field,
    )
