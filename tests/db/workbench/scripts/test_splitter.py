"""Scripts are split as psql splits them. The psql of the embedded PostgreSQL is the judge."""

import contextlib
import random
import time
from pathlib import Path

import pytest

from db.errors import BadInput, TooLarge
from db.workbench.scripts.splitter import (
    MAX_SCRIPT_CHARS,
    MAX_STATEMENTS,
    PsqlCommand,
    split_script,
)
from db.workbench.sql.sql_text import is_empty
from tests.fixtures.psql import Sent, normalized, sent_by_psql

TRICKY = (Path(__file__).parent / "tricky.sql").read_text()
PIECES = [*"';;\n\n ()\"/*-+|@#{}[]=,~:$\té\xa0€", "E'", "U&'", 'U&"', "B'", "N'", "''", "((", "))"]
PIECES += ["/*", "*/", "/*/", "**/", "--", "$$", "$a$", "$1", "$é$", "1", "1e", "1e+", "1.", "1.5e"]
PIECES += ["0x1f", ".5", "..", "::", ":=", ":x", ":'v'", ':"v"', "a", "b$", "create", "function"]
PIECES += ["procedure", "or", "replace", "begin", "atomic", "case", "end", "\r\n", "END;"]
PIECES += ["CREATE FUNCTION f() BEGIN ATOMIC", "CREATE OR REPLACE PROCEDURE p()"]


def test_tricky_script_is_split_as_by_psql() -> None:
    ours = _split(TRICKY)
    theirs = [one for one in sent_by_psql(TRICKY) if not is_empty(one.statement)]
    assert len(ours) == len(theirs) == 29
    assert [mine for mine, sent in zip(ours, theirs, strict=True) if not _is(mine, sent)] == []
    assert [data for _, data in ours if data is not None] == [
        "1\tit's; \"x\n\\N\t\\\\.\n",
        "2\t3\n",
        "",
    ]


def test_random_scripts_are_split_as_by_psql() -> None:
    chosen = random.Random(20261129)  # noqa: S311 - reproducible, not secret
    script = "\n;\nSELECT 'next';\n".join(
        "".join(chosen.choices(PIECES, k=chosen.randint(3, 40))) for _ in range(300)
    )
    scripts = [script, *("".join(chosen.choices(PIECES, k=40)) for _ in range(20))]
    for one in scripts:
        ours = [mine for mine in _split(one) if not is_empty(mine.statement)]
        theirs = [sent for sent in sent_by_psql(one) if not is_empty(sent.statement)]
        assert [mine for mine, sent in zip(ours, theirs, strict=True) if not _is(mine, sent)] == []


def _is(mine: Sent, sent: Sent) -> bool:
    """psql also sends the comments after a statement."""
    whole = normalized(sent.statement)
    is_same = whole.startswith(mine.statement) and is_empty(whole[len(mine.statement) :])
    return is_same and mine.data == sent.data


def _split(script: str) -> list[Sent]:
    found = []
    for one in split_script(script):
        data = None if one.data_start is None else script[one.data_start : one.data_end]
        found.append(Sent(normalized(script[one.start : one.end]), data))
    return found


def test_ranges_tell_offsets_lines_columns_and_kinds() -> None:
    script = (
        "\ufeffSELECT 'ö\U0001f418';\r\n\r  with a as (select 1) delete from t;\n/* x */ ;\n"
        "VALUES (1)"
    )
    found = split_script(script)
    assert [script[one.start : one.end] for one in found] == [
        "SELECT 'ö\U0001f418'",
        "with a as (select 1) delete from t",
        "VALUES (1)",
    ]
    assert [(one.index, one.line, one.column, one.kind) for one in found] == [
        (0, 1, 2, "SELECT"),
        (1, 3, 3, "DELETE"),
        (2, 5, 1, "VALUES"),
    ]


@pytest.mark.parametrize(
    ("script", "command", "line"),
    [
        ("SELECT 1;\n\\copy t FROM 'x'", "\\copy", 2),
        ("\\d+ t", "\\d+", 1),
        ("SELECT 1 \\gset\n", "\\gset", 1),
        ("SELECT (1\n\n\\;2)", "\\;2)", 3),
        ("COPY t FROM stdin;\n\\.\n\\.\n", "\\.", 3),
        ("SELECT '\\d', E'\\'', $$\\d$$ /* \\d */; -- \\d\n \\q", "\\q", 2),
    ],
)
def test_psql_commands_are_refused_with_their_line(script: str, command: str, line: int) -> None:
    with pytest.raises(PsqlCommand) as caught:
        split_script(script)
    assert caught.value.message == f"Line {line} has the psql command `{command}`."


def test_statement_around_copy_data_is_refused() -> None:
    for open_text in ("SELECT", "SELECT '", "(", "$$ "):
        with pytest.raises(BadInput, match="begins on line 2 continues after the data"):
            split_script(f"\nCOPY t FROM stdin; {open_text}\n1\n\\.\n 42;")
    assert len(split_script("COPY t FROM stdin; /* a comment */ -- and one\n1\n\\.\n")) == 1


def test_copy_data_without_end_extends_to_the_end() -> None:
    script = "COPY t FROM stdin;\n1\nDROP TABLE t;\n\\. \n"
    (only,) = split_script(script)
    assert script[only.data_start : only.data_end] == "1\nDROP TABLE t;\n\\. \n"
    (without,) = split_script("COPY t FROM stdin")
    assert without.data_start is None


def test_limits_of_scripts() -> None:
    assert len(split_script("x;" * MAX_STATEMENTS)) == MAX_STATEMENTS
    with pytest.raises(TooLarge):
        split_script("x;" * (MAX_STATEMENTS + 1))
    with pytest.raises(TooLarge):
        split_script(" " * (MAX_SCRIPT_CHARS + 1))


HOSTILE = [
    "()",
    "'",
    "E'\\\\",
    "E'a'",
    "/*",
    "/**/",
    "$a",
    "$",
    "- ",
    "a ",
    ".",
    "1e",
    "(1;",
    "$$ ",
]
HOSTILE += ["/* ", "with a as (", "COPY ", "case ", "\r\n", "COPY t FROM stdin;\n\\.\n" * 100]


def test_splitting_takes_linear_time() -> None:
    """With quadratic time each of these scripts takes minutes."""
    began = time.process_time()
    for piece in HOSTILE:
        with contextlib.suppress(BadInput, TooLarge):
            split_script(piece * (MAX_SCRIPT_CHARS // len(piece) // 5))
    assert time.process_time() - began < 60


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("(SELECT 1)", "SELECT"),
        ("create or replace temp view v as select 1", "CREATE VIEW"),
        ("CREATE UNIQUE INDEX i ON t (a)", "CREATE INDEX"),
        ("CREATE MATERIALIZED VIEW v AS SELECT 1", "CREATE MATERIALIZED VIEW"),
        ("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO x", "ALTER DEFAULT PRIVILEGES"),
        ("DROP FOREIGN DATA WRAPPER w", "DROP FOREIGN DATA WRAPPER"),
        ("DROP OWNED BY x", "DROP OWNED"),
        ("START TRANSACTION READ ONLY", "START TRANSACTION"),
        ("rollback to savepoint a", "ROLLBACK TO"),
        ("COMMIT PREPARED 'x'", "COMMIT PREPARED"),
        ("PREPARE x AS SELECT 1", "PREPARE"),
        ("REFRESH MATERIALIZED VIEW v", "REFRESH MATERIALIZED VIEW"),
        ("WITH update AS (DELETE FROM t), b(x) AS (VALUES (1)) MERGE INTO t USING b", "MERGE"),
        ("WITH RECURSIVE values(n) AS (SELECT 1) TABLE values", "TABLE"),
        ("WITH", "WITH"),
        (f"WITH a AS (VALUES (1){', (1)' * 1_000}) DELETE FROM t", "DELETE"),  # noqa: S608 - for no database
        (f"WITH a AS (VALUES (1){', (1)' * 10_000}) DELETE FROM t", "WITH"),  # noqa: S608 - for no database
        ("CREATE", "CREATE"),
        ("42", ""),
        ('"quoted"', ""),
    ],
)
def test_kind_is_the_command(statement: str, kind: str) -> None:
    assert [one.kind for one in split_script(statement)] == [kind]
