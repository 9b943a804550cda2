"""Converts values for the store: to JSON where that is lossless and fast, or to PostgreSQL text."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec
from psycopg.abc import Buffer, Loader
from psycopg.adapt import AdaptersMap, Transformer
from psycopg.adapt import Loader as LoaderBase
from psycopg.pq import Format
from psycopg.pq.abc import PGresult
from psycopg.types.bool import BoolLoader
from psycopg.types.numeric import IntLoader
from psycopg.types.string import TextLoader

from db.row_scans.type_oids import BOOL, INT2, INT4
from db.workbench.connections.bounds.read_budget import UnexpectedRows
from db.workbench.results.spool import Chunk

ANY = 0
"""Stands for the OID of all other types in a map of loaders."""

Row: TypeAlias = Sequence[Any]

_encode_lines = msgspec.json.Encoder().encode_lines
encode_json = msgspec.json.Encoder().encode


class _LossyText(LoaderBase):
    """Loads text of SQL_ASCII databases; replaces bytes that are not UTF-8."""

    def load(self, data: Buffer) -> str:
        return bytes(data).decode(errors="replace")


class _Loaders:
    """A set of loaders for psycopg's Transformer, independent of a connection."""

    connection = None

    def __init__(self, text: type[Loader]) -> None:
        self.adapters = AdaptersMap()
        for oid, loader in (
            (ANY, text),
            (BOOL, BoolLoader),
            (INT2, IntLoader),
            (INT4, IntLoader),
        ):
            self.adapters.register_loader(oid, loader)


_FAST_LOADERS = _Loaders(TextLoader)
_LOSSY_LOADERS = _Loaders(_LossyText)


class RowLoader:
    """Loads the rows of one statement, with psycopg's C loaders where possible.

    Floats stay text: parsing them takes longer than all other columns together. They become
    numbers when they are read (`db.workbench.results.numbers`).
    """

    def __init__(self) -> None:
        self.replaced_bytes = False
        """Whether a text was not in UTF-8."""
        self._fast = Transformer(_FAST_LOADERS)
        self._column_count: int | None = None

    def load(self, result: PGresult) -> list[Row]:
        """All rows of the result. Raises as `load_part`."""
        return self.load_part(result, 0, result.ntuples)

    def load_part(self, result: PGresult, start: int, end: int) -> list[Row]:
        """The rows from `start` to before `end`.

        Raises:
            UnexpectedRows: A value is none of its type, or the number of columns has changed: for
                more of them psycopg would read beyond the end of its list of loaders.
        """
        is_first = self._column_count is None
        if is_first:
            self._column_count = result.nfields
        elif result.nfields != self._column_count:
            raise UnexpectedRows
        self._fast.set_pgresult(result, set_loaders=is_first, format=Format.TEXT)
        try:
            try:
                return self._fast.load_rows(start, end, tuple)
            except UnicodeDecodeError:
                self.replaced_bytes = True
                lossy = Transformer(_LOSSY_LOADERS)
                lossy.set_pgresult(result, format=Format.TEXT)
                return lossy.load_rows(start, end, tuple)
        except ValueError as error:
            raise UnexpectedRows from error


def to_chunk(rows: Sequence[Row]) -> Chunk:
    """Raises UnexpectedRows for an integer that is larger than PostgreSQL's."""
    try:
        return Chunk(_encode_lines(rows), len(rows))
    except OverflowError as error:
        raise UnexpectedRows from error


def truncate_cells(rows: list[Row], max_chars: int) -> list[Row]:
    """Limits each text to `max_chars` characters; returns the same list if none is longer."""
    cells = (cell for row in rows for cell in row)
    if not any(isinstance(cell, str) and len(cell) > max_chars for cell in cells):
        return rows
    return [[cell[:max_chars] if isinstance(cell, str) else cell for cell in row] for row in rows]


def encode_parameter(value: Any) -> bytes | None:
    """The text form of a parameter; PostgreSQL infers its type from the statement."""
    match value:
        case None:
            return None
        case str():
            text = value
        case bool():
            text = "true" if value else "false"
        case int() | float():
            text = str(value)
        case _:
            text = encode_json(value).decode()
    return text.encode()
