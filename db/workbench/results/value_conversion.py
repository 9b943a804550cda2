"""Converts values: to JSON where that loses nothing, else to PostgreSQL's own text."""

import contextlib
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import msgspec
from psycopg.abc import Buffer, Loader
from psycopg.adapt import AdaptersMap, Transformer
from psycopg.adapt import Loader as LoaderBase
from psycopg.pq.abc import PGresult
from psycopg.types.bool import BoolLoader
from psycopg.types.numeric import IntLoader
from psycopg.types.string import TextLoader

from db.row_scans.type_oids import BOOL, FLOATS, INT2, INT4
from db.workbench.connections.bounds.read_budget import UnexpectedRows
from db.workbench.results.spool import Chunk

ANY = 0
"""In place of an OID: the loader of all other types."""

Row: TypeAlias = Sequence[Any]

_decode_floats = msgspec.json.Decoder(list[float | None]).decode
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

    Floats are loaded as text and parsed for many rows at once, which takes a third of the time.
    """

    def __init__(self) -> None:
        self.replaced_bytes = False
        """Whether a text was not in UTF-8."""
        self._fast = Transformer(_FAST_LOADERS)
        self._floats: list[int] = []
        self._as_row: Callable[[Sequence[Any]], Row] | None = None
        """Lists if cells are replaced later; tuples take less time. None before the first rows."""

    def load(self, result: PGresult) -> list[Row]:
        """All rows of the result.

        Raises:
            UnexpectedRows: A value is none of its type.
        """
        return self.parse_floats(self.load_part(result, 0, result.ntuples))

    def load_part(self, result: PGresult, start: int, end: int) -> list[Row]:
        """The rows from `start` to before `end`, for `parse_floats`. Raises as `load`."""
        self._fast.set_pgresult(result, set_loaders=self._as_row is None)
        as_row = self._as_row or self._look_at_columns(result)
        try:
            try:
                return self._fast.load_rows(start, end, as_row)
            except UnicodeDecodeError:
                self.replaced_bytes = True
                lossy = Transformer(_LOSSY_LOADERS)
                lossy.set_pgresult(result)
                return lossy.load_rows(start, end, as_row)
        except ValueError as error:
            raise UnexpectedRows from error

    def _look_at_columns(self, result: PGresult) -> Callable[[Sequence[Any]], Row]:
        columns = range(result.nfields)
        self._floats = [column for column in columns if result.ftype(column) in FLOATS]
        self._as_row = list if self._floats else tuple
        return self._as_row

    def parse_floats(self, rows: list[Row]) -> list[Row]:
        """Replaces the text of floats by numbers, where JSON has them; returns the same rows."""
        for column in self._floats:
            texts = [row[column] for row in rows]
            for row, number in zip(rows, _parse_floats(texts), strict=True):
                row[column] = number  # type: ignore[index]  # a list
        return rows


def _parse_floats(texts: Sequence[str | None]) -> Sequence[float | str | None]:
    """Raises UnexpectedRows for what is no number.

    A JSON decoder takes a third of the time of `float`, but has neither -0 nor NaN and infinities.
    """
    written = ",".join(["null" if text is None else text for text in texts])
    if ",-0," not in f",{written},":
        with contextlib.suppress(msgspec.DecodeError):
            numbers = _decode_floats(f"[{written}]")
            if len(numbers) == len(texts):
                return numbers
    return [None if text is None else _parse_float(text) for text in texts]


def _parse_float(text: str) -> float | str:
    """What JSON lacks stays as PostgreSQL spells it: NaN, Infinity and -Infinity."""
    try:
        number = float(text)
    except ValueError as error:
        raise UnexpectedRows from error
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


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
