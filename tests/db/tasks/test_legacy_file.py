import codecs
import json
from collections.abc import Iterator
from typing import Any

import pytest

from db.errors import BadInput
from db.tasks.legacy_file import BrokenFile, decode_file, parse_records

THREE = [{"title": "Feed the elephant"}, {"title": "Müsli 🥣", "n": 12.5e3}, {"a": ['"]}', {}]}]


def chunked(text: str, size: int) -> Iterator[str]:
    return (text[at : at + size] for at in range(0, len(text), size))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 10_000])
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize(
    "whole",
    [THREE, {"tasks": THREE}, {"version": 12, "meta": {"tasks": 1}, "tasks": THREE, "end": [1, 2]}],
)
def test_records_are_found_across_chunk_boundaries(
    whole: Any, indent: int | None, size: int
) -> None:
    text = json.dumps(whole, indent=indent, ensure_ascii=False)
    assert list(parse_records(chunked(text, size))) == THREE


@pytest.mark.parametrize("text", ["[1234, 56]", " [ 1234 ,\r\n\t56 ] \n"])
def test_records_do_not_split_numbers(text: str) -> None:
    assert list(parse_records(chunked(text, 1))) == [1234, 56]


@pytest.mark.parametrize("whole", [[], {"tasks": []}])
def test_records_of_empty_list_are_empty(whole: Any) -> None:
    assert list(parse_records([json.dumps(whole)])) == []


@pytest.mark.parametrize(
    "text", ["", "  ", "null", "nonsense", '"text"', "{}", '{"todo": []}', '{"tasks": {"1": {}}}']
)
def test_records_refuse_text_without_list(text: str) -> None:
    with pytest.raises(BadInput, match="no list of tasks"):
        list(parse_records([text]))


@pytest.mark.parametrize("size", [1, 10_000])
@pytest.mark.parametrize(
    ("text", "whole", "place"),
    [
        ('[{"a": 1},\n {"a": 2},\n {"a" 3}]', 2, "line 3, column 7"),
        ('[{"a": 1},\n {"a": ', 1, "line 2, column 8"),
        ('[{"a": 1},]', 1, "line 1, column 11"),
        ('[{"a": 1}\n{"a": 2}]', 1, "line 2, column 1: expected `,`"),
        ('[{"a": 1}', 1, "line 1, column 10: expected `,`, found the end"),
        ('[{"a": 1}] [', 1, "line 1, column 12: unexpected text"),
        ('{"tasks": [{"a": 1}], 5', 1, "expected `:`"),
    ],
)
def test_records_before_syntax_error_are_complete(
    text: str, whole: int, place: str, size: int
) -> None:
    found = parse_records(chunked(text, size))
    assert [next(found) for _ in range(whole)] == [{"a": n + 1} for n in range(whole)]
    with pytest.raises(BrokenFile, match=place):
        next(found)


@pytest.mark.parametrize("value", ["[" * 100_000, "1" * 5_000])
def test_records_report_unparsable_value_as_broken_file(value: str) -> None:
    found = parse_records([f'[{{"a": 1}}, {value}'])
    assert next(found) == {"a": 1}
    with pytest.raises(BrokenFile):
        next(found)


def test_records_limit_length_of_unterminated_record() -> None:
    given = 0

    def endless() -> Iterator[str]:
        nonlocal given
        yield '["'
        while True:
            given += 1
            yield "x" * 65_536

    with pytest.raises(BrokenFile):
        next(parse_records(endless()))
    assert given < 20


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize(
    "encoded",
    [
        "é🥣".encode(),
        codecs.BOM_UTF8 + "é🥣".encode(),
        "é🥣".encode("utf-16"),
        codecs.BOM_UTF16_BE + "é🥣".encode("utf-16-be"),
        "é🥣".encode("utf-32"),
    ],
)
def test_encoding_is_detected(encoded: bytes, size: int) -> None:
    if size < 4:  # the first chunk of a real file is long enough to detect
        chunks = [encoded[:4], *(encoded[at : at + size] for at in range(4, len(encoded), size))]
    else:
        chunks = [encoded]
    assert "".join(decode_file(chunks)).removeprefix("\ufeff") == "é🥣"


def test_encoding_utf_16_without_mark_is_detected() -> None:
    text = json.dumps(THREE)
    assert list(parse_records(decode_file([text.encode("utf-16-le")]))) == THREE


def test_encoding_error_reports_its_byte() -> None:
    found = parse_records(decode_file([b'[{"a": 1},', b' "caf\xe9"]']))
    assert next(found) == {"a": 1}
    with pytest.raises(BrokenFile, match="not UTF-8 near byte 15"):
        next(found)


def test_byte_order_mark_is_not_part_of_text() -> None:
    assert list(parse_records(["\ufeff[1]"])) == [1]
