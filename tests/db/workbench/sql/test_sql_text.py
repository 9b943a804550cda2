"""The SQL tokenizer."""

import pytest

from db.workbench.sql.sql_text import (
    controls_transaction,
    copies_from_client,
    copy_encoding,
    is_empty,
    line_and_column,
    second_statement,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT 1", None),
        ("SELECT 1;", None),
        ("SELECT 1; -- no more\n /* nor here */ ;", None),
        ("SELECT 1;SELECT 2", 9),
        ("SELECT ';', \";\", $$;$$, $a$;$$;$a$, E'\\';'", None),
        ("SELECT 'it''s;'; x", 17),
        ("/* a /* ; */ ; */ SELECT 1; x", 28),
        ("SELECT $1; x", 11),
        ("SELECT a$b$; x", 13),
        ("SELECT 'open; x", None),
        ("CREATE RULE r AS ON INSERT TO p DO ALSO (SELECT 1; SELECT 2); x", 62),
        ("CREATE FUNCTION f() BEGIN ATOMIC SELECT CASE WHEN a THEN 1 END; SELECT 2; END; x", 79),
        ("SELECT 1); x", 11),
        ("SELECT $$ open; x", None),
        ("/* open ; x", None),
        ("SELECT 'ö\U0001f418'; x", 13),
    ],
)
def test_second_statement_returns_its_index(text: str, expected: int | None) -> None:
    assert second_statement(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("begin", True),
        ("-- so\nSTART TRANSACTION READ WRITE", True),
        ("End", True),
        ("ABORT", True),
        ("RELEASE SAVEPOINT a", True),
        ("PREPARE TRANSACTION 'x'", True),
        ("PREPARE x AS SELECT 1", False),
        ("COMMIT PREPARED 'x'", False),
        ("SELECT 'begin'", False),
        ("beginning", False),
        ("", False),
    ],
)
def test_controls_transaction_detects_commands(text: str, expected: bool) -> None:  # noqa: FBT001 - of a table
    assert controls_transaction(text) is expected


@pytest.mark.parametrize("text", ["", " \n", "-- a", "/* a */ ;;", "/* open"])
def test_is_empty_detects_texts_without_statement(text: str) -> None:
    assert is_empty(text)
    assert not is_empty(text.replace("/* open", "") + "\n1")


def test_line_and_column_count_from_one() -> None:
    text = "SELECT 'ö',\n\tnope"
    assert line_and_column(text, 1) == (1, 1)
    assert line_and_column(text, text.index("nope") + 1) == (2, 2)
    for end in ("\n", "\r", "\r\n"):
        assert line_and_column(f"a{end}{end} b", 2 * len(end) + 3) == (3, 2)


def test_second_statement_is_linear_in_text_length() -> None:
    assert second_statement("/*" * 200_000) is None
    assert second_statement("$a" * 200_000) is None
    assert second_statement("'" * 400_001) is None


def test_copy_from_client_is_recognized() -> None:
    for text in (
        "COPY t FROM STDIN",
        ";; copy t (a, b) from /* so */ stdin with csv",
        'COPY "from" FROM STDOUT (FORMAT csv)',
    ):
        assert copies_from_client(text), text
    for text in (
        "COPY t TO STDOUT",
        "COPY (SELECT * FROM stdin) TO STDOUT",
        "COPY stdin FROM '/tmp/a'",
        "SELECT * FROM stdin",
        "COPY t FROM PROGRAM 'stdin'",
    ):
        assert not copies_from_client(text), text
    assert copy_encoding("COPY t TO STDOUT WITH (ENCODING 'LATIN1')") == "LATIN1"
    assert copy_encoding("COPY encoding TO STDOUT") is None
