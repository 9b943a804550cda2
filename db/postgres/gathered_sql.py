"""The form of a statement that answers several callers at once.

A read becomes a LATERAL subquery for each caller, a change joins its table with the callers'
values. The values of a caller, the owner included, stay together in one row of `unnest`, and each
returned row starts with the number of the caller that it belongs to. A gathered statement therefore
returns to a caller exactly the rows that the caller's own statement would return.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    ARRAY,
    CTE,
    BindParameter,
    Delete,
    Insert,
    Select,
    Update,
    and_,
    bindparam,
    column,
    func,
    select,
)
from sqlalchemy.sql import visitors
from sqlalchemy.sql.sqltypes import NullType

from db.postgres.statements import DIALECT, Statement, encoder

_CALLERS = "callers"
_PAGE_SIZE = "limit"
_PARAMETER = re.compile(r"\$(\d+)(?:::[A-Z]+(?: PRECISION| WITH(?:OUT)? TIME ZONE)?(?:\(\d+\))?)?")


class GatheredSql(NamedTuple):
    sql: str
    arguments: Callable[[Sequence[Sequence[Any]]], list[Any]]
    """Makes the arguments from those of each caller."""
    row_id: int | None
    """Position of the ID of the row that is changed; None for a read."""
    table: str | None
    """The table that is changed; None for a read."""
    by_row_id: bool
    """True for an INSERT, whose rows start with their ID instead of the caller's number."""


def gather_statement(statement: Statement[Any]) -> GatheredSql | None:
    """Returns None for a statement that runs for one caller at a time.

    Gathered are SELECTs without arrays, locks and LIMIT, and changes of one row by its ID. Pages
    are faster one by one: the rows, not the statements, are what they cost.
    """
    clause, names = statement.clause, statement.names
    compiled: Any = clause.compile(dialect=DIALECT)
    types = {name: bind.type for bind, name in compiled.bind_names.items()}
    required = {name for bind, name in compiled.bind_names.items() if bind.required}
    own = [name for name in names if name in required]
    if not own or _PAGE_SIZE in own or not all(_is_scalar(types.get(name)) for name in own):
        return None
    if isinstance(clause, Select):
        if clause._for_update_arg is not None:  # noqa: SLF001 - the parts of a clause have no public names
            return None
        return _gather_select(statement, own, types)
    if isinstance(clause, Insert | Update | Delete) and _changes_one_row(clause, names):
        return _gather_change(statement, own, types)
    return None


def _is_scalar(kind: Any) -> bool:
    return kind is not None and not isinstance(kind, ARRAY | NullType)


def _changes_one_row(clause: Any, names: Sequence[str]) -> bool:
    return (
        "id" in names
        and not any(isinstance(part, Select | CTE) for part in visitors.iterate(clause))
        and getattr(clause, "_post_values_clause", None) is None
        and bool(clause._returning)  # noqa: SLF001 - the parts of a change have no public names
    )


def _gather_select(
    statement: Statement[Any], own: Sequence[str], types: Mapping[str, Any]
) -> GatheredSql:
    names = statement.names
    at = {name: number for number, name in enumerate(own)}
    kinds = [types[name].dialect_impl(DIALECT).compile(dialect=DIALECT) for name in own]
    shared = [position for position, name in enumerate(names) if name not in at]
    numbers = {position: len(own) + 1 + index for index, position in enumerate(shared)}

    def renumber(found: re.Match[str]) -> str:
        position = int(found[1]) - 1
        if position not in numbers:
            return f"{_CALLERS}.p{at[names[position]]}"
        return found[0].replace(f"${found[1]}", f"${numbers[position]}")

    arrays = ", ".join(f"${number + 1}::{kind}[]" for number, kind in enumerate(kinds))
    columns = ", ".join(f"p{number}" for number in range(len(own)))
    inner = _PARAMETER.sub(renumber, statement.sql)
    first = [names.index(name) for name in own]
    return GatheredSql(
        f"SELECT {_CALLERS}.n, answer.* FROM unnest({arrays}) WITH ORDINALITY"  # noqa: S608 - of a compiled statement
        f" AS {_CALLERS}({columns}, n), LATERAL ({inner}) AS answer",
        lambda calls: [
            *([call[position] for call in calls] for position in first),
            *(calls[0][position] for position in shared),
        ],
        row_id=None,
        table=None,
        by_row_id=False,
    )


def _gather_change(
    statement: Statement[Any], own: Sequence[str], types: Mapping[str, Any]
) -> GatheredSql:
    clause: Any = statement.clause
    names = statement.names
    at = {name: f"p{number}" for number, name in enumerate(own)}
    arrays = [bindparam(at[name], type_=ARRAY(types[name])) for name in own]
    columns = [column(at[name], types[name]) for name in own]
    callers = func.unnest(*arrays).table_valued(*columns, with_ordinality="n").render_derived()
    is_insert = isinstance(clause, Insert)
    change = _insert_of(clause, callers, at) if is_insert else _change_of(clause, callers, at)
    compiled = change.compile(dialect=DIALECT)
    position = {at[name]: names.index(name) for name in own}
    fixed = {
        name: bind.value if (encode := encoder(bind.type)) is None else encode(bind.value)
        for bind, name in compiled.bind_names.items()
        if name not in position
    }
    parameters = tuple(compiled.positiontup or ())
    return GatheredSql(
        compiled.string,
        lambda calls: [
            fixed[name] if name in fixed else [call[position[name]] for call in calls]
            for name in parameters
        ],
        row_id=names.index("id"),
        table=str(clause.table.name),
        by_row_id=is_insert,
    )


def _insert_of(insert: Any, callers: Any, at: Mapping[str, str]) -> Any:
    """The rows start with their ID: the order of the rows that an INSERT returns is not defined."""
    given = insert._values or {}  # noqa: SLF001 - the parts of a change have no public names
    values = [_with_columns(value, callers, at) for value in given.values()]
    names = [getattr(name, "key", name) for name in given]
    rows = select(*values).select_from(callers)
    change = insert.table.insert().from_select(names, rows, include_defaults=False)
    return change.returning(insert.table.c.id, *insert._returning)  # noqa: SLF001


def _change_of(change: Any, callers: Any, at: Mapping[str, str]) -> Any:
    unlocked = _unlocked(change, callers, at)
    change = _with_columns(change, unlocked, at)
    change._returning = (unlocked.c.n, *change._returning)  # noqa: SLF001 - as above
    return change


def _with_columns(clause: Any, source: Any, at: Mapping[str, str]) -> Any:
    """Replaces the parameters of a caller by the columns of `source`."""

    def column_for(element: Any, **_: Any) -> Any:
        if isinstance(element, BindParameter) and element.key in at:
            return source.c[at[element.key]]
        return None

    return visitors.replacement_traverse(clause, {}, column_for)


def _unlocked(change: Any, callers: Any, at: Mapping[str, str]) -> Any:
    """The callers whose row is not locked by another transaction, which may be a long one.

    The others get no row from the gathered statement, so that each waits by itself.
    """
    row = change.table.alias("row")
    keys = [name for name in ("owner_id", "id") if name in at and name in row.c]
    is_same = [row.c[name] == callers.c[at[name]] for name in keys]
    return (
        select(callers.c)
        .join_from(callers, row, and_(*is_same))
        .with_for_update(of=row, skip_locked=True, key_share=isinstance(change, Update))
        .subquery()
    )
