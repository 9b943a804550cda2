r"""The bytes of COPY ... TO STDOUT as rows of a result, and back.

Text is a row for each line, without its newline. Everything else is a row for each message of the
server, in hexadecimal as PostgreSQL writes a bytea: `\x50474f...`.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from db.row_scans import type_oids
from db.runs import Column, RunRow

COMMAND = "COPY"
TEXT = Column(name="copy", type="text", type_oid=type_oids.TEXT)
BYTES = Column(name="copy", type="bytea", type_oid=17)

_decode = msgspec.json.Decoder(list[str]).decode


def is_copied(run: RunRow) -> bool:
    """Whether the result of the run is the data of a COPY."""
    return run.command == COMMAND and run.columns is not None


def to_text_row(message: bytes) -> tuple[Any, ...]:
    return (message.removesuffix(b"\n").decode(errors="replace"),)


def to_bytes_row(message: bytes) -> tuple[Any, ...]:
    return ("\\x" + message.hex(),)


def raw_writer(columns: Sequence[Column]) -> Callable[[Iterable[bytes]], bytes]:
    """Returns what turns rows, each a JSON array, into the bytes that PostgreSQL sent."""
    if columns[0].type_oid == TEXT.type_oid:
        return lambda lines: "".join(_decode(line)[0] + "\n" for line in lines).encode()
    return lambda lines: b"".join(_from_hex(_decode(line)[0]) for line in lines)


def _from_hex(cell: str) -> bytes:
    """Bytes of a cell that may have been shortened in the middle of a byte."""
    return bytes.fromhex(cell[2 : len(cell) - len(cell) % 2])
