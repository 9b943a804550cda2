"""The rules of tests/fixtures/architecture.py hold in every module, and each can fail."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.architecture import (
    FILE_LINES,
    FUNCTION_LINES,
    OWNED_TABLES,
    ROOT,
    SOURCES,
    TABLE_NAMES,
    Rule,
    a_db_domain_imports_no_other,
    circles,
    db_imports_no_graph,
    executor_imports_nothing_of_the_project,
    files_and_functions_stay_small,
    graph_knows_no_sql_and_drivers_stay_where_they_belong,
    imported_by,
    name_of,
    names_say_something,
    no_circle_is_broken_by_hiding_an_import,
    no_sql_text_names_an_owned_table,
    only_auth_mints_owners,
    only_modules_named_unscoped_reach_all_owners,
    only_the_adapter_of_the_executor_imports_strawberry,
    only_the_engine_commits,
    tree_of,
)


def test_imports_have_no_cycle_in_any_folder() -> None:
    assert circles({name_of(path): tree_of(path) for path in SOURCES}) == []


def test_planted_import_cycle_is_caught() -> None:
    planted = {
        "db.low.a": ast.parse("from db.high import b"),
        "db.high.b": ast.parse("from db.low.c import something"),
        "db.low.c": ast.parse("import json"),
    }
    assert circles(planted) == ["db: low <- high <- low"] or circles(planted) == [
        "db: high <- low <- high"
    ]


PLANTED: list[tuple[Rule, str, str]] = [
    (executor_imports_nothing_of_the_project, "graph.executor.execute.run", "import db"),
    (
        executor_imports_nothing_of_the_project,
        "graph.executor.execute.run",
        "from graph import context",
    ),
    (
        executor_imports_nothing_of_the_project,
        "graph.executor.execute.run",
        "from graph.executors import x",
    ),
    (
        executor_imports_nothing_of_the_project,
        "graph.executor",
        "def f():\n    from graph.context import Context",
    ),
    (
        only_the_adapter_of_the_executor_imports_strawberry,
        "graph.executor.execute.run",
        "from strawberry.types import Info",
    ),
    (db_imports_no_graph, "db.tasks.repository", "from graph.kit import ids"),
    (db_imports_no_graph, "db.tasks.repository", "def late():\n    import graph"),
    (graph_knows_no_sql_and_drivers_stay_where_they_belong, "graph.kit.ids", "import asyncpg"),
    (graph_knows_no_sql_and_drivers_stay_where_they_belong, "graph.kit.ids", "import psycopg.rows"),
    (
        graph_knows_no_sql_and_drivers_stay_where_they_belong,
        "graph.tasks.resolvers",
        "from sqlalchemy import select",
    ),
    (graph_knows_no_sql_and_drivers_stay_where_they_belong, "db.workbench.pools", "import asyncpg"),
    (graph_knows_no_sql_and_drivers_stay_where_they_belong, "db.tasks.rows", "import psycopg"),
    (
        graph_knows_no_sql_and_drivers_stay_where_they_belong,
        "db.workbench.connections.connector",
        "from psycopg_pool import AsyncConnectionPool",
    ),
    (a_db_domain_imports_no_other, "db.tasks.repository", "from db.users import Users"),
    (a_db_domain_imports_no_other, "db.tasks.repository", "from db import users"),
    (a_db_domain_imports_no_other, "db.tasks", "from db.users.accounts import User"),
    (a_db_domain_imports_no_other, "db.database_sessions.rows", "from db.runs import RunRow"),
    (a_db_domain_imports_no_other, "db.runs.rows", "from db import database_sessions"),
    (only_the_engine_commits, "db.tasks.repository", "async def f(c): await c.commit()"),
    (only_the_engine_commits, "db.tasks.repository", "async def f(c): await c.execute('COMMIT')"),
    (only_the_engine_commits, "db.tasks.repository", "END = text('delete from t; commit work')"),
    (only_the_engine_commits, "graph.tasks.resolvers", "SQL = f'SELECT {1}; COMMIT'"),
    *(
        (only_modules_named_unscoped_reach_all_owners, "db.tasks.repository", planted)
        for planted in (
            "from db.postgres.statements import unscoped_statement",
            "from db.postgres.statements import unscoped_change as change",
            "from db.postgres.ownership import PublicRows",
            "from db.postgres import statements\n@statements.unscoped_change\ndef f(): ...",
            "ALL = compile_statement(select(Task), unscoped=True)",
        )
    ),
    *(
        (no_sql_text_names_an_owned_table, "db.tasks.sweeps", planted)
        for planted in (
            "ALL = compile_statement(text('SELECT id FROM tasks'))",
            "ALL = text('select 1 from users join tasks on true')",
            "ALL = text('SELECT 1 FROM users, tasks')",
            "ALL = text('UPDATE tasks SET title = :title')",
            "ALL = text('INSERT INTO tasks (id) VALUES (:id)')",
            "ALL = text('DELETE FROM ONLY \"tasks\"')",
            "ALL = text(f'WITH t AS (SELECT {1}\\nFROM\\n  query_runs) SELECT * FROM t')",
            "WORDS = 'DELETE FROM tasks'\nALL = text(WORDS)",
            "async def f(driver): await driver.fetch('TABLE tasks')",
        )
    ),
    (only_auth_mints_owners, "graph.tasks.resolvers", "owner = OwnerId(user_id)"),
    (only_auth_mints_owners, "db.tasks.repository", "owner = base.OwnerId(user_id)"),
    (only_auth_mints_owners, "db.tasks.repository", "from db.kit.base import OwnerId as Mint"),
    (
        no_circle_is_broken_by_hiding_an_import,
        "graph.tasks.resolvers",
        "def f():\n    from db.tasks import Tasks",
    ),
    (
        no_circle_is_broken_by_hiding_an_import,
        "graph.tasks.resolvers",
        "Late = Annotated['Run', strawberry.lazy('graph.runs.types')]",
    ),
    (files_and_functions_stay_small, "db.tasks.repository", "\n" * (FILE_LINES + 1)),
    (
        files_and_functions_stay_small,
        "db.tasks.repository",
        "async def f():\n" + "    pass\n" * FUNCTION_LINES,
    ),
    (names_say_something, "graph.kit.utils", ""),
    (names_say_something, "db.helpers.sweeps", ""),
]
RULES = list(dict.fromkeys(rule for rule, _, _ in PLANTED))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule_holds_in_every_module(rule: Rule, path: Path) -> None:
    assert rule(name_of(path), path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(("rule", "module", "text"), PLANTED)
def test_planted_violation_is_caught(rule: Rule, module: str, text: str) -> None:
    assert rule(module, text) != []


def test_owned_tables_are_found() -> None:
    assert {
        "tasks",
        "database_connections",
        "query_runs",
        "files",
        "replicas",
        "preferences",
        "sessions",
    } <= OWNED_TABLES


def test_models_imports_every_module_with_a_table() -> None:
    tables = {
        TABLE_NAMES.get(name, name)
        for path in SOURCES
        if path.is_relative_to(ROOT / "db")
        for name in re.findall(r"__tablename__ = \"?(\w+)", path.read_text("utf-8"))
    }
    code = "from db import models; print(*models.metadata.tables)"
    process = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert tables <= set(process.stdout.split()), "add a line to db/models.py"


def test_schema_merges_every_resolvers_module() -> None:
    merged = set(imported_by((ROOT / "graph" / "schema.py").read_text("utf-8")))
    domains = {name_of(path) for path in SOURCES if path.match("graph/*/resolvers.py")}
    assert domains <= merged, "add the domain to graph/schema.py"


def test_alembic_folder_is_not_a_package() -> None:
    assert not (ROOT / "alembic" / "__init__.py").exists(), "it would shadow the library"


def test_files_of_tests_and_benchmarks_stay_small() -> None:
    files = [
        path
        for top in ("tests", "bench")
        for path in (ROOT / top).rglob("*.py")
        if "node_modules" not in path.parts
    ]
    assert files
    sizes = {path: len(path.read_text("utf-8").splitlines()) for path in files}
    assert {path for path, lines in sizes.items() if lines > FILE_LINES} == set()
