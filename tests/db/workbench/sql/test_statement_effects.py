"""The command of a stopped statement, and the notice of a statement without a lasting effect."""

import pytest

from db.workbench.sql.statement_effects import (
    expected_command,
    notice_of_lost_state,
)


@pytest.mark.parametrize(
    ("statement", "command"),
    [
        ("select 1", "SELECT"),
        ("-- so\n ;; ((VALUES (1)))", "SELECT"),
        ("TABLE a", "SELECT"),
        ("WITH a AS (INSERT INTO b VALUES (1) RETURNING *) SELECT * FROM a", "SELECT"),
        (
            "WITH RECURSIVE a(n) AS (VALUES (1)), update AS MATERIALIZED (TABLE a) TABLE update",
            "SELECT",
        ),
        ("with a as (select 1) delete from b using a returning *", "DELETE"),
        ("WITH values AS (SELECT 1) MERGE INTO b USING values ON true", "MERGE"),
        ("INSERT INTO a SELECT 1 RETURNING *", "INSERT"),
        ("EXPLAIN UPDATE a SET b = 1", "EXPLAIN"),
        ("SHOW ALL", "SHOW"),
        ("FETCH ALL FROM c", "FETCH"),
        ("EXECUTE p", None),
    ],
)
def test_expected_command_is_the_main_verb(statement: str, command: str | None) -> None:
    assert expected_command(statement) == command


@pytest.mark.parametrize(
    ("statement", "command", "made"),
    [
        ("SET work_mem = '1GB'", "SET", "setting"),
        ("SET ROLE reader", "SET", "setting"),
        ("PREPARE p AS SELECT 1", "PREPARE", "prepared statement"),
        ("CREATE TEMP TABLE t (a int)", "CREATE TABLE", "temporary object"),
        ("create or replace local temporary view t as select 1", "CREATE VIEW", "temporary object"),
        ("CREATE UNLOGGED TABLE pg_temp.t (a int)", "CREATE TABLE", "temporary object"),
        ("CREATE TEMP TABLE t AS SELECT 1", "SELECT", "temporary object"),
        ("SELECT 1 AS a INTO TEMP TABLE t", "SELECT", "temporary object"),
        ("CREATE TABLE temp (temporary int)", "CREATE TABLE", None),
        ("CREATE TABLE t AS SELECT temp FROM temporary", "SELECT", None),
        ("SELECT pg_catalog.pg_try_advisory_lock_shared(1)", "SELECT", "advisory lock"),
        ("SELECT pg_advisory_xact_lock(1)", "SELECT", None),
        ("SELECT 'pg_advisory_lock(1)' -- pg_advisory_lock(1)", "SELECT", None),
        ("RESET ALL", "RESET", None),
        ("UNLISTEN *", "UNLISTEN", None),
        ("SELECT 1", "SELECT", None),
    ],
)
def test_notice_names_what_ends_with_the_run(
    statement: str, command: str, made: str | None
) -> None:
    has_columns = command == "SELECT" and "INTO" not in statement and "TABLE" not in statement
    notice = notice_of_lost_state(statement, command, has_columns=has_columns, notices=[])
    assert (notice and notice.message.split(" ended")[0]) == (made and f"The {made}")
