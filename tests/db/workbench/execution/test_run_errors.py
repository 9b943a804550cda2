"""The position of an error in the statement, and when there is none."""

import pytest

from db.runs import Failure, RunState
from tests.fixtures.runs import Desk
from tests.fixtures.workbench import ConnectionSaver

ELEPHANT = "\U0001f418"


async def error_of(desk: Desk, statement: str, **options: object) -> Failure:
    run = await desk.run(statement, **options)
    assert run.state == RunState.FAILED, run
    assert run.parsed_error is not None
    return run.parsed_error


@pytest.mark.parametrize(
    ("before", "line", "column"),
    [
        ("SELECT ", 1, 8),
        ("SELECT 'ö', ", 1, 13),
        (f"SELECT '{ELEPHANT}', ", 1, 13),
        (f"-- {ELEPHANT * 3}\nSELECT '한국어', ", 2, 15),
        ("SELECT 1,\n\n  ", 3, 3),
        ("SELECT 1,\r\n\r\n  ", 3, 3),
        ("SELECT 1,\r  ", 2, 3),
        ("\tSELECT\t", 1, 9),
        ("SELECT 'e\u0301\u200d', ", 1, 15),
        (f"SELECT '{ELEPHANT * 50_000}', /* {'ä' * 50_000} */\n\n", 3, 1),
        ("SELECT 1,\n" + "       1,\n" * 10_000 + "  ", 10_002, 3),
    ],
)
async def test_error_position_counts_characters(
    desk: Desk, before: str, line: int, column: int
) -> None:
    error = await error_of(desk, f"{before}nothing_here FROM pg_class\n")
    assert error.sqlstate == "42703"
    assert (error.position, error.line, error.column) == (len(before) + 1, line, column)


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1", "EUC_KR"])
async def test_error_position_in_other_server_encodings(
    desk: Desk, saver: ConnectionSaver, encoding: str
) -> None:
    await desk.target.administer("DROP DATABASE IF EXISTS otherwise WITH (FORCE)")
    await desk.target.administer(
        f"CREATE DATABASE otherwise TEMPLATE template0 LOCALE 'C' ENCODING '{encoding}'"
    )
    there = desk._replace(connection_id=await saver.save(database="otherwise"))
    text = {"SQL_ASCII": f"한국어 {ELEPHANT} é", "LATIN1": "éü", "EUC_KR": "한국어"}[encoding]
    before = f"SELECT '{text}',\r\n '{text}', "
    error = await error_of(there, before + "nothing_here")
    assert (error.sqlstate, error.position, error.line) == ("42703", len(before) + 1, 2)
    assert error.column == len(text) + 6
    if encoding == "LATIN1":
        lost = await error_of(there, f"SELECT nothing_here, '{ELEPHANT}'")
        assert (lost.sqlstate, lost.position) == ("22P05", None)


async def test_error_position_at_end_of_text(desk: Desk) -> None:
    statement = f"SELECT '{ELEPHANT}',\r\n("
    error = await error_of(desk, statement)
    assert (error.sqlstate, error.position) == ("42601", len(statement) + 1)
    assert (error.line, error.column) == (2, 2)


async def test_error_position_in_inline_body(desk: Desk) -> None:
    """PostgreSQL parses the body separately, and maps the position back."""
    for statement in (
        f"DO $$ -- {ELEPHANT}\nBEGIN\n  PERFORM 1 +;\nEND $$",
        f"CREATE FUNCTION x() RETURNS int LANGUAGE sql AS $$ -- {ELEPHANT}\n\n  SELECT 1 +; $$",
    ):
        error = await error_of(desk, statement)
        at = statement.index(";")
        assert (error.sqlstate, error.position) == ("42601", at + 1)
        assert (error.line, error.column) == (3, at - statement.rindex("\n", 0, at))


@pytest.mark.parametrize(
    "statement",
    [
        "DO $$ BEGIN EXECUTE 'SELECT nothing_here'; END $$",
        "DO $$ BEGIN PERFORM nothing_here FROM pg_class; END $$",
        "SELECT query_to_xml('SELECT nothing_here', true, true, '')",
        "SELECT broken_sql()",
        "SELECT broken_plpgsql()",
    ],
)
async def test_error_position_is_null_inside_function(desk: Desk, statement: str) -> None:
    await desk.target.script(
        """SET check_function_bodies = off;
        CREATE OR REPLACE FUNCTION broken_sql() RETURNS int LANGUAGE sql
          AS 'SELECT nothing_here';
        CREATE OR REPLACE FUNCTION broken_plpgsql() RETURNS int LANGUAGE plpgsql
          AS 'BEGIN RETURN nothing_here; END';"""
    )
    error = await error_of(desk, statement)
    assert (error.sqlstate, error.message) == ("42703", 'column "nothing_here" does not exist')
    assert (error.position, error.line, error.column) == (None, None, None)


@pytest.mark.parametrize(
    ("parameters", "sqlstate"),
    [
        (["seven"], "22P02"),
        ([2**31], "22003"),
        ([{"a": 1}], "22P02"),
        ([1, 2], "08P01"),
        ([], "08P01"),
    ],
)
async def test_error_position_is_null_for_parameter(
    desk: Desk, parameters: list[object], sqlstate: str
) -> None:
    error = await error_of(desk, "SELECT\n $1::int4", parameters=parameters)
    assert (error.sqlstate, error.position, error.line) == (sqlstate, None, None)


async def test_error_position_is_null_for_runtime_error(desk: Desk) -> None:
    error = await error_of(desk, "SELECT 1 / (i - 500) FROM generate_series(1, 1000) i")
    assert (error.sqlstate, error.severity, error.position) == ("22012", "ERROR", None)


async def test_error_hint_locates_second_statement(desk: Desk) -> None:
    error = await error_of(
        desk, f"SELECT ';{ELEPHANT}', $$;$$ /* ; /* ; */ */ ; -- ;\r\n  SELECT 2"
    )
    assert (error.sqlstate, error.line, error.column) == ("42601", 2, 3)
    assert "line 2, column 3" in (error.hint or "")


async def test_error_locates_refused_transaction_control(desk: Desk) -> None:
    error = await error_of(desk, f"-- {ELEPHANT}\n; /* ; */  START TRANSACTION")
    assert (error.sqlstate, error.position, error.line, error.column) == ("0A000", 17, 2, 12)


async def test_error_names_constraint(desk: Desk) -> None:
    await desk.run("DROP TABLE IF EXISTS ruled")
    await desk.run("CREATE TABLE ruled (a int CONSTRAINT positive CHECK (a > 0))")
    error = await error_of(desk, "INSERT INTO ruled VALUES ($1)", parameters=[-1])
    assert (error.constraint, error.sqlstate) == ("positive", "23514")
    assert "Failing row" in (error.detail or "")


async def test_error_at_commit_fails_run(desk: Desk) -> None:
    await desk.run("DROP TABLE IF EXISTS late")
    await desk.run("CREATE TABLE late (a int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    error = await error_of(desk, "INSERT INTO late VALUES (1), (1) RETURNING a")
    assert error.sqlstate == "23505"


@pytest.mark.parametrize(
    ("statement", "options", "sqlstate", "words"),
    [
        ("START TRANSACTION READ ONLY", {}, "0A000", "`openSession`"),
        ("/* a */ BEGIN; SELECT 1; COMMIT", {}, "0A000", "`executeScript`"),
        (
            "SELECT 1; COMMIT",
            {},
            "42601",
            "`executeScript`: the second begins at line 1, column 11",
        ),
        ("COMMIT PREPARED 'x'", {"read_only": True}, "25001", "without `readOnly`"),
        ("VACUUM", {"read_only": True}, "25001", "without `readOnly`"),
        ("SET TRANSACTION READ WRITE", {"read_only": True}, "25001", "stays read-only"),
        ("DO $$ BEGIN COMMIT; END $$", {"read_only": True}, "2D000", "without `readOnly`"),
        ("DECLARE c CURSOR FOR SELECT 1", {}, "25P01", "in a session of `openSession`"),
        ("FETCH ALL FROM c", {}, "34000", "which `openSession` opens"),
        ("EXECUTE p", {}, "26000", "which `openSession` opens"),
        ("SELECT lastval()", {}, "55000", "which `openSession` opens"),
        ("\\d", {}, "42601", "those of psql"),
        ("SELECT 1 \\gx", {}, "42601", "those of psql"),
        ("SELECT 1 WHERE 1 = ?", {}, "42601", "Write $1, $2"),
        ("SELECT 1 WHERE 1 = ? AND 2 = 2", {}, "42601", "Write $1, $2"),
        ("VALUES (?, ?)", {}, "42601", "Write $1, $2"),
        ("SELECT 1 WHERE 1 = :number", {}, "42601", "Write $1, $2"),
    ],
)
async def test_error_hint_tells_what_to_use_instead(
    desk: Desk, statement: str, options: dict[str, bool], sqlstate: str, words: str
) -> None:
    error = await error_of(desk, statement, **options)
    assert error.sqlstate == sqlstate
    assert words in (error.hint or "")


@pytest.mark.parametrize("statement", ["SELECT nothing_here", "SELECT 1 FROM nothing_here"])
async def test_error_hint_tells_to_check_the_spelling_of_a_missing_name(
    desk: Desk, statement: str
) -> None:
    error = await error_of(desk, statement)
    assert "Check the spelling" in (error.hint or "")


@pytest.mark.parametrize(
    ("statement", "parameters", "sqlstate", "position"),
    [
        ("SELECT nothing_here = ANY($1)", [[1]], "42703", 8),
        ("SELECT 1 = ANY($1); SELECT 2", [[1]], "42601", 21),
        ("SELECT 1 = ANY($1)", [["x"]], "22P02", None),
        ("SELECT 1 = ANY($1)", [[1, [2]]], "22P02", None),
        ("SELECT 1 = ANY($1)", [[1], 2], "08P01", None),
        ("SELECT 1 = ANY($1) AND $2", [[1]], "08P01", None),
        ("SELECT unnest($1)", [[1]], "42725", 8),
    ],
)
async def test_error_of_statement_with_an_array_as_parameter(
    desk: Desk, statement: str, parameters: list[object], sqlstate: str, position: int | None
) -> None:
    """The statement is parsed before its parameters are encoded."""
    run = await desk.run(statement, parameters=parameters)
    assert run.parsed_error is not None
    assert (run.parsed_error.sqlstate, run.parsed_error.position) == (sqlstate, position)
    assert run.connection_usable
