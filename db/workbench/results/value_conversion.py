"""Converts values: to JSON where that loses nothing, else to PostgreSQL's own text."""

import math
from collections.abc import Sequence
from typing import Any

import msgspec
from psycopg.abc import Buffer, Loader
from psycopg.adapt import AdaptersMap, Transformer
from psycopg.adapt import Loader as LoaderBase
from psycopg.pq.abc import PGresult
from psycopg.types.bool import BoolLoader
from psycopg.types.numeric import FloatLoader, IntLoader
from psycopg.types.string import TextLoader

from db.row_scans.type_oids import BOOL, FLOAT4, FLOAT8, FLOATS, INT2, INT4
from db.workbench.connections.bounds.read_budget import UnexpectedRows
from db.workbench.results.spool import Chunk

ANY = 0
"""In place of an OID: the loader of all other types."""

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
            (FLOAT4, FloatLoader),
            (FLOAT8, FloatLoader),
        ):
            self.adapters.register_loader(oid, loader)


_FAST_LOADERS = _Loaders(TextLoader)
_LOSSY_LOADERS = _Loaders(_LossyText)


class RowLoader:
    """Loads the rows of one statement, with psycopg's C loaders where possible."""

    def __init__(self) -> None:
        self.replaced_bytes = False
        """Whether a text was not in UTF-8."""
        self._fast = Transformer(_FAST_LOADERS)
        self._floats: list[int] | None = None

    def load(self, result: PGresult) -> list[tuple[Any, ...]]:
        """All rows of the result.

        Raises:
            UnexpectedRows: A value is none of its type.
        """
        return self.spell(self.load_part(result, 0, result.ntuples))

    def load_part(self, result: PGresult, start: int, end: int) -> list[tuple[Any, ...]]:
        """The rows from `start` to before `end`, for `spell`. Raises as `load`."""
        self._fast.set_pgresult(result, set_loaders=self._floats is None)
        if self._floats is None:
            columns = range(result.nfields)
            self._floats = [column for column in columns if result.ftype(column) in FLOATS]
        try:
            try:
                return self._fast.load_rows(start, end, tuple)
            except UnicodeDecodeError:
                self.replaced_bytes = True
                lossy = Transformer(_LOSSY_LOADERS)
                lossy.set_pgresult(result)
                return lossy.load_rows(start, end, tuple)
        except ValueError as error:
            raise UnexpectedRows from error

    def spell(self, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """Replaces the numbers that JSON lacks by their text. Cheaper for many rows at once."""
        if not self._floats or _all_finite(rows, self._floats):
            return rows
        return [tuple(map(_spell, row)) for row in rows]


def _all_finite(rows: Sequence[tuple[Any, ...]], columns: Sequence[int]) -> bool:
    """Whether the sums of the columns are finite: one check for many values."""
    return all(
        math.isfinite(sum([row[column] for row in rows if row[column] is not None]))
        for column in columns
    )


def _spell(value: object) -> object:
    """As PostgreSQL does: NaN, Infinity and -Infinity."""
    if not isinstance(value, float) or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def to_chunk(rows: Sequence[tuple[Any, ...]]) -> Chunk:
    """Raises UnexpectedRows for an integer that is larger than PostgreSQL's."""
    try:
        return Chunk(_encode_lines(rows), len(rows))
    except OverflowError as error:
        raise UnexpectedRows from error


def truncate_cells(rows: Sequence[tuple[Any, ...]], max_chars: int) -> list[tuple[Any, ...]]:
    """Limits each text cell to `max_chars` characters."""
    return [
        tuple(cell[:max_chars] if isinstance(cell, str) else cell for cell in row) for row in rows
    ]


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
