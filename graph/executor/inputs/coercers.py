"""Coercers for client input, made once for each type.

They accept valid scalars, enums, lists and input objects in their ordinary JSON form. Any other
value raises `SlowPath`; graphql-core then coerces it or words the error, so that the rules of
coercion are defined in one place.
"""

from collections.abc import Callable
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, NoReturn, TypeAlias
from uuid import UUID

from graphql import (
    GraphQLBoolean,
    GraphQLID,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLInt,
    GraphQLLeafType,
    GraphQLString,
)
from graphql.pyutils import Undefined
from graphql.type import (
    is_input_object_type,
    is_leaf_type,
    is_list_type,
    is_non_null_type,
    is_required_input_field,
)
from graphql.utilities.coerce_input_value import coerce_default_value

Coerce: TypeAlias = Callable[[Any], Any]
"""Coerces a JSON value as graphql-core does, or converts that to the value for a resolver."""

IMMUTABLE = (str, int, float, bool, bytes, type(None), Enum, Decimal, UUID, date, time, timedelta)
"""Types whose values resolver calls can share, because no call can change them."""

_INT = range(-(2**31), 2**31)


class SlowPath(Exception):
    """The value needs the complete coercion of graphql-core or Strawberry."""


def _always_slow(_value: Any) -> NoReturn:
    raise SlowPath


def unchanged(value: Any) -> Any:
    return value


def input_coercer(type_: GraphQLInputType, within: tuple[GraphQLInputType, ...] = ()) -> Coerce:
    """A function equivalent to graphql-core's `coerce_input_value` for valid values of a type."""
    if is_non_null_type(type_):
        return _non_null(input_coercer(type_.of_type, within))
    if is_list_type(type_):
        return _nullable(_list(input_coercer(type_.of_type, within)))
    if is_input_object_type(type_):
        if not is_plain(type_) or type_ in within:  # recursive types: graphql-core
            return _always_slow
        return _nullable(_input_object(type_, (*within, type_)))
    assert is_leaf_type(type_)  # noqa: S101 - no other input type is left
    return _nullable(_leaf(type_))


def _non_null(coerce: Coerce) -> Coerce:
    def coerce_non_null(value: Any) -> Any:
        if value is None:
            raise SlowPath
        return coerce(value)

    return coerce_non_null


def _nullable(coerce: Coerce) -> Coerce:
    def coerce_nullable(value: Any) -> Any:
        return None if value is None else coerce(value)

    return coerce_nullable


def _list(coerce: Coerce) -> Coerce:
    def coerce_list(value: Any) -> list[Any]:
        if value.__class__ is not list:
            raise SlowPath
        return [coerce(item) for item in value]

    return coerce_list


def _leaf(type_: GraphQLLeafType) -> Coerce:
    if type_ in {GraphQLString, GraphQLID}:
        return _instance_of(str)
    if type_ is GraphQLBoolean:
        return _instance_of(bool)
    if type_ is GraphQLInt:
        return _coerce_int

    def coerce_leaf(value: Any) -> Any:
        try:
            coerced = type_.coerce_input_value(value)
        except Exception as error:
            raise SlowPath from error
        if coerced is None or coerced is Undefined:
            raise SlowPath
        return coerced

    return coerce_leaf


def _instance_of(cls: type) -> Coerce:
    def coerce_instance(value: Any) -> Any:
        if value.__class__ is not cls:
            raise SlowPath
        return value

    return coerce_instance


def _coerce_int(value: Any) -> int:
    if value.__class__ is not int or value not in _INT:
        raise SlowPath
    return value


def _input_object(type_: GraphQLInputObjectType, within: tuple[GraphQLInputType, ...]) -> Coerce:
    fields = [
        (
            name,
            field.out_name or name,
            input_coercer(field.type, within),
            coerce_default_value(field),
        )
        for name, field in type_.fields.items()
    ]
    required = [name for name, field in type_.fields.items() if is_required_input_field(field)]

    def coerce_object(value: Any) -> Any:
        if value.__class__ is not dict:
            raise SlowPath
        known = 0
        coerced: dict[str, Any] = {}
        for name, out_name, coerce, default in fields:
            if name in value:
                known += 1
                coerced[out_name] = coerce(value[name])
            elif default is not Undefined:
                coerced[out_name] = require_immutable(default)
        if known < len(value) or not all(name in value for name in required):
            raise SlowPath
        return coerced

    return coerce_object


def is_plain(type_: GraphQLInputObjectType) -> bool:
    """Whether it is neither a oneOf type nor converted by a custom `out_type`."""
    return not type_.is_one_of and type_.out_type is GraphQLInputObjectType.out_type


def require_immutable(value: Any) -> Any:
    """Return a value that requests can share. A mutable value takes the slow path."""
    if not isinstance(value, IMMUTABLE):
        raise SlowPath
    return value
