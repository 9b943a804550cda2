"""Columns of functions, from their signatures as PostgreSQL formats them."""

import pytest

from db.workbench.completion.statement.columns import function_columns


@pytest.mark.parametrize(
    ("arguments", "result", "names"),
    [
        ("a integer", "TABLE(id bigint, price numeric(10,2))", ["id", "price"]),
        ("", 'TABLE("it\'s" integer, b text)', ["it's", "b"]),
        ("", 'TABLE("a""" integer, "a,b" text)', ['a"', "a,b"]),
        ("mark text DEFAULT '('::text, OUT total bigint, OUT n int", "record", ["total", "n"]),
        ("mark text DEFAULT '\"'::text, OUT total bigint", "bigint", ["total"]),
        ("a integer, b text", "void", []),
    ],
)
def test_columns_of_functions_are_read_from_signatures(
    arguments: str, result: str, names: list[str]
) -> None:
    assert [column.name for column in function_columns(arguments, result)] == names
