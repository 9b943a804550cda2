"""Lines of CSV and JSON files are the same wherever the object store divides them."""

from collections.abc import AsyncGenerator

import pytest

from db.kit.base import new_id
from db.workbench.copy import json_lines
from db.workbench.copy.copy_failures import BadSourceLine, source_position
from db.workbench.copy.csv_lines import header_of, without_end_marks
from db.workbench.copy.import_request import ImportSource
from db.workbench.copy.json_lines import copied_lines

BOM = b"\xef\xbb\xbf"


async def divided(content: bytes, *cuts: int) -> AsyncGenerator[bytes]:
    for start, end in zip((0, *cuts), (*cuts, len(content)), strict=True):
        yield content[start:end]


async def read(pieces: AsyncGenerator[bytes]) -> bytes | int | None:
    """All bytes, or the number of the line that is refused."""
    try:
        return b"".join([piece async for piece in pieces])
    except BadSourceLine as error:
        return error.line


@pytest.mark.parametrize(
    ("content", "bad"),
    [
        (b'a,b\r\n1,"x\n\\.\ny"\r\n', None),
        (b'a\n"\\."\n\\.x\nx\\.\n\\..\n', None),
        (b"a\nb\n\\.\nc\n", 3),
        (b"a\r\nb\r\n\\.", 3),
        (b"\\.\n", 1),
        (b'"a""\n\\.\n"\n\\.\n', 4),
    ],
)
async def test_end_mark_of_csv_is_found_between_pieces(content: bytes, bad: int | None) -> None:
    for cut in range(3, len(content)):
        found = await read(without_end_marks(divided(content, cut)))
        assert found == (bad or content), cut
    every = without_end_marks(divided(BOM + content, *range(3, len(content) + 3)))
    assert await read(every) == (bad or content)


async def test_end_marks_within_quotes_are_searched_in_linear_time() -> None:
    """A piece of the object store may have as many, which blocked the event loop for minutes."""
    content = b'"' + b"\n\\." * 350_000 + b'\n"\n'
    assert await read(without_end_marks(divided(content))) == content


def source(*columns: str, width: int = 0) -> ImportSource:
    return ImportSource(
        file_id=new_id(),
        object_id=new_id(),
        size=1,
        format="jsonl",
        columns=list(columns),
        width=width,
        is_strict=True,
    )


async def test_json_lines_are_found_between_pieces() -> None:
    content = BOM + '{"a": 1, "b": "ä\\n\\\\"}\r\n{"b": [1, "\\t"]} \n{"a": null}\n\n'.encode()
    rows = b'1\t\xc3\xa4\\n\\\\\n\\N\t[1, "\\\\t"]\n\\N\t\\N\n'
    for cut in range(3, len(content)):
        assert await read(copied_lines(divided(content, cut), source("a", "b"))) == rows, cut
    assert await read(copied_lines(divided(b"[1]\n\n[2]\n", 4), source(width=1))) == 2
    assert await read(copied_lines(divided(b"[1]\n[2", 4), source(width=1))) == 2


async def test_long_json_line_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_lines, "MAX_LINE_BYTES", 10)
    content = b'["a"]\n["123456789012"]\n'
    assert await read(copied_lines(divided(content, 8, 18), source(width=1))) == 2


def test_header_of_csv_ends_with_its_record() -> None:
    assert header_of(BOM + b'a;"b;\n""c";d\r\n1;2;3', ";") == ["a", 'b;\n"c', "d"]
    assert header_of(b"only", ",") == ["only"]


def test_position_is_found_in_the_words_of_the_server() -> None:
    german = "PL/pgSQL-Funktion f() Zeile 1\nCOPY t, Zeile 7, Spalte Preis: »x«"
    assert source_position('COPY a, b, line 3, column c: "x, line 4"') == (3, "c")
    assert source_position(german) == (7, "Preis")
    assert source_position('COPY t, line 2: "1,a"') == (2, None)
    assert source_position(f"COPY t, line {'9' * 5_000}") == (None, None)
    assert source_position("SQL statement") == source_position(None) == (None, None)


def test_position_is_searched_in_linear_time() -> None:
    """The context may repeat the statement of a user, which blocked the event loop."""
    assert source_position("COPY " + ", " * 200_000) == (None, None)
