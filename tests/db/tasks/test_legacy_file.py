import codecs
import json
from collections.abc import Iterator
from typing import Any

import pytest

from db.errors import BadInput
from db.tasks.legacy_file import BrokenFile, decoded, records

THREE = [{"title": "Feed the elephant"}, {"title": "Müsli 🥣", "n": 12.5e3}, {"a": ['"]}', {}]}]


def chunked(text: str, size: int) -> Iterator[str]:
    return (text[at : at + size] for at in range(0, len(text), size))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 10_000])
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize(
    "whole",
    [THREE, {"tasks": THREE}, {"version": 12, "meta": {"tasks": 1}, "tasks": THREE, "end": [1, 2]}],
)
def test_a_list_is_found_however_the_text_is_cut(whole: Any, indent: int | None, size: int) -> None:
    text = json.dumps(whole, indent=indent, ensure_ascii=False)
    assert list(records(chunked(text, size))) == THREE


@pytest.mark.parametrize("text", ["[1234, 56]", " [ 1234 ,\r\n\t56 ] \n"])
def test_a_number_is_never_cut_in_two(text: str) -> None:
    assert list(records(chunked(text, 1))) == [1234, 56]


@pytest.mark.parametrize("whole", [[], {"tasks": []}])
def test_no_tasks_are_none(whole: Any) -> None:
    assert list(records([json.dumps(whole)])) == []


@pytest.mark.parametrize(
    "text", ["", "  ", "null", "nonsense", '"text"', "{}", '{"todo": []}', '{"tasks": {"1": {}}}']
)
def test_what_holds_no_list_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="no list of tasks"):
        list(records([text]))


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
def test_what_comes_before_a_break_is_whole(text: str, whole: int, place: str, size: int) -> None:
    found = records(chunked(text, size))
    assert [next(found) for _ in range(whole)] == [{"a": n + 1} for n in range(whole)]
    with pytest.raises(BrokenFile, match=place):
        next(found)


@pytest.mark.parametrize("value", ["[" * 100_000, "1" * 5_000])
def test_what_no_parser_can_hold_breaks_the_file_and_nothing_else(value: str) -> None:
    found = records([f'[{{"a": 1}}, {value}'])
    assert next(found) == {"a": 1}
    with pytest.raises(BrokenFile):
        next(found)


def test_a_record_without_an_end_is_not_read_to_the_end_of_the_file() -> None:
    given = 0

    def endless() -> Iterator[str]:
        nonlocal given
        yield '["'
        while True:
            given += 1
            yield "x" * 65_536

    with pytest.raises(BrokenFile):
        next(records(endless()))
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
def test_encodings_are_told_apart(encoded: bytes, size: int) -> None:
    if size < 4:  # the first chunk of a file is long enough to tell
        chunks = [encoded[:4], *(encoded[at : at + size] for at in range(4, len(encoded), size))]
    else:
        chunks = [encoded]
    assert "".join(decoded(chunks)).removeprefix("\ufeff") == "é🥣"


def test_utf_16_without_a_mark_is_told_by_its_first_bracket() -> None:
    text = json.dumps(THREE)
    assert list(records(decoded([text.encode("utf-16-le")]))) == THREE


def test_other_encodings_break_where_they_show() -> None:
    found = records(decoded([b'[{"a": 1},', b' "caf\xe9"]']))
    assert next(found) == {"a": 1}
    with pytest.raises(BrokenFile, match="not UTF-8 near byte 15"):
        next(found)


def test_a_byte_order_mark_in_a_text_is_no_character_of_it() -> None:
    assert list(records(["\ufeff[1]"])) == [1]
