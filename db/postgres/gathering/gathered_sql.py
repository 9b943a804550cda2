"""The form of a statement that answers several callers at once.

A read becomes a LATERAL subquery for each caller, a change joins its table with the callers'
values. The values of a caller, the owner included, stay together in one row of `unnest`, and each
returned row starts with the number of the caller that it belongs to. A gathered statement therefore
returns to a caller exactly the rows that the caller's own statement would return.
"""

import itertools
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

MOST_BYTES = "most_bytes"
"""An execution option of a SELECT: the bytes of the long texts that it may return."""
BATCH_BYTES = 16 * 1024 * 1024
"""Long texts of one statement: it is read whole before its callers are answered."""
_CALLERS = "callers"
_PAGE_SIZE = "limit"
ROWS_PER_WEIGHT = 50
"""A page adds 1 to the weight of its batch for each 50 rows that it may have."""
_PARAMETER = re.compile(
    r"\$(\d+)(?:::([A-Z]+(?: PRECISION| WITH(?:OUT)? TIME ZONE)?(?:\(\d+\))?(?:\[\])?))?"
)


class GatheredSql(NamedTuple):
    sql: str
    arguments: Callable[[Sequence[Sequence[Any]]], list[Any]]
    """Makes the arguments from those of each caller."""
    row_id: int | None = None
    """Position of the ID of the row that is changed; None for a read."""
    table: str | None = None
    """The table that is changed; None for a read."""
    by_row_id: bool = False
    """True for an INSERT, whose rows start with their ID instead of the caller's number."""
    page_size: int | None = None
    """Position of the LIMIT of a page; None for others."""
    arrays: Sequence[int] = ()
    """Positions of the arguments that are arrays."""
    most_callers: int | None = None
    """Of one statement; None if its rows have no long texts."""

    def weight(self, arguments: Sequence[Any]) -> int:
        """What a caller adds to a batch: one, the items of its arrays, the rows of its page.

        Each item may have a page.
        """
        rows = 0 if self.page_size is None else arguments[self.page_size] // ROWS_PER_WEIGHT
        return (1 + rows) * (1 + sum(len(arguments[position]) for position in self.arrays))

    @property
    def is_page(self) -> bool:
        return self.page_size is not None


def gather_statement(statement: Statement[Any]) -> GatheredSql | None:
    """Returns None for a statement that runs for one caller at a time.

    Gathered are SELECTs without locks, and changes of one row by its ID.
    """
    clause, names = statement.clause, statement.names
    compiled: Any = clause.compile(dialect=DIALECT)
    types = {name: bind.type for bind, name in compiled.bind_names.items()}
    required = {name for bind, name in compiled.bind_names.items() if bind.required}
    own = [name for name in names if name in required]
    if not own or any(isinstance(types[name], NullType) for name in own):
        return None
    if isinstance(clause, Select):
        if clause._for_update_arg is not None:  # noqa: SLF001 - the parts of a clause have no public names
            return None
        return _gather_select(statement, own, types)
    if any(isinstance(types[name], ARRAY) for name in own):
        return None
    if isinstance(clause, Insert | Update | Delete) and _changes_one_row(clause, names):
        return _gather_change(statement, own, types)
    return None


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
    """Arrays of callers may differ in length, so each is a slice of one that holds them all."""
    names = statement.names
    kinds = {name: _sql_type(types[name]) for name in own}
    arrays = [name for name in own if isinstance(types[name], ARRAY)]
    scalars = [name for name in own if name not in arrays]
    columns = {f"p{number}": kinds[name] for number, name in enumerate(scalars)}
    terms = {name: f"{_CALLERS}.p{number}" for number, name in enumerate(scalars)}
    whole = len(scalars) + 2 * len(arrays)
    for number, name in enumerate(arrays):
        columns |= {f"first{number}": "int", f"last{number}": "int"}
        slice_of_caller = f"{_CALLERS}.first{number}:{_CALLERS}.last{number}"
        terms[name] = f"(${whole + number + 1}::{kinds[name]})[{slice_of_caller}]"
    shared = [position for position, name in enumerate(names) if name not in terms]

    def renumber(found: re.Match[str]) -> str:
        position = int(found[1]) - 1
        if position not in shared:
            return terms[names[position]]
        number = whole + len(arrays) + shared.index(position) + 1
        return found[0].replace(f"${found[1]}", f"${number}")

    unnested = ", ".join(f"${number}::{kind}[]" for number, kind in enumerate(columns.values(), 1))
    inner = _PARAMETER.sub(renumber, statement.sql)
    clause: Any = statement.clause
    most_bytes = clause.get_execution_options().get(MOST_BYTES)
    positions = [names.index(name) for name in scalars]
    array_positions = [names.index(name) for name in arrays]

    def arguments(calls: Sequence[Sequence[Any]]) -> list[Any]:
        joined = [_join([call[position] for call in calls]) for position in array_positions]
        return [
            *([call[position] for call in calls] for position in positions),
            *(bounds for array in joined for bounds in (array.first, array.last)),
            *(array.items for array in joined),
            *(calls[0][position] for position in shared),
        ]

    return GatheredSql(
        f"SELECT {_CALLERS}.n, answer.* FROM unnest({unnested}) WITH ORDINALITY"  # noqa: S608 - of a compiled statement
        f" AS {_CALLERS}({', '.join(columns)}, n), LATERAL ({inner}) AS answer",
        arguments,
        page_size=names.index(_PAGE_SIZE) if _PAGE_SIZE in own else None,
        arrays=array_positions,
        most_callers=None if most_bytes is None else max(1, BATCH_BYTES // most_bytes),
    )


def _sql_type(kind: Any) -> str:
    """Without the collation: where the statement names one, it stands behind the parameter."""
    name: str = kind.dialect_impl(DIALECT).compile(dialect=DIALECT)
    return name.partition(" COLLATE")[0]


class _Joined(NamedTuple):
    """Arrays of callers in one, and the positions of the first and last item of each, from 1."""

    items: list[Any]
    first: list[int]
    last: list[int]


def _join(arrays: Sequence[Sequence[Any]]) -> _Joined:
    last = list(itertools.accumulate(len(array) for array in arrays))
    first = [end - len(array) + 1 for array, end in zip(arrays, last, strict=True)]
    return _Joined([item for array in arrays for item in array], first, last)


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
