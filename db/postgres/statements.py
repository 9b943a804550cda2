"""Statements built with SQLAlchemy Core, compiled once, executed by asyncpg.

Compiling takes longer than running (docs/performance.md), so repositories write statements as
`@statement` methods, which are compiled once for each set of arguments. The arguments are the shape
(columns, filters, order), never values: those are `bindparam`s.

A statement that changes rows is a `@change_statement` method. The two have different types, so that
mypy refuses a change on a read session.
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Generic, NamedTuple, TypeVar

from sqlalchemy import Dialect, SelectBase, TextClause, UpdateBase
from sqlalchemy.dialects.postgresql import asyncpg as dialect_module
from sqlalchemy.sql import ClauseElement, visitors

from db.postgres.ownership import require_owner

DIALECT: Dialect = dialect_module.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped
_SHAPES = 256
_READS = re.compile(r"\s*(select|show|values)\b", re.IGNORECASE)

Process = Callable[[Any], Any]


class Reads:
    """The type of sessions that run statements without changes."""

    __slots__ = ()


class Changes(Reads):
    """The type of sessions that also run changes."""

    __slots__ = ()


Needs_contra = TypeVar("Needs_contra", bound=Reads, contravariant=True)


class Statement(NamedTuple, Generic[Needs_contra]):
    """SQL with $1, $2 ..., its parameter encoders and its column decoders.

    `Statement[Reads]` runs on every session, `Statement[Changes]` only on one that runs changes.
    """

    sql: str
    names: tuple[str, ...]
    encoders: tuple[tuple[int, Process], ...]
    defaults: dict[str, Any]
    decoders: tuple[tuple[int, Process], ...]
    changes: bool
    """True if it may change rows; such a statement is never retried."""
    clause: ClauseElement

    def arguments(self, values: dict[str, Any]) -> list[Any]:
        bound = self.defaults | values if self.defaults else values
        try:
            arguments = [bound[name] for name in self.names]
        except KeyError:
            missing = ", ".join(name for name in self.names if name not in bound)
            raise TypeError(f"no value for {missing} of: {self.sql}") from None
        for index, encode in self.encoders:
            arguments[index] = encode(arguments[index])
        return arguments

    def decode(self, records: Sequence[Any]) -> Sequence[Any]:
        if not self.decoders:
            return records
        return [self._decoded(record) for record in records]

    def _decoded(self, record: Any) -> tuple[Any, ...]:
        values = list(record)
        for index, decode in self.decoders:
            values[index] = decode(values[index])
        return tuple(values)


def compile_statement(clause: ClauseElement, *, unscoped: bool = False) -> Statement[Reads]:
    """Raises TypeError for a change, and for rows that may be another owner's.

    Only modules named `unscoped` compile statements for the rows of all owners.
    """
    if _changes(clause):
        raise TypeError(f"it may change rows, so it needs `change_statement`: {clause}")
    return _compile(clause, changes=False, unscoped=unscoped)


def compile_change(clause: ClauseElement, *, unscoped: bool = False) -> Statement[Changes]:
    """Like `compile_statement`, for a change."""
    if not _changes(clause):
        raise TypeError(f"it changes nothing, so it needs `statement`: {clause}")
    return _compile(clause, changes=True, unscoped=unscoped)


def _compile(clause: ClauseElement, *, changes: bool, unscoped: bool) -> Statement[Any]:
    if not unscoped:
        require_owner(clause)
    compiled: Any = clause.compile(dialect=DIALECT)
    if compiled.post_compile_params:
        raise TypeError(f"its SQL depends on its values; use any_() for a list: {compiled}")
    names = tuple(compiled.positiontup or ())
    types = {name: bind.type for bind, name in compiled.bind_names.items()}
    encoders = tuple(
        (index, encode)
        for index, name in enumerate(names)
        if (encode := encoder(types[name])) is not None
    )
    optional = {
        name: bind.value
        for bind, name in compiled.bind_names.items()
        if not bind.required and bind.callable is None
    }
    decoders = _decoders(compiled)
    return Statement(compiled.string, names, encoders, optional, decoders, changes, clause)


def _changes(clause: ClauseElement) -> bool:
    """Text statements are classified by their first keyword."""
    if isinstance(clause, TextClause):
        return _READS.match(clause.text) is None
    if not isinstance(clause, SelectBase):
        return True
    return any(isinstance(part, UpdateBase) for part in visitors.iterate(clause))


def encoder(kind: Any) -> Process | None:
    process: Process | None = kind.dialect_impl(DIALECT).bind_processor(DIALECT)
    return process


def _decoders(compiled: Any) -> tuple[tuple[int, Process], ...]:
    found = []
    for index, column in enumerate(compiled._result_columns):  # noqa: SLF001 - the compiled map of columns has no public name
        process = column.type.dialect_impl(DIALECT).result_processor(DIALECT, None)
        if process is not None:
            found.append((index, process))
    return tuple(found)


class StatementMethod(Generic[Needs_contra]):
    """A method that builds a clause; calls return the compiled, cached statement."""

    def __init__(
        self,
        build: Callable[..., ClauseElement],
        compile_clause: Callable[..., Statement[Needs_contra]],
        *,
        unscoped: bool = False,
    ) -> None:
        self.build = build
        self.unscoped = unscoped
        self._compile = compile_clause
        self._compiled: dict[type, Callable[..., Statement[Needs_contra]]] = {}

    def __get__(self, instance: object, owner: type) -> Callable[..., Statement[Needs_contra]]:
        compiled = self._compiled.get(owner)
        if compiled is None:
            compiled = self._compiled[owner] = lru_cache(maxsize=_SHAPES)(
                lambda *shape: self._compile(self.build(owner, *shape), unscoped=self.unscoped)
            )
        return compiled


def statement(build: Callable[..., ClauseElement]) -> StatementMethod[Reads]:
    """Decorates a method that builds a statement without changes."""
    return StatementMethod(build, compile_statement)


def change_statement(build: Callable[..., ClauseElement]) -> StatementMethod[Changes]:
    """Decorates a method that builds a change."""
    return StatementMethod(build, compile_change)


def unscoped_statement(build: Callable[..., ClauseElement]) -> StatementMethod[Reads]:
    """Like `statement`, for the rows of all owners; only in modules named `unscoped`."""
    return StatementMethod(build, compile_statement, unscoped=True)


def unscoped_change(build: Callable[..., ClauseElement]) -> StatementMethod[Changes]:
    """Like `change_statement`, for the rows of all owners; only in modules named `unscoped`."""
    return StatementMethod(build, compile_change, unscoped=True)
