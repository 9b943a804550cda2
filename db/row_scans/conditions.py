"""Conditions on the values of a column."""

import operator
from collections.abc import Callable
from enum import StrEnum
from typing import Any, TypeAlias

import msgspec

from db.row_scans.sort_keys import has_own_order, key_maker, key_of_text

Test: TypeAlias = Callable[[Any], bool]


class RowComparison(StrEnum):
    EQUALS = "EQUALS"
    NOT_EQUALS = "NOT_EQUALS"
    LESS = "LESS"
    LESS_OR_EQUAL = "LESS_OR_EQUAL"
    GREATER = "GREATER"
    GREATER_OR_EQUAL = "GREATER_OR_EQUAL"
    CONTAINS = "CONTAINS"
    STARTS_WITH = "STARTS_WITH"
    IS_NULL = "IS_NULL"
    IS_NOT_NULL = "IS_NOT_NULL"


NULL_TESTS = (RowComparison.IS_NULL, RowComparison.IS_NOT_NULL)
_BY_KEY: dict[str, Callable[[Any, Any], bool]] = {
    RowComparison.EQUALS: operator.eq,
    RowComparison.NOT_EQUALS: operator.ne,
    RowComparison.LESS: operator.lt,
    RowComparison.LESS_OR_EQUAL: operator.le,
    RowComparison.GREATER: operator.gt,
    RowComparison.GREATER_OR_EQUAL: operator.ge,
}


class Condition(msgspec.Struct, frozen=True):
    """`column` is an index. As in SQL, NULL satisfies no comparison with a value."""

    column: int
    comparison: str
    value: str = ""
    ignore_case: bool = False


def compile_condition(condition: Condition, type_oid: int) -> Test:
    """Returns the test of a value.

    Raises:
        ValueError: The value to compare with is not one of the type.
    """
    comparison, wanted = condition.comparison, condition.value
    if comparison == RowComparison.IS_NULL:
        return lambda value: value is None
    if comparison == RowComparison.IS_NOT_NULL:
        return lambda value: value is not None
    ignore_case = condition.ignore_case
    if comparison in _BY_KEY and (has_own_order(type_oid) or not ignore_case):
        return _key_test(_BY_KEY[comparison], type_oid, key_of_text(type_oid, wanted))
    text = _lower_text if ignore_case else text_of
    wanted = wanted.lower() if ignore_case else wanted
    if comparison == RowComparison.CONTAINS:
        return lambda value: value is not None and wanted in text(value)
    if comparison == RowComparison.STARTS_WITH:
        return lambda value: value is not None and text(value).startswith(wanted)
    compare = _BY_KEY[comparison]
    return lambda value: value is not None and compare(text(value), wanted)


def _key_test(compare: Callable[[Any, Any], bool], type_oid: int, wanted: bytes) -> Test:
    key = key_maker(type_oid)
    return lambda value: value is not None and compare(key(value), wanted)


def text_of(value: Any) -> str:
    """The text of a value as a JavaScript client shows it: a double 2 is `2`."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer() and abs(value) < 1e15:
            return str(int(value))
        case _:
            return str(value)


def _lower_text(value: Any) -> str:
    return text_of(value).lower()
