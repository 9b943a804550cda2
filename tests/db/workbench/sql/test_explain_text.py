"""EXPLAIN as Howdah sends it."""

import pytest

from db.workbench.sql.explain_text import (
    explain_prefix,
    explain_statement,
    is_generic,
    is_rolled_back,
    unexplainable_kind,
)


def test_explained_statement_is_rolled_back() -> None:
    for analyze, generic in ((True, False), (False, True), (False, False)):
        text = explain_statement("DELETE FROM t", analyze=analyze, generic=generic)
        assert is_rolled_back(text)
        assert text.removeprefix(explain_prefix(text)) == "DELETE FROM t"
        assert text.startswith("EXPLAIN (ANALYZE, ") is analyze
        assert is_generic(text) is generic


def test_generic_plan_is_asked_for_by_the_options_alone() -> None:
    assert not is_generic("EXPLAIN (GENERIC_PLAN) SELECT $1")
    assert not is_generic(explain_statement("SELECT 'GENERIC_PLAN, '"))


@pytest.mark.parametrize(
    "text",
    [
        "EXPLAIN (ANALYZE) DELETE FROM t",
        "SELECT 'EXPLAIN (ANALYZE) /* explainQuery: rolled back */ '",
        "DELETE FROM t /* explainQuery: rolled back */",
        "",
    ],
)
def test_other_statement_is_not_rolled_back(text: str) -> None:
    assert not is_rolled_back(text)
    assert explain_prefix(text) == ""


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("WITH a AS (SELECT 1) SELECT * FROM a", None),
        ("(SELECT 1)", None),
        ("CREATE TEMP TABLE a AS SELECT 1", None),
        ("CREATE MATERIALIZED VIEW a AS SELECT 1", None),
        ("EXECUTE prepared", None),
        ("SELEC 1", None),
        ("CREATE INDEX ON t (a)", "CREATE INDEX"),
        ("/* x */ vacuum t", "VACUUM"),
        ("explain SELECT 1", "EXPLAIN"),
        ("COMMIT", "COMMIT"),
    ],
)
def test_utility_statement_is_not_explainable(statement: str, kind: str | None) -> None:
    assert unexplainable_kind(statement) == kind
