"""Saved queries as one `.sql` file, which a client of PostgreSQL can also run.

    -- @query Orders by day
    -- @folder reports/sales
    -- @parameter {"name":"since","type":"date","default":"2026-01-01"}
    SELECT day, count(*) FROM orders WHERE day >= $1 GROUP BY day
    ;

A line that is only `;` ends each text, so that it is read as it was, with its blanks at the end. In
a file that was written by hand the line may be missing. A line of a text that looks like one of the
file is written with a backslash before its `@`.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from db.errors import BadInput, HowdahError
from db.saved_queries.rows import SavedQueryRow
from db.saved_queries.rules import (
    SavedParameter,
    checked_folder,
    checked_name,
    checked_parameters,
    checked_text,
    decode_parameters,
)

TITLE = "-- Saved queries of Howdah: each begins with a line `-- @query` and its name."

_WORDS = "(?:query|folder|parameter)"
_HEADER = re.compile(rf"--[ \t]*@({_WORDS})(?!\w)(.*)", re.DOTALL)
_LIKE_HEADER = re.compile(rf"^(--[ \t]*\\*)(@{_WORDS}(?!\w))", re.MULTILINE)
_ESCAPED = re.compile(rf"^(--[ \t]*\\*)\\(@{_WORDS}(?!\w))", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class FileQuery:
    """A query of a file that can be imported. `parameters` is JSON."""

    index: int
    name: str
    folder: str
    text: str
    parameters: str

    @property
    def values(self) -> tuple[str, str, str, str]:
        return self.name, self.folder, self.text, self.parameters


@dataclass(frozen=True, slots=True)
class RejectedQuery:
    """A query of a file that cannot be imported, with the reason."""

    index: int
    name: str
    reason: str


class _Draft(NamedTuple):
    """A query of a file as it was read."""

    name: str
    headers: list[tuple[str, str]]
    lines: list[str]


def format_queries(rows: Iterable[SavedQueryRow]) -> str:
    return "\n".join([f"{TITLE}\n", *map(_format_query, rows)])


def parse_queries(sql: str) -> Iterator[FileQuery | RejectedQuery]:
    """Yields each query of a file.

    Raises:
        BadInput: The file does not begin with a query.
    """
    first: dict[tuple[str, str], int] = {}
    for index, draft in enumerate(_drafts(_lines_of(sql))):
        try:
            found = _to_query(index, draft)
        except HowdahError as error:
            yield RejectedQuery(index, draft.name[:200], f"{error.message} {error.hint}")
            continue
        before = first.setdefault((found.folder, found.name), index)
        if before == index:
            yield found
        else:
            reason = f"It has the name and folder of the query with index {before}. Rename one."
            yield RejectedQuery(index, found.name, reason)


def _format_query(row: SavedQueryRow) -> str:
    lines = [f"-- @query {row.name}"]
    if row.folder:
        lines.append(f"-- @folder {row.folder}")
    lines += [
        f"-- @parameter {msgspec.json.encode(parameter).decode()}"
        for parameter in decode_parameters(row.parameters)
    ]
    return "\n".join([*lines, _LIKE_HEADER.sub(r"\1\\\2", row.text), ";\n"])


def _lines_of(sql: str) -> list[str]:
    """Undoes what editors do to files: a byte order mark, and carriage returns in all lines."""
    text = sql.removeprefix("\ufeff")
    if text.partition("\n")[0].endswith("\r"):
        text = text.replace("\r\n", "\n")
    return text.split("\n")


def _drafts(lines: list[str]) -> Iterator[_Draft]:
    draft: _Draft | None = None
    for line in lines:
        header = _HEADER.fullmatch(line)
        if header is not None and header[1] == "query":
            if draft is not None:
                yield draft
            draft = _Draft(header[2].strip(), [], [])
        elif draft is None:
            if line.strip() and not line.lstrip().startswith("--"):
                raise _no_queries()
        elif header is not None and not draft.lines:
            draft.headers.append((header[1], header[2].strip()))
        else:
            draft.lines.append(line)
    if draft is None:
        raise _no_queries()
    yield draft


def _to_query(index: int, draft: _Draft) -> FileQuery:
    folders = [value for word, value in draft.headers if word == "folder"]
    if len(folders) > 1:
        raise BadInput("It has two folders.", hint="Remove one `-- @folder`.")
    parameters = [_parse_parameter(value) for word, value in draft.headers if word == "parameter"]
    return FileQuery(
        index,
        checked_name(draft.name),
        checked_folder(folders[0] if folders else None),
        checked_text(_ESCAPED.sub(r"\1\2", _text_of(draft.lines))),
        checked_parameters(parameters),
    )


def _text_of(lines: list[str]) -> str:
    """Without the line that ends it, or without blank lines around it if there is none."""
    end = len(lines)
    while end and not lines[end - 1].strip():
        end -= 1
    if end and lines[end - 1] == ";":
        return "\n".join(lines[: end - 1])
    return "\n".join(lines[:end]).lstrip("\n")


def _parse_parameter(value: str) -> SavedParameter:
    try:
        return msgspec.json.decode(value, type=SavedParameter)
    except (msgspec.DecodeError, RecursionError):
        raise BadInput(
            "A line `-- @parameter` is not followed by the JSON of a parameter.",
            hint='Write it as `-- @parameter {"name": "since", "type": "date", "default": null}`.',
        ) from None


def _no_queries() -> BadInput:
    return BadInput(
        "The file does not begin with a line `-- @query` and a name.",
        hint="Put such a line before each statement. `exportSavedQueries` shows the form.",
        field="sql",
    )
