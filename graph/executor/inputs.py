"""Taking in what clients send, by functions made once for each type.

They know the usual: plain values, enums, lists and input objects as clients send them. Whatever
else there is, and all that is wrong, is `Unusual`: graphql-core and Strawberry look at it then,
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

Take: TypeAlias = Callable[[Any], Any]
"""From JSON to what graphql-core makes of it, or from that to what a resolver gets."""

IMMUTABLE = (str, int, float, bool, bytes, type(None), Enum, Decimal, UUID, date, time, timedelta)
"""What any number of resolver calls may share: none of them can change it."""

_INT = range(-(2**31), 2**31)


class Unusual(Exception):
    """Not for the short way."""


def _refuse(_value: Any) -> NoReturn:
    raise Unusual


def as_it_is(value: Any) -> Any:
    return value


def taking(type_: GraphQLInputType, within: tuple[GraphQLInputType, ...] = ()) -> Take:
    """What graphql-core's `coerce_input_value` does with values of this type."""
    if is_non_null_type(type_):
        return _present(taking(type_.of_type, within))
    if is_list_type(type_):
        return _optional(_list(taking(type_.of_type, within)))
    if is_input_object_type(type_):
        if not is_plain(type_) or type_ in within:  # a type within itself has a limit to its depth
            return _refuse
        return _optional(_input_object(type_, (*within, type_)))
    assert is_leaf_type(type_)  # noqa: S101 - no other input type is left
    return _optional(_leaf(type_))


def _present(take: Take) -> Take:
    def take_present(value: Any) -> Any:
        if value is None:
            raise Unusual
        return take(value)

    return take_present


def _optional(take: Take) -> Take:
    def take_optional(value: Any) -> Any:
        return None if value is None else take(value)

    return take_optional


def _list(take: Take) -> Take:
    def take_list(value: Any) -> list[Any]:
        if value.__class__ is not list:
            raise Unusual
        return [take(item) for item in value]

    return take_list


def _leaf(type_: GraphQLLeafType) -> Take:
    if type_ in {GraphQLString, GraphQLID}:
        return _only(str)
    if type_ is GraphQLBoolean:
        return _only(bool)
    if type_ is GraphQLInt:
        return _take_int

    def take_leaf(value: Any) -> Any:
        try:
            taken = type_.coerce_input_value(value)
        except Exception as error:
            raise Unusual from error
        if taken is None or taken is Undefined:
            raise Unusual
        return taken

    return take_leaf


def _only(cls: type) -> Take:
    def take_only(value: Any) -> Any:
        if value.__class__ is not cls:
            raise Unusual
        return value

    return take_only


def _take_int(value: Any) -> int:
    if value.__class__ is not int or value not in _INT:
        raise Unusual
    return value


def _input_object(type_: GraphQLInputObjectType, within: tuple[GraphQLInputType, ...]) -> Take:
    fields = [
        (name, field.out_name or name, taking(field.type, within), coerce_default_value(field))
        for name, field in type_.fields.items()
    ]
    required = [name for name, field in type_.fields.items() if is_required_input_field(field)]

    def take_object(value: Any) -> Any:
        if value.__class__ is not dict:
            raise Unusual
        known = 0
        taken: dict[str, Any] = {}
        for name, out_name, take, default in fields:
            if name in value:
                known += 1
                taken[out_name] = take(value[name])
            elif default is not Undefined:
                taken[out_name] = shared(default)
        if known < len(value) or not all(name in value for name in required):
            raise Unusual
        return taken

    return take_object


def is_plain(type_: GraphQLInputObjectType) -> bool:
    """Whether its fields are all there is to it."""
    return not type_.is_one_of and type_.out_type is GraphQLInputObjectType.out_type


def shared(value: Any) -> Any:
    """A value that more than one request gets; one that could be changed is made anew for each."""
    if not isinstance(value, IMMUTABLE):
        raise Unusual
    return value


def converting(type_: Any, schema: Schema) -> Take | None:
    """What Strawberry's `convert_argument` does; None where it is not for the short way."""
    if isinstance(type_, StrawberryMaybe):
        return None
    if isinstance(type_, StrawberryOptional):
        return converting(type_.of_type, schema)
    if isinstance(type_, StrawberryList):
        return _converting_list(type_, schema)
    if _is_leaf_type(type_, schema.schema_converter.scalar_registry):
        return as_it_is
    if has_object_definition(type_):
        return _converting_object(type_, schema)
    return None


def _converting_list(type_: StrawberryList, schema: Schema) -> Take | None:
    convert = converting(type_.of_type, schema)
    if convert is None:
        return None
    return lambda value: None if value is None else [convert(item) for item in value]


def _converting_object(cls: Any, schema: Schema) -> Take | None:
    definition: StrawberryObjectDefinition = cls.__strawberry_definition__
    if not definition.is_input or definition.from_input is not None:
        return None
    name_of = schema.config.name_converter.from_field
    fields: list[tuple[str, str, Take]] = []
    for field in definition.fields:
        convert = converting(field.resolve_type(type_definition=definition), schema)
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
