"""A file of saved queries is read as it was written, also by hand."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db.errors import BadInput
from db.kit.base import TimestampText, new_id
from db.saved_queries import SavedParameter, SavedQueryRow, format_queries
from db.saved_queries.rules import (
    checked_folder,
    checked_name,
    checked_parameters,
    checked_text,
)
from db.saved_queries.sql_file import FileQuery, RejectedQuery, parse_queries

NOW = TimestampText("2026-01-01T00:00:00+00:00")
PIECES = [
    *("-- @query x", "--@folder", "-- \\@parameter {}", "--\t\\\\@query", "-- @queryx", "SELECT 1"),
    *(";", "\n", "\n;\n", "\r\n", "\r", " ", "\t", "\u2028", "\x85", "\ufeff", "$1", "'", "é"),
]
texts = st.lists(st.sampled_from(PIECES) | st.text(max_size=5)).map("".join)
json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)


def row(name: str, folder: str, text: str, parameters: list[SavedParameter]) -> SavedQueryRow:
    """Raises BadInput for values that cannot be saved."""
    return SavedQueryRow(
        id=new_id(),
        name=checked_name(name),
        folder=checked_folder(folder),
        text=checked_text(text),
        connection_id=None,
        parameters=checked_parameters(parameters),
        created_at=NOW,
        updated_at=NOW,
        version=1,
    )


@st.composite
def rows(draw: st.DrawFn) -> SavedQueryRow:
    names = draw(st.lists(st.sampled_from(["since", "größe", "_x"]), unique=True))
    parameters = [
        SavedParameter(name, draw(st.none() | st.just("int8[]")), draw(json)) for name in names
    ]
    name = draw(st.text(max_size=8) | st.sampled_from(["@query", "-- @query x", "a;"]))
    folder = draw(st.sampled_from(["", "a", "a/b", "ä ö/b-c"]))
    try:
        return row(name, folder, draw(texts), parameters)
    except BadInput:
        return row("name", folder, "SELECT 1", [])


def written(found: SavedQueryRow) -> tuple[str, str, str, str]:
    return found.name, found.folder, found.text, found.parameters


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(rows(), max_size=5, unique_by=lambda each: (each.folder, each.name)))
def test_file_of_any_queries_is_read_as_it_was_written(queries: list[SavedQueryRow]) -> None:
    file = format_queries(queries)
    if not queries:
        with pytest.raises(BadInput):
            list(parse_queries(file))
        return
    found = list(parse_queries(file))
    assert [query.values for query in found if isinstance(query, FileQuery)] == [
        written(query) for query in queries
    ]
    if not any("\r" in query.text for query in queries):
        of_windows = "\ufeff" + file.replace("\n", "\r\n")
        assert list(parse_queries(of_windows)) == found


def test_file_written_by_hand_is_read() -> None:
    file = """
-- My queries.

--@query   Orders
-- @folder /reports/sales/

SELECT 1;

-- a comment of the text
-- @query Customers
-- @parameter {"name": "since"}
-- @parameter {"name": "until", "type": "date", "default": null}
SELECT $1, $2
;
"""
    assert list(parse_queries(file)) == [
        FileQuery(0, "Orders", "reports/sales", "SELECT 1;\n\n-- a comment of the text", "[]"),
        FileQuery(
            1,
            "Customers",
            "",
            "SELECT $1, $2",
            '[{"name":"since"},{"name":"until","type":"date","default":null}]',
        ),
    ]


def test_query_of_file_that_cannot_be_saved_is_rejected_with_its_index() -> None:
    file = """-- @query one
SELECT 1
-- @query
SELECT 2
-- @query three
-- @query one
SELECT 4
-- @query five
-- @parameter since
SELECT 5
-- @query six
-- @folder a//b
SELECT 6
-- @query seven
SELECT 7
"""
    found = list(parse_queries(file))
    assert [query.index for query in found if isinstance(query, FileQuery)] == [0, 6]
    rejected = {
        query.index: query.reason.partition(".")[0]
        for query in found
        if isinstance(query, RejectedQuery)
    }
    assert rejected == {
        1: "`name` is empty",
        2: "`text` is empty",
        3: "It has the name and folder of the query with index 0",
        4: "A line `-- @parameter` is not followed by the JSON of a parameter",
        5: "`folder` has an empty part, or one that is `",
    }


@pytest.mark.parametrize("file", ["", "SELECT 1;", "-- only a comment\n"])
def test_file_without_a_query_is_refused(file: str) -> None:
    with pytest.raises(BadInput, match="does not begin with"):
        list(parse_queries(file))


def test_deeply_nested_parameter_is_rejected() -> None:
    nested = f'{{"name": "a", "default": {"[" * 100_000}{"]" * 100_000}}}'
    (found,) = parse_queries(f"-- @query deep\n-- @parameter {nested}\nSELECT 1")
    assert isinstance(found, RejectedQuery)
    assert "not followed by the JSON" in found.reason
