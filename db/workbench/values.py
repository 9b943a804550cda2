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
from psycopg.types.numeric import IntLoader
from psycopg.types.string import TextLoader

from db.workbench.results import Chunk

BOOL, INT2, INT4, FLOAT4, FLOAT8, ANY = 16, 21, 23, 700, 701, 0

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

    def __init__(self, text: type[Loader]) -> None:
        self.adapters = AdaptersMap()
        for oid, loader in (
            (ANY, text),
            (BOOL, BoolLoader),
            (INT2, IntLoader),
            (INT4, IntLoader),
            (FLOAT4, _FiniteFloat),
            (FLOAT8, _FiniteFloat),
        ):
            self.adapters.register_loader(oid, loader)


_STRICT = _Loaders(TextLoader)
_LENIENT = _Loaders(_AnyText)


def loaded(result: PGresult, start: int, end: int) -> list[tuple[Any, ...]]:
    """The rows of a result of libpq from `start` until before `end`."""
    try:
        return _loaded(result, start, end, _STRICT)
    except UnicodeDecodeError:
        return _loaded(result, start, end, _LENIENT)


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
