"""Taking in what clients send, by functions made once for each type.

They know the usual: plain values, enums, lists and input objects as clients send them. Whatever
else there is, and all that is wrong, is `SlowPath`: graphql-core and Strawberry look at it then,
and word the error. So there is one place for the rules, and this is only the short way.
"""

from collections.abc import Callable
from dataclasses import MISSING
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
from strawberry import Schema
from strawberry.types.arguments import _is_leaf_type
from strawberry.types.base import (
    StrawberryList,
    StrawberryMaybe,
    StrawberryObjectDefinition,
    StrawberryOptional,
    has_object_definition,
)
from strawberry.types.field import StrawberryField

Coerce: TypeAlias = Callable[[Any], Any]
"""From JSON to what graphql-core makes of it, or from that to what a resolver gets."""

IMMUTABLE = (str, int, float, bool, bytes, type(None), Enum, Decimal, UUID, date, time, timedelta)
"""What any number of resolver calls may share: none of them can change it."""

_INT = range(-(2**31), 2**31)


class SlowPath(Exception):
    """Not for the short way."""


def _refuse(_value: Any) -> NoReturn:
    raise SlowPath


def unchanged(value: Any) -> Any:
    return value


def input_coercer(type_: GraphQLInputType, within: tuple[GraphQLInputType, ...] = ()) -> Coerce:
    """What graphql-core's `coerce_input_value` does with values of this type."""
    if is_non_null_type(type_):
        return _non_null(input_coercer(type_.of_type, within))
    if is_list_type(type_):
        return _nullable(_list(input_coercer(type_.of_type, within)))
    if is_input_object_type(type_):
        if not is_plain(type_) or type_ in within:  # a type within itself has a limit to its depth
            return _refuse
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
    """Whether its fields are all there is to it."""
    return not type_.is_one_of and type_.out_type is GraphQLInputObjectType.out_type


def require_immutable(value: Any) -> Any:
    """A value that more than one request gets; one that could be changed is made anew for each."""
    if not isinstance(value, IMMUTABLE):
        raise SlowPath
    return value


def argument_converter(type_: Any, schema: Schema) -> Coerce | None:
    """What Strawberry's `convert_argument` does; None where it is not for the short way."""
    if isinstance(type_, StrawberryMaybe):
        return None
    if isinstance(type_, StrawberryOptional):
        return argument_converter(type_.of_type, schema)
    if isinstance(type_, StrawberryList):
        return _list_converter(type_, schema)
    if _is_leaf_type(type_, schema.schema_converter.scalar_registry):
        return unchanged
    if has_object_definition(type_):
        return _object_converter(type_, schema)
    return None


def _list_converter(type_: StrawberryList, schema: Schema) -> Coerce | None:
    convert = argument_converter(type_.of_type, schema)
    if convert is None:
        return None
    return lambda value: None if value is None else [convert(item) for item in value]


def _object_converter(cls: Any, schema: Schema) -> Coerce | None:
    definition: StrawberryObjectDefinition = cls.__strawberry_definition__
    if not definition.is_input or definition.from_input is not None:
        return None
    name_of = schema.config.name_converter.from_field
    fields: list[tuple[str, str, Coerce]] = []
    for field in definition.fields:
        convert = argument_converter(field.resolve_type(type_definition=definition), schema)
        if convert is None:
            return None
        fields.append((name_of(field), field.python_name, convert))
    absent = {field.python_name: None for field in definition.fields if _has_no_default(field)}

    def convert_object(value: Any) -> Any:
        if value is None:
            return None
        named = {
            python_name: convert(value[name])
            for name, python_name, convert in fields
            if name in value
        }
        return cls(**(absent | named))

    return convert_object


def _has_no_default(field: StrawberryField) -> bool:
    return field.default_value is MISSING and field.default_factory is MISSING
