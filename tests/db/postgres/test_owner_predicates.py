"""Each owner predicate of each statement is removed in turn: `require_owner` refuses the rest.

Statements and predicates are found, not listed. Predicates are removed from the clauses that the
repositories build, and from the source of the methods that build them.
"""

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

import pytest
from sqlalchemy import (
    BinaryExpression,
    BindParameter,
    ColumnClause,
    Insert,
    Table,
    bindparam,
    insert,
    select,
    true,
    update,
)
from sqlalchemy.sql import ClauseElement, operators, visitors

from db.postgres.ownership import OWNER, owner_column, require_owner
from db.postgres.statements import StatementMethod, statement
from tests.fixtures.architecture import name_of
from tests.fixtures.statements import MODULES, Built, every_statement, statements_of

REMOVED: ast.expr = ast.parse("__import__('sqlalchemy').true()", mode="eval").body


def is_refused(clause: ClauseElement) -> bool:
    try:
        require_owner(clause)
    except TypeError as error:
        return "no owner predicate" in str(error)
    return False


def is_owner(expression: Any) -> bool:
    if isinstance(expression, BindParameter):
        return bool(expression.key == OWNER)
    if not isinstance(expression, ColumnClause):
        return False
    table = getattr(expression, "table", None)
    base = getattr(table, "element", table)
    return bool(expression.key == (owner_column(base) if isinstance(base, Table) else OWNER))


def is_column_or_owner(expression: Any) -> bool:
    return isinstance(expression, ColumnClause) or is_owner(expression)


def predicates(clause: ClauseElement) -> dict[int, Any]:
    """The equalities with an owner on one side, and the owners of inserted rows."""
    found: dict[int, Any] = {}
    for part in visitors.iterate(clause):
        if isinstance(part, BinaryExpression) and part.operator is operators.eq:
            sides = part.left, part.right
            if any(map(is_owner, sides)) and all(map(is_column_or_owner, sides)):
                found[id(part)] = part
        elif isinstance(part, Insert) and OWNER in part.table.c:
            owner = inserted_owner(part)
            found[id(owner)] = owner
    return found


def inserted_owner(new: Any) -> Any:
    if new.select is None:
        values = {getattr(name, "key", name): value for name, value in new._values.items()}
        return values[OWNER]
    at = [getattr(name, "key", name) for name in new._select_names].index(OWNER)
    return new.select._raw_columns[at]


def without(clause: ClauseElement, predicate: Any) -> Any:
    is_value = not isinstance(predicate, BinaryExpression)
    other = bindparam("other", type_=predicate.type) if is_value else true()

    def replace(element: Any, **_: Any) -> Any:
        return other if element is predicate else None

    return visitors.replacement_traverse(clause, {}, replace)


def surviving(built: Built) -> list[str]:
    clause = built.clause()
    return [
        f"{built} without {predicate}"
        for predicate in predicates(clause).values()
        if not is_refused(without(clause, predicate))
    ]


class Predicate(NamedTuple):
    """An owner predicate in the source of a function."""

    path: Path
    node: ast.AST
    function: str

    def __str__(self) -> str:
        return f"{self.path.name}: {self.function}: {ast.unparse(self.node)}"


def is_owner_bind(node: ast.expr) -> bool:
    match node:
        case ast.Call(func=ast.Name(id="bindparam"), args=[ast.Constant(value="owner_id"), *_]):
            return True
        case ast.Name(id="OWNER"):
            return True
    return False


def compares_owner(left: ast.expr, right: ast.expr) -> bool:
    """With the bind, or with another column of an owner; not with a filter such as `user_id`."""
    if is_owner_bind(left) or is_owner_bind(right):
        return True
    names = {side.attr for side in (left, right) if isinstance(side, ast.Attribute)}
    is_join = isinstance(left, ast.Attribute) and isinstance(right, ast.Attribute)
    return is_join and "owner_id" in names and names <= {"id", "owner_id"}


def predicates_of(path: Path) -> Iterator[Predicate]:
    """The comparisons with an owner that a module's source contains, by `==` or by a helper."""
    found = ast.parse(path.read_text("utf-8"))
    waiting: list[tuple[ast.AST, str]] = [(found, "")]
    while waiting:
        node, function = waiting.pop()
        inner = function
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inner = f"{function}.{node.name}".lstrip(".")
        match node:
            case ast.Compare(ops=[ast.Eq()]) if compares_owner(node.left, node.comparators[0]):
                yield Predicate(path, node, function)
            case ast.Call(func=ast.Attribute(attr="is_owned")):
                yield Predicate(path, node, function)
        waiting += [(child, inner) for child in ast.iter_child_nodes(node)]


def code_without(predicate: Predicate) -> CodeType:
    """The code of the predicate's function, with true() in place of the predicate."""
    whole = ast.parse(predicate.path.read_text("utf-8"))
    place = ast.unparse(predicate.node), predicate.node.lineno, predicate.node.col_offset  # type: ignore[attr-defined]

    class Remove(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> ast.AST:
            at = getattr(node, "lineno", 0), getattr(node, "col_offset", 0)
            if type(node) is type(predicate.node) and (ast.unparse(node), *at) == place:
                return REMOVED
            super().generic_visit(node)
            return node

    Remove().visit(whole)
    waiting: list[CodeType] = [compile(ast.fix_missing_locations(whole), "mutant", "exec")]
    while waiting:
        code = waiting.pop()
        if code.co_qualname == predicate.function:
            return code
        waiting += [part for part in code.co_consts if isinstance(part, CodeType)]
    raise LookupError(predicate)


def live_function(predicate: Predicate) -> Any:
    found: Any = importlib.import_module(name_of(predicate.path))
    for name in predicate.function.split("."):
        found = inspect.getattr_static(found, name)
    return found.build if isinstance(found, StatementMethod) else getattr(found, "__func__", found)


def source_predicates() -> list[Predicate]:
    return [
        predicate
        for path in MODULES
        if "unscoped" not in name_of(path).split(".")
        for predicate in predicates_of(path)
    ]


def test_statement_without_one_of_its_owner_predicates_is_refused() -> None:
    statements = every_statement()
    assert len({built.owner for built in statements}) > 10
    survivors = [words for built in statements for words in surviving(built)]
    assert not survivors, "\n".join(survivors)


def test_source_without_one_of_its_owner_predicates_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    survivors = []
    for predicate in source_predicates():
        module = name_of(predicate.path)  # its own statements first: they are the likely ones
        statements = sorted(every_statement(), key=lambda built: built.owner.__module__ != module)
        with monkeypatch.context() as patch:
            patch.setattr(live_function(predicate), "__code__", code_without(predicate))
            if not any(is_refused(built.clause()) for built in statements):
                survivors.append(str(predicate))
    assert not survivors, "\n".join(survivors)


def test_predicate_that_is_not_needed_is_caught() -> None:
    tables = (built.owner.table() for built in every_statement() if built.name == "_by_id")
    table = next(table for table in tables if "version" in table.c)
    mine = table.c.owner_id == bindparam(OWNER)

    class Planted:
        @statement
        def _twice(cls) -> ClauseElement:
            return select(table.c.id).where(mine, table.c.owner_id == bindparam(OWNER))

        @statement
        def _change(cls) -> ClauseElement:
            return update(table).where(mine).values(version=1)

        @statement
        def _insert(cls) -> ClauseElement:
            return insert(table).values(owner_id=bindparam(OWNER))

    found = [words for built in statements_of(Planted) for words in surviving(built)]
    assert len(found) == 2
    assert all("_twice" in words for words in found)
