"""Optional hints of a schema about its functions, so that the executor can skip calls to them.

graphql-core ignores the hints and calls the function. A hint must therefore describe exactly what
the function does.
"""

from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

LONG_TEXT = "long text"
"""In the metadata of a field whose text counts as fields of a result, by length.

The value is the attribute that has the text, if the field is that attribute or has a resolver that
takes the parent alone. It is True for what an asynchronous resolver returns."""

_leave_strings: set[Callable[..., Any]] = set()
_spell_integers: set[Callable[..., Any]] = set()
_many_forms: dict[Callable[..., Any], Callable[..., Any]] = {}
_rows_accepted: dict[Callable[..., Any], type] = {}
_spellings: dict[Callable[..., Any], tuple[str, str]] = {}
_holding_records: set[type] = set()


def leaving_strings(serialize: F) -> F:
    """Mark a scalar's `serialize` that returns each string unchanged."""
    _leave_strings.add(serialize)
    return serialize


def leaves_strings(serialize: Callable[..., Any]) -> bool:
    return serialize in _leave_strings


def spelling_integers(serialize: F) -> F:
    """Mark a scalar's `serialize` that formats each integer like `str`."""
    _spell_integers.add(serialize)
    return serialize


def spells_integers(serialize: Callable[..., Any]) -> bool:
    return serialize in _spell_integers


def resolving_many(resolve_many: Callable[..., Any]) -> Callable[[F], F]:
    """Mark a resolver that has a form for several parents, which the rows of a list share.

    `resolve_many(parents, info=..., **arguments)` returns an awaitable of the values in the order
    of the parents. A value may be an error. If it raises, each parent's own resolver is called.
    """

    def mark(resolve: F) -> F:
        _many_forms[resolve] = resolve_many
        return resolve

    return mark


def many_form_of(resolve: Callable[..., Any]) -> Callable[..., Any] | None:
    return _many_forms.get(resolve)


def accepting(row: type) -> Callable[[F], F]:
    """Mark an `is_type_of` that accepts every instance of this class."""

    def mark(is_type_of: F) -> F:
        _rows_accepted[is_type_of] = row
        return is_type_of

    return mark


def accepted_by(is_type_of: Callable[..., Any] | None) -> type | None:
    return None if is_type_of is None else _rows_accepted.get(is_type_of)


def spelling(column: str, expression: str) -> Callable[[F], F]:
    """Mark a resolver that returns this Python expression of one attribute of its parent.

    `expression` has `{0}` for the value of the attribute.
    """

    def mark(resolve: F) -> F:
        _spellings[resolve] = column, expression
        return resolve

    return mark


def spelling_of(resolve: Callable[..., Any]) -> tuple[str, str] | None:
    return _spellings.get(resolve)


def holding_records(list_class: type) -> None:
    """Mark a class of lists whose items are instances of `row`, a NamedTuple.

    Their values are in `records` too, in the order of `row._fields`.
    """
    _holding_records.add(list_class)


def holds_records(list_class: type) -> bool:
    return list_class in _holding_records
