"""Checks the rules of ARCHITECTURE.md with `ast`, without importing the code."""

import ast
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TypeAlias

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    path
    for top in ("graph", "db", "alembic")
    for path in (ROOT / top).rglob("*.py")
    if "node_modules" not in path.parts
)
FILE_LINES = 400
FUNCTION_LINES = 50
# A module that declares tables may take their names from a constant.
TABLE_NAMES = {
    constant: name
    for path in SOURCES
    for constant, name in re.findall(r"(?m)^(TABLE) = \"(\w+)\"", path.read_text("utf-8"))
}
OWNED_TABLES = {
    TABLE_NAMES.get(name, name)
    for path in SOURCES
    if path.is_relative_to(ROOT / "db")
    for name in re.findall(
        r"^class \w+\([^)]*\bHasOwner\b[^)]*\):.*?__tablename__ = \"?(\w+)",
        path.read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
}
_OWNED = rf"\"?({'|'.join(OWNED_TABLES)})\b"
SQL_ON_OWNED = re.compile(
    rf"\b(from|join|using|update|into|table|truncate)\s+(only\s+)?{_OWNED}"
    rf"|\bfrom\s[\w\s\",.]*,\s*{_OWNED}",
    re.IGNORECASE,
)
VAGUE = {"utils", "helpers", "common", "manager", "misc"}
COMMIT = re.compile(r"(^|;)\s*commit\b\s*(work|transaction|and|;|$)", re.IGNORECASE)
COMMITTERS = {
    "db.postgres.engine",
    "db.postgres.leases",  # the engine's transactions
    "db.postgres.migrations",  # they hold their lock on a connection of their own
    "db.workbench.execution.statement.sql_text",  # compares the words of users' statements
}

# What of a module, by its name and its text, breaks a rule.
Rule: TypeAlias = Callable[[str, str], list[str]]

DB_DOMAINS = {
    path.name for path in (ROOT / "db").iterdir() if (ROOT / "graph" / path.name).is_dir()
} - {"__pycache__", "kit"}  # the kit is for every domain


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports_of(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, node.lineno
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def imported_by(text: str) -> list[str]:
    return [imported for imported, _ in imports_of(ast.parse(text))]


def siblings(importer: str, imported: str) -> tuple[str, str, str] | None:
    """The folder in which the two ways part, and the two entries of it; None within one way."""
    ours, theirs = importer.split("."), imported.split(".")
    shared = 0
    while shared < min(len(ours), len(theirs)) and ours[shared] == theirs[shared]:
        shared += 1
    if shared in {len(ours), len(theirs)}:
        return None
    return ".".join(ours[:shared]), ours[shared], theirs[shared]


def circles(sources: Mapping[str, ast.AST]) -> list[str]:
    """Entries of one folder that import each other, directly or by a detour."""
    edges: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for module, tree in sources.items():
        for imported, _ in imports_of(tree):
            if imported not in sources:
                continue
            if (pair := siblings(module, imported)) is not None:
                edges[pair[0]][pair[1]].add(pair[2])
    found = []
    for folder, graph in edges.items():
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            found.append(f"{folder or 'top'}: {' <- '.join(error.args[1])}")
    return found


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


def db_imports_no_graph(module: str, text: str) -> list[str]:
    if module.partition(".")[0] != "db":
        return []
    return [name for name in imported_by(text) if name.partition(".")[0] == "graph"]


def graph_knows_no_sql_and_drivers_stay_where_they_belong(module: str, text: str) -> list[str]:
    banned = {"psycopg_pool"}  # one pool: decision 0012
    if module.startswith("graph"):
        banned |= {"sqlalchemy", "asyncpg"}
    banned |= {"asyncpg"} if module.startswith("db.workbench") else {"psycopg"}
    return [name for name in imported_by(text) if name.partition(".")[0] in banned]


def a_db_domain_imports_no_other(module: str, text: str) -> list[str]:
    top, _, rest = module.partition(".")
    domain = rest.partition(".")[0]
    if top != "db" or domain not in DB_DOMAINS:
        return []
    others = {("db", name) for name in DB_DOMAINS - {domain}}
    return [name for name in imported_by(text) if tuple(name.split(".")[:2]) in others]


def only_the_engine_commits(module: str, text: str) -> list[str]:
    if module in COMMITTERS:
        return []
    found = []
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Call(func=ast.Attribute(attr="commit")):
                found.append(f"line {node.lineno}: commit()")
            case ast.Constant(value=str(words)) if COMMIT.search(words):
                found.append(f"line {node.lineno}: {words!r}")
    return found


def only_auth_mints_owners(module: str, text: str) -> list[str]:
    if re.fullmatch(r"graph\.auth(\..*)?", module):
        return []
    return re.findall(r"\bOwnerId\(|\bOwnerId as \w+", text)


def no_circle_is_broken_by_hiding_an_import(module: str, text: str) -> list[str]:
    if module.startswith("graph.commands."):
        return []  # nothing imports commands, and each imports what it runs only when it runs
    return re.findall(r"strawberry\.lazy", text) + [
        f"line {line}: {imported}"
        for function in ast.walk(ast.parse(text))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for imported, line in imports_of(function)
        if imported.partition(".")[0] in {"graph", "db"} and not _carries_a_heavy_library(imported)
    ]


def files_and_functions_stay_small(module: str, text: str) -> list[str]:
    lines = len(text.splitlines())
    sizes = [(module, lines)] if lines > FILE_LINES else []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            lines = node.end_lineno - node.lineno + 1
            if lines > FUNCTION_LINES:
                sizes.append((node.name, lines))
    return [f"{name}: {lines} lines" for name, lines in sizes]


def names_say_something(module: str, text: str) -> list[str]:
    del text  # only the name counts
    return sorted(VAGUE & set(module.split(".")))


def executor_imports_nothing_of_the_project(module: str, text: str) -> list[str]:
    if not re.fullmatch(r"graph\.executor(\..*)?", module):
        return []
    return [
        name
        for name in imported_by(text)
        if name.partition(".")[0] in {"graph", "db"}
        and not re.match(r"graph\.executor(\.|$)|graph$", name)
    ]


def only_the_adapter_of_the_executor_imports_strawberry(module: str, text: str) -> list[str]:
    if (
        not module.startswith("graph.executor")
        or module == "graph.executor.compile.strawberry_adapter"
    ):
        return []
    return [name for name in imported_by(text) if name.partition(".")[0] == "strawberry"]


def only_modules_named_unscoped_reach_all_owners(module: str, text: str) -> list[str]:
    if "unscoped" in module.split(".") or module == "db.postgres.statements":
        return []
    found = []
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.alias(name="unscoped_statement" | "unscoped_change" | "PublicRows"):
                found.append(node.name)
            case ast.Attribute(attr="unscoped_statement" | "unscoped_change" | "PublicRows"):
                found.append(node.attr)
            case ast.keyword(arg="unscoped"):
                found.append(f"line {node.value.lineno}: unscoped=")
    return found


def no_sql_text_names_an_owned_table(module: str, text: str) -> list[str]:
    """`text()` is not parsed, so no owner predicate is checked in it."""
    if "unscoped" in module.split(".") or not module.startswith(("db", "graph")):
        return []
    tree = ast.parse(text)
    sentences = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    return [
        f"line {node.lineno}: {match[0]}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if id(node) not in sentences and (match := SQL_ON_OWNED.search(node.value))
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
    (a_db_domain_imports_no_other, "db.tasks", "from db.users.accounts import Users"),
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


def _carries_a_heavy_library(module: str) -> bool:
    """Modules of ours around one heavy library: imported where they are used."""
    return bool(
        re.match(
            r"(db\.events\.(redis|nats)|db\.users\.tokens\.issuers|db\.objects|db\.workbench"
            r"|db\.postgres\.embedded)\b",
            module,
        )
        or re.match(
            r"graph\.(app|commands)\b|db\.(postgres\.migrations|services|system|backup)\b", module
        )
    )
