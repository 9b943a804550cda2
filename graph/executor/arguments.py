"""The short way from a request's variables to the arguments of a Strawberry resolver."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from graphql import (
    GraphQLArgument,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInputType,
    ObjectValueNode,
    ValueNode,
    VariableNode,
)
from graphql.pyutils import Undefined
from graphql.type import get_nullable_type, is_input_object_type, is_non_null_type
from graphql.utilities.coerce_input_value import coerce_default_value, coerce_input_literal
from strawberry import Schema
from strawberry.types.field import StrawberryField

from graph.executor.document import has_variable
from graph.executor.info import Field
from graph.executor.inputs import (
    IMMUTABLE,
    Coerce,
    SlowPath,
    argument_converter,
    is_plain,
    require_immutable,
    unchanged,
)

Read: TypeAlias = Callable[[Mapping[str, Any]], Any]
"""A value by the coerced variables; `Undefined` where it is left out."""


class _Argument(NamedTuple):
    name: str
    read: Read
    convert: Coerce


class Arguments:
    """What a resolver is called with; raises SlowPath for what Strawberry itself shall look at."""

    def __init__(self, arguments: list[_Argument]) -> None:
        self._arguments = arguments

    def __call__(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        named: dict[str, Any] = {}
        for name, read, convert in self._arguments:
            value = read(variables)
            if value is not Undefined:
                named[name] = value if convert is unchanged else convert(value)
        return named


def fast_arguments(field: Field, definition: StrawberryField, schema: Schema) -> Arguments | None:
    """None where something about the field or its nodes is out of the ordinary."""
    nodes = {node.name.value: node.value for node in field.nodes[0].arguments or ()}
    arguments = []
    for argument in definition.arguments:
        name = schema.config.name_converter.from_argument(argument)
        convert = argument_converter(argument.type, schema)
        if convert is None or argument.python_name is None:
            return None
        try:
            read = _read(nodes.get(name), field.definition.args[name])
        except (SlowPath, TypeError, ValueError):
            return None
        arguments.append(_Argument(argument.python_name, read, convert))
    return Arguments(arguments)


def _read(node: ValueNode | None, target: GraphQLArgument | GraphQLInputField) -> Read:
    """How a target learns its value: an argument, or a field of an input object."""
    default = coerce_default_value(target)
    must_be = is_non_null_type(target.type)
    if node is None:
        if must_be and default is Undefined:
            raise SlowPath
        return _constant(default)
    if isinstance(node, VariableNode):
        return _variable(node.name.value, default, must_be=must_be)
    return _literal(node, target.type)


def _constant(value: Any) -> Read:
    if value is not Undefined:
        require_immutable(value)
    return lambda _variables: value


def _variable(name: str, default: Any, *, must_be: bool) -> Read:
    def read(variables: Mapping[str, Any]) -> Any:
        if name not in variables:
            if default is Undefined:
                if must_be:
                    raise SlowPath
                return Undefined
            return require_immutable(default)
        value = variables[name]
        if value is None and must_be:
            raise SlowPath
        return value

    return read


def _literal(node: ValueNode, type_: GraphQLInputType) -> Read:
    if not has_variable(node):
        value = coerce_input_literal(node, type_)
        if value is Undefined:
            raise SlowPath
        if isinstance(value, IMMUTABLE):
            return lambda _variables: value
        return lambda _variables: coerce_input_literal(node, type_)
    object_type = get_nullable_type(type_)
    if isinstance(node, ObjectValueNode) and is_input_object_type(object_type):
        return _object(node, object_type)
    raise SlowPath


def _object(node: ObjectValueNode, type_: GraphQLInputObjectType) -> Read:
    nodes = {field.name.value: field.value for field in node.fields}
    if not is_plain(type_) or any(name not in type_.fields for name in nodes):
        raise SlowPath
    fields = [
        (field.out_name or name, _read(nodes.get(name), field))
        for name, field in type_.fields.items()
    ]

    def read(variables: Mapping[str, Any]) -> Any:
        found = {}
        for name, read_field in fields:
            value = read_field(variables)
            if value is not Undefined:
                found[name] = value
        return found

    return read
