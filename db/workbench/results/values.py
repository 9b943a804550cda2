"""Values as the API shows them: what JSON holds without loss, else PostgreSQL's own text."""

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

from db.workbench.results.result_store import Chunk

BOOL, INT2, INT4, FLOAT4, FLOAT8, ANY = 16, 21, 23, 700, 701, 0
FLOATS = (FLOAT4, FLOAT8)

_encode_lines = msgspec.json.Encoder().encode_lines
_encode = msgspec.json.Encoder().encode


class _FiniteFloat(LoaderBase):
    """A number, or the text of NaN and the infinities."""

    def load(self, data: Buffer) -> float | str:
        value = float(bytes(data))
        return value if math.isfinite(value) else bytes(data).decode()


class _AnyText(LoaderBase):
    """Text of a database that keeps bytes in no encoding: what is no UTF-8 is replaced."""

    def load(self, data: Buffer) -> str:
        return bytes(data).decode(errors="replace")


class _Loaders:
    """What psycopg needs to know to load rows, without a connection's own settings."""

    connection = None

    def __init__(self, text: type[Loader], number: type[Loader]) -> None:
        self.adapters = AdaptersMap()
        for oid, loader in (
            (ANY, text),
            (BOOL, BoolLoader),
            (INT2, IntLoader),
            (INT4, IntLoader),
            (FLOAT4, number),
            (FLOAT8, number),
        ):
            self.adapters.register_loader(oid, loader)


_USUAL = _Loaders(TextLoader, FloatLoader)
_WITH_ANY_NUMBER = _Loaders(TextLoader, _FiniteFloat)
_WITH_ANY_BYTES = _Loaders(_AnyText, _FiniteFloat)


class Rows:
    """Loads the rows of one statement's results, in C where that can be."""

    def __init__(self) -> None:
        self._usual = Transformer(_USUAL)
        self._floats: list[int] | None = None

    def load(self, result: PGresult, start: int, end: int) -> list[tuple[Any, ...]]:
        """Those from `start` until before `end`."""
        self._usual.set_pgresult(result, set_loaders=self._floats is None)
        if self._floats is None:
            columns = range(result.nfields)
            self._floats = [column for column in columns if result.ftype(column) in FLOATS]
        try:
            rows = self._usual.load_rows(start, end, tuple)
            if _are_finite(rows, self._floats):
                return rows
            return _loaded(result, start, end, _WITH_ANY_NUMBER)
        except UnicodeDecodeError:
            return _loaded(result, start, end, _WITH_ANY_BYTES)


def _are_finite(rows: Sequence[tuple[Any, ...]], columns: Sequence[int]) -> bool:
    """Whether their numbers are, and not even their sum is too large for one."""
    return all(
        math.isfinite(sum([row[column] for row in rows if row[column] is not None]))
        for column in columns
    )


def _loaded(result: PGresult, start: int, end: int, loaders: _Loaders) -> list[tuple[Any, ...]]:
    transformer = Transformer(loaders)
    transformer.set_pgresult(result)
    return transformer.load_rows(start, end, tuple)


def chunk_of(rows: Sequence[tuple[Any, ...]]) -> Chunk:
    return Chunk(_encode_lines(rows), len(rows))


def cut(rows: Sequence[tuple[Any, ...]], longest: int) -> list[tuple[Any, ...]]:
    """The same rows with no cell of more than `longest` characters."""
    return [
        tuple(cell[:longest] if isinstance(cell, str) else cell for cell in row) for row in rows
    ]


def parameter(value: Any) -> bytes | None:
    """As text, of which PostgreSQL knows the type by the place where it stands."""
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
            text = _encode(value).decode()
    return text.encode()
