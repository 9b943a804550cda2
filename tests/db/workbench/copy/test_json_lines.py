"""JSON lines that would take much memory, and those that only look as if they would."""

import tracemalloc

import pytest

from db.errors import BadInput
from db.kit.base import new_id
from db.workbench.copy.copy_failures import BadSourceLine
from db.workbench.copy.import_request import ImportSource
from db.workbench.copy.json_lines import MAX_VALUES, JsonLines, has_too_many_values, names_of

MANY = 1_000_000
ADDED_BYTES = 10_000_000
BOMBS = {
    "array": b"[" + b"1," * MANY + b"1]",
    "object": b"{" + b",".join(b'"%x":1' % number for number in range(MANY)) + b"}",
}


def test_line_with_a_million_values_is_refused_before_it_is_decoded() -> None:
    source = ImportSource(new_id(), new_id(), 1, "jsonl", columns=["a"])
    for name, line in BOMBS.items():
        tracemalloc.start()
        with pytest.raises(BadInput, match=f"more than {MAX_VALUES} values"):
            names_of(line)
        with pytest.raises(BadSourceLine, match=f"more than {MAX_VALUES} values"):
            JsonLines(source).convert([line])
        assert tracemalloc.get_traced_memory()[1] < ADDED_BYTES, name
        tracemalloc.stop()


@pytest.mark.parametrize(
    "line",
    [
        b'{"a": "' + b"1," * MAX_VALUES + b'"}',
        b'{"a": [' + b"1," * MAX_VALUES + b"1]}",
        b'{"a": {"b": "\\"]}", "c": [' + b'"\\\\",' * MAX_VALUES + b"1]}}",
    ],
)
def test_large_value_with_many_commas_is_one_value(line: bytes) -> None:
    assert not has_too_many_values(line)
    assert names_of(line) == ["a"]


def test_deeply_nested_value_is_a_bad_line() -> None:
    line = b'{"a":' + b"[" * MANY
    with pytest.raises(BadInput, match="is not a JSON object"):
        names_of(line)
    with pytest.raises(BadSourceLine, match="is not a JSON object"):
        JsonLines(ImportSource(new_id(), new_id(), 1, "jsonl", columns=["a"])).convert([line])


def test_string_that_is_not_closed_is_read_once() -> None:
    """Each of its quotes could begin a string, which would take quadratic time."""
    assert not has_too_many_values(b"[" + b'"' + b'\\",' * MANY + b"\\")
