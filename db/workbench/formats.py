"""The rows of a result as files: CSV and JSON lines."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

import msgspec

CSV, JSONL = "csv", "jsonl"
CONTENT_TYPES = {CSV: "text/csv; charset=utf-8; header=present", JSONL: "application/jsonl"}

_decode = msgspec.json.Decoder(list[Any]).decode
_decode_raw = msgspec.json.Decoder(list[msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


async def written(
    format: str, names: Sequence[str], batches: AsyncIterator[list[bytes]]
) -> AsyncIterator[bytes]:
    """The whole file, a piece for each batch of rows, which come as lists in JSON."""
    write = _csv_writer() if format == CSV else _jsonl_writer(names)
    if format == CSV:
        yield _csv_line(names)
    async for lines in batches:
        yield write(lines)


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
    keys = [_encode(name) + b":" for name in _unlike(names)]

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
