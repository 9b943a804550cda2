"""The rows of a result as a file: CSV, JSON lines or Parquet."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from typing import Any

import msgspec

from db.runs import Column
from db.workbench.results import parquet

CSV, JSONL, PARQUET = "csv", "jsonl", "parquet"
CONTENT_TYPES = {
    CSV: "text/csv; charset=utf-8; header=present",
    JSONL: "application/jsonl",
    PARQUET: "application/vnd.apache.parquet",
}

_decode = msgspec.json.Decoder(list[Any]).decode
_decode_raw = msgspec.json.Decoder(list[msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


def refuse_unknown(format: str) -> None:
    """Raises when this server cannot write it."""
    if format == PARQUET:
        parquet.refuse_missing()


def written(
    format: str,
    columns: Sequence[Column],
    batches: AsyncIterator[list[bytes]],
    *,
    group_rows: int,
) -> AsyncGenerator[bytes]:
    """The whole file in pieces. Rows come as lists in JSON; `group_rows` are a group in Parquet."""
    names = [column.name for column in columns]
    if format == CSV:
        return _in_lines(_csv_writer(), batches, head=_csv_line(names))
    if format == JSONL:
        return _in_lines(_jsonl_writer(_unlike(names)), batches)
    oids = [column.type_oid for column in columns]
    return parquet.written(_unlike(names), oids, batches, group_rows=group_rows)


async def _in_lines(
    write: Callable[[Iterable[bytes]], bytes],
    batches: AsyncIterator[list[bytes]],
    *,
    head: bytes = b"",
) -> AsyncGenerator[bytes]:
    """A piece for each batch, made in a thread: a batch takes longer than others should wait.

    The head goes with the first of them, so that nothing is sent before there are rows to send.
    """
    async for lines in batches:
        yield head + await asyncio.to_thread(write, lines)
        head = b""
    if head:
        yield head


def _csv_writer() -> Callable[[Iterable[bytes]], bytes]:
    return lambda lines: b"".join(_csv_line(_decode(line)) for line in lines)


def _csv_line(values: Iterable[Any]) -> bytes:
    return (",".join(map(_csv_cell, values)) + "\r\n").encode()


def _csv_cell(value: Any) -> str:
    """RFC 4180; NULL is nothing at all, an empty text is two quotes."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case str():
            quoted = not value or any(mark in value for mark in ',"\r\n')
            return '"' + value.replace('"', '""') + '"' if quoted else value
        case _:
            return str(value)


def _jsonl_writer(names: Sequence[str]) -> Callable[[Iterable[bytes]], bytes]:
    """The values are passed on as they are written."""
    keys = [_encode(name) + b":" for name in names]

    def line(row: bytes) -> bytes:
        values = zip(keys, _decode_raw(row), strict=True)
        return b"{" + b",".join(key + bytes(value) for key, value in values) + b"}\n"

    return lambda lines: b"".join(map(line, lines))


def _unlike(names: Sequence[str]) -> list[str]:
    """Columns of the same name are told apart by numbers."""
    seen: Counter[str] = Counter()
    taken = set(names)
    found = []
    for name in names:
        seen[name] += 1
        new = name if seen[name] == 1 else f"{name}_{seen[name]}"
        while seen[name] > 1 and new in taken:
            seen[name] += 1
            new = f"{name}_{seen[name]}"
        taken.add(new)
        found.append(new)
    return found
