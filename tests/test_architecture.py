"""The rules of the house that a machine can hold. Plain `ast`: nothing is imported."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

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

DB_DOMAINS = {
    path.name for path in (ROOT / "db").iterdir() if (ROOT / "graph" / path.name).is_dir()
} - {"__pycache__"}


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


@pytest.fixture(params=SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def source(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def test_imports_go_one_way_among_the_entries_of_every_folder() -> None:
    assert circles({name_of(path): tree_of(path) for path in SOURCES}) == []


def test_a_planted_circle_is_caught() -> None:
    planted = {
        "db.low.a": ast.parse("from db.high import b"),
        "db.high.b": ast.parse("from db.low.c import something"),
        "db.low.c": ast.parse("import json"),
    }
    assert circles(planted) == ["db: low <- high <- low"] or circles(planted) == [
        "db: high <- low <- high"
    ]


def test_db_never_imports_graph(source: Path) -> None:
    if name_of(source).startswith("db"):
        roots = {module.partition(".")[0] for module, _ in imports_of(tree_of(source))}
        assert "graph" not in roots


def test_graph_knows_no_sql_and_drivers_stay_where_they_belong(source: Path) -> None:
    module = name_of(source)
    roots = {imported.partition(".")[0] for imported, _ in imports_of(tree_of(source))}
    if module.startswith("graph"):
        assert roots.isdisjoint({"sqlalchemy", "asyncpg", "psycopg", "psycopg_pool"})
    if module.startswith("db.workbench"):
        assert "asyncpg" not in roots
    else:
        assert roots.isdisjoint({"psycopg", "psycopg_pool"})


def test_a_db_domain_imports_no_other(source: Path) -> None:
    module = name_of(source).split(".")
    if module[0] != "db" or len(module) < 2 or module[1] not in DB_DOMAINS:
        return
    others = {f"db.{name}" for name in DB_DOMAINS - {module[1]}}
    assert others.isdisjoint(imported for imported, _ in imports_of(tree_of(source)))


def test_only_the_engine_commits(source: Path) -> None:
    if name_of(source) in {"db.postgres.engine", "db.postgres.migrations"}:
        return  # migrations hold their lock on a connection of their own
    assert ".commit(" not in source.read_text(encoding="utf-8")


def test_only_auth_mints_owners(source: Path) -> None:
    if not re.fullmatch(r"graph\.auth(\..*)?", name_of(source)):
        assert not re.search(r"\bOwnerId\(", source.read_text(encoding="utf-8"))


def test_no_circle_is_broken_by_hiding_an_import(source: Path) -> None:
    text = source.read_text(encoding="utf-8")
    assert "strawberry.lazy" not in text
    inner = [
        f"line {line}: {module}"
        for function in ast.walk(tree_of(source))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for module, line in imports_of(function)
        if module.partition(".")[0] in {"graph", "db"} and not _carries_a_heavy_library(module)
    ]
    assert inner == []


def test_files_and_functions_stay_small(source: Path) -> None:
    lines = len(source.read_text(encoding="utf-8").splitlines())
    assert lines <= FILE_LINES
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(tree_of(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > FUNCTION_LINES
    ]
    assert long == []


def test_alembic_is_no_package() -> None:
    assert not (ROOT / "alembic" / "__init__.py").exists(), "it would shadow the library"


def test_names_say_something() -> None:
    vague = {"utils", "helpers", "common", "manager", "misc"}
    assert not [path for path in SOURCES if vague & set(path.with_suffix("").parts)]


def _carries_a_heavy_library(module: str) -> bool:
    """Modules of ours around one heavy library: imported where they are used."""
    return bool(
        re.match(
            r"(db\.events\.(redis|nats)|db\.users\.issuers|db\.objects|db\.workbench"
            r"|db\.postgres\.embedded)\b",
            module,
        )
        or re.match(
            r"graph\.(app|commands)\b|db\.(postgres\.migrations|services|system|backup)\b", module
        )
    )


def imports_outside_the_executor(tree: ast.AST) -> list[str]:
    """Imports that tie graph.executor to the rest of the project."""
    return [
        f"line {line}: {module}"
        for module, line in imports_of(tree)
        if module.partition(".")[0] in {"graph", "db"}
        and not re.match(r"graph\.executor(\.|$)", module)
    ]


def test_executor_imports_nothing_of_the_project(source: Path) -> None:
    if re.fullmatch(r"graph\.executor(\..*)?", name_of(source)):
        assert imports_outside_the_executor(tree_of(source)) == []


@pytest.mark.parametrize(
    "planted",
    [
        "from db.errors import BadInput",
        "import db",
        "from graph import context",
        "from graph.executors import x",
        "def f():\n    from graph.context import Context",
    ],
)
def test_executor_import_of_the_project_is_caught(planted: str) -> None:
    assert imports_outside_the_executor(ast.parse(planted))


def test_executor_import_of_itself_passes() -> None:
    planted = "import graphql\nfrom graph.executor import run\nfrom graph.executor.run import Run"
    assert imports_outside_the_executor(ast.parse(planted)) == []


def test_only_the_adapter_of_the_executor_imports_strawberry(source: Path) -> None:
    module = name_of(source)
    if module.startswith("graph.executor") and module != "graph.executor.strawberry_adapter":
        roots = {imported.partition(".")[0] for imported, _ in imports_of(tree_of(source))}
        assert "strawberry" not in roots
