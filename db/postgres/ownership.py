"""Checks, before a statement is compiled, that it reaches the rows of one owner only.

Every table with a column `owner_id` needs `owner_id = :owner_id` in the same SELECT, UPDATE or
DELETE: itself, or by equalities of columns that lead to it. A table whose `info` names another
column as its "owner" needs the same of that column. An OR counts only if its other side is declared
as `PublicRows`. SQL in `text()` is not parsed; `tests/fixtures/architecture.py` refuses it on these
tables.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import (
    CTE,
    BinaryExpression,
    BindParameter,
    ColumnClause,
    Delete,
    FromClause,
    Insert,
    Join,
    Label,
    Lateral,
    Select,
    Subquery,
    Table,
    TableClause,
    TextClause,
    Update,
)
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BooleanClauseList, Grouping
from sqlalchemy.sql.selectable import AliasedReturnsRows

OWNER = "owner_id"

Term: TypeAlias = int | str
"""A column, by its hash (SQLAlchemy copies columns, with the same hash), or OWNER: the bind."""
Pairs: TypeAlias = tuple[tuple[Term, Term], ...]


class PublicRows(Grouping[bool]):
    """A condition for rows that every user may read; only modules named `unscoped` declare one."""

    inherit_cache = True


class _Scope(NamedTuple):
    """The tables of the enclosing statements, and the equalities that hold there."""

    tables: frozenset[int] = frozenset()
    equal: Pairs = ()


class _Source(NamedTuple):
    """A table in a FROM, with the equalities that hold for its rows alone (an outer join's ON)."""

    table: Any
    equal: Pairs = ()


def owner_column(table: Table) -> str:
    """The name of the column that holds the owner of a row, if the table has it."""
    return str(table.info.get("owner", OWNER))


def require_owner(clause: Any) -> None:
    """Raises TypeError if the statement may reach rows of other owners."""
    if found := sorted(set(_check(clause, _Scope()))):
        raise TypeError(
            f"no owner predicate for {', '.join(found)}: compare its `owner_id` with the bind, or "
            f"with the `owner_id` of a table that is compared with it, in: {clause}"
        )


def _check(element: Any, scope: _Scope) -> Iterator[str]:
    if isinstance(element, PublicRows):
        return
    if isinstance(element, Lateral) and isinstance(element.element, Subquery):
        yield from _check(element.element.element, scope)  # it may refer to its neighbours
        return
    if isinstance(element, Insert):
        yield from _check_insert(element)
        inner = _Scope()
    elif isinstance(element, Select):
        sources, equal = _flatten(element.get_final_froms())
        inner = _enter(scope, sources, (*equal, *_equalities(element.whereclause)))
        # A table of an enclosing statement is correlated, unless that would leave none.
        own = [source for source in sources if hash(source.table) not in scope.tables]
        yield from _check_sources(own or sources, inner.equal)
    elif isinstance(element, Update | Delete):
        sources = [_Source(table) for table in _tables_of_change(element)]
        inner = _enter(scope, sources, _equalities(element.whereclause))
        yield from _check_sources(sources, inner.equal)
        if isinstance(element, Update):
            yield from _check_assignments(element.table, element._values or {})  # noqa: SLF001 - it has no public name
    elif isinstance(element, CTE | Subquery):
        inner = _Scope()  # it cannot refer to the enclosing statement
    else:
        inner = scope
    for child in element.get_children():
        yield from _check(child, inner)


def _enter(scope: _Scope, sources: Iterable[_Source], equal: Iterable[tuple[Term, Term]]) -> _Scope:
    tables = scope.tables | {hash(source.table) for source in sources}
    return _Scope(tables, (*scope.equal, *equal))


def _flatten(froms: Iterable[FromClause]) -> tuple[list[_Source], list[tuple[Term, Term]]]:
    """The tables of a FROM, and the equalities of its inner joins."""
    sources: list[_Source] = []
    equal: list[tuple[Term, Term]] = []
    waiting = [_Source(table) for table in froms]
    while waiting:
        source = waiting.pop()
        if not isinstance(source.table, Join):
            sources.append(source)
            continue
        join, on = source.table, tuple(_equalities(source.table.onclause))
        if not join.isouter and not join.full:
            equal += on
        right = source.equal if join.full else (*source.equal, *on)
        waiting += [source._replace(table=join.left), _Source(join.right, right)]
    return sources, equal


def _tables_of_change(change: Any) -> list[Any]:
    """The table that is changed and those that it refers to (UPDATE ... FROM, DELETE ... USING)."""
    expressions = [
        *change._where_criteria,  # noqa: SLF001 - the parts of a change have no public names
        *change._returning,  # noqa: SLF001
        *(getattr(change, "_values", None) or {}).values(),
    ]
    found = {hash(change.table): change.table}
    for expression in expressions:
        for table in getattr(expression, "_from_objects", ()):
            found.setdefault(hash(table), table)
    return list(found.values())


def _check_sources(sources: Iterable[_Source], equal: Pairs) -> Iterator[str]:
    for table, own in sources:
        base = table
        while isinstance(base, AliasedReturnsRows):
            base = base.element
        if isinstance(base, TextClause) or (
            isinstance(base, TableClause) and not isinstance(base, Table)
        ):
            yield f"{base} (of unknown columns)"
        elif (
            isinstance(base, Table)
            and (owner := owner_column(base)) in base.c
            and not _is_bound(hash(table.c[owner]), (*equal, *own))
        ):
            yield str(table.name)


def _check_insert(new: Any) -> Iterator[str]:
    owner = owner_column(new.table)
    if owner not in new.table.c:
        return
    if new.select is not None:
        at = [str(getattr(name, "key", name)) for name in new._select_names]  # noqa: SLF001
        values = dict(zip(at, new.select._raw_columns, strict=False))  # noqa: SLF001
        equal = tuple(_equalities(new.select.whereclause))
    else:
        # Without values the binds are named like the columns.
        given = {owner: BindParameter(owner)} if new._values is None else new._values  # noqa: SLF001
        values = {str(getattr(name, "key", name)): value for name, value in given.items()}
        equal = ()
    if new._multi_values or not _is_bound(_term(values.get(owner)), equal):  # noqa: SLF001
        yield f"{new.table.name} (the inserted {owner})"
    conflict = new._post_values_clause  # noqa: SLF001
    if conflict is None or not hasattr(conflict, "update_values_to_set"):
        return
    keys = {str(getattr(key, "key", key)) for key in conflict.inferred_target_elements or ()}
    same = tuple(_equalities(conflict.update_whereclause))
    if owner not in keys and not _is_bound(hash(new.table.c[owner]), same):
        yield f"{new.table.name} (the row in conflict)"
    yield from _check_assignments(new.table, dict(conflict.update_values_to_set))
    for part in (conflict.update_whereclause, *dict(conflict.update_values_to_set).values()):
        if hasattr(part, "get_children"):
            yield from _check(part, _Scope())


def _check_assignments(table: Any, values: Any) -> Iterator[str]:
    owner = owner_column(table)
    for name, value in values.items():
        if str(getattr(name, "key", name)) == owner and _term(value) != OWNER:
            yield f"the assignment of {owner}"


def _equalities(condition: Any) -> Iterator[tuple[Term, Term]]:
    """The equalities of columns and of the bind that hold wherever `condition` does."""
    if isinstance(condition, Grouping) and not isinstance(condition, PublicRows):
        yield from _equalities(condition.element)
    elif isinstance(condition, BooleanClauseList):
        parts = list(condition.clauses)
        if condition.operator is operators.or_:
            parts = [part for part in parts if not isinstance(part, PublicRows)]
            if len(parts) != 1:
                return
        for part in parts:
            yield from _equalities(part)
    elif isinstance(condition, BinaryExpression) and condition.operator is operators.eq:
        left, right = _term(condition.left), _term(condition.right)
        if left is not None and right is not None:
            yield left, right


def _term(expression: Any) -> Term | None:
    if isinstance(expression, Label):
        return _term(expression.element)
    if isinstance(expression, BindParameter):
        return OWNER if expression.key == OWNER else None
    return hash(expression) if isinstance(expression, ColumnClause) else None


def _is_bound(term: Term | None, equal: Pairs) -> bool:
    """Whether equalities lead from the term to the bind."""
    reached: set[Term] = {OWNER}
    waiting: list[Term] = [OWNER]
    while waiting:
        at = waiting.pop()
        for pair in equal:
            for one, other in (pair, pair[::-1]):
                if one == at and other not in reached:
                    reached.add(other)
                    waiting.append(other)
    return term in reached
